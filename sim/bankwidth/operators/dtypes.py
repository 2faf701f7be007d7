"""Number formats: their widths, and the names that other tools give them."""

from __future__ import annotations

from typing import Final

from bankwidth.errors import did_you_mean

# Canonical name -> width in bits. Formats narrower than a byte are packed without padding.
DTYPE_BITS: Final[dict[str, int]] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,  # stored as fp32; the tensor cores read 19 bits of it
    "bf16": 16,
    "fp16": 16,
    "fp8": 8,
    "int8": 8,
    "int4": 4,
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
    """Bytes of `elements` packed values of a canonical dtype, rounded up to a whole byte."""
    return (elements * DTYPE_BITS[dtype] + 7) // 8
