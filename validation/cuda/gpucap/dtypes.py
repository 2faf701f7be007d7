"""Number formats: their widths, their names in torch, and the names that other tools give them."""

from __future__ import annotations

from typing import Final

from gpucap.problems import did_you_mean

# Canonical name -> width in bits as stored. tf32 is fp32 in memory, cut in the tensor core.
DTYPE_BITS: Final[dict[str, int]] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "int4": 4,
}
_ALIASES: Final[dict[str, str]] = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "tensorfloat32": "tf32",
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
# Canonical name -> attribute of torch. int4 has none.
TORCH_NAMES: Final[dict[str, str]] = {
    "fp64": "float64",
    "fp32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp8": "float8_e4m3fn",
    "int8": "int8",
}
# What the library gives for 8-bit operands: torch._scaled_mm is asked for bf16, torch._int_mm
# returns int32.
RESULT_BYTES: Final[dict[str, int]] = {"fp8": 2, "int8": 4}


def canonical_dtype(name: str) -> str | None:
    """`"bf16"` for `"bfloat16"`, `"torch.bfloat16"` or `"bf16"`; None for an unknown name."""
    short = name.strip().lower().removeprefix("torch.")
    short = _ALIASES.get(short, short)
    return short if short in DTYPE_BITS else None


def unknown_dtype(name: str) -> str:
    """The message for a dtype that `canonical_dtype` does not know."""
    hint = did_you_mean(name, [*DTYPE_BITS, *_ALIASES])
    return f"unknown dtype {name!r}{hint} (known: {', '.join(DTYPE_BITS)})"


def size_bytes(elements: int, dtype: str) -> int:
    """Bytes of packed values of a canonical dtype, rounded up."""
    return (elements * DTYPE_BITS[dtype] + 7) // 8
