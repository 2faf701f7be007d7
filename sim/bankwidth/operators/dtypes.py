"""Number formats: their widths, and the names that other tools give them."""

from __future__ import annotations

from typing import Final

from bankwidth.errors import did_you_mean

# Canonical name -> width in bits of one value. Packed without padding, but for `DTYPE_BLOCKS`.
DTYPE_BITS: Final[dict[str, int]] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,  # stored as fp32; the tensor cores read 19 bits of it
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "int7": 7,
    "int6": 6,
    "int5": 5,
    "int4": 4,
    "int3": 3,
    "int2": 2,
    "int1": 1,  # -1 and 1
    "ternary": 2,  # -1, 0 and 1
    "q8_0": 8,
    "q6_k": 6,
    "q5_0": 5,
    "q4_0": 4,
    "q3_k": 3,
    "q2_k": 2,
}
# Formats that lie in blocks: values, and bytes of a block with its scales. The q formats are those
# of GGUF files (llama.cpp, ggml-common.h); five ternary values are one of 3^5 = 243 in a byte.
DTYPE_BLOCKS: Final[dict[str, tuple[int, int]]] = {
    "ternary": (5, 1),
    "q8_0": (32, 34),
    "q6_k": (256, 210),
    "q5_0": (32, 22),
    "q4_0": (32, 18),
    "q3_k": (256, 110),
    "q2_k": (256, 84),
}
# Spellings of torch, of Hugging Face files and of the measured tables.
_ALIASES: Final[dict[str, str]] = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "uint8": "int8",
    "uint4": "int4",
}


def canonical_dtype(name: str) -> str | None:
    """`"bf16"` for `"bfloat16"`, `"torch.bfloat16"` or `"bf16"`; None for an unknown name."""
    short = name.strip().lower().removeprefix("torch.")
    short = _ALIASES.get(short, short)
    return short if short in DTYPE_BITS else None


def unknown_dtype(name: str) -> str:
    """The message for a dtype that `canonical_dtype` does not know."""
    hint = did_you_mean(name, [*DTYPE_BITS, *_ALIASES])
    return f"unknown dtype {name!r}{hint} (known: {', '.join(DTYPE_BITS)})"


def packed_bytes(elements: int, dtype: str) -> int:
    """Bytes of `elements` packed values of a canonical dtype, rounded up to a byte or block."""
    if dtype in DTYPE_BLOCKS:
        values, block_bytes = DTYPE_BLOCKS[dtype]
        return -(-elements // values) * block_bytes
    return (elements * DTYPE_BITS[dtype] + 7) // 8
