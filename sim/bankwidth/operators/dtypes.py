"""Number formats: their widths, what they take with scales, and the names that other tools use.

| name                | stored                                                                    |
| ------------------- | ------------------------------------------------------------------------- |
| bf16, fp8, int4 ... | packed values                                                             |
| int4_g128           | one scale of 16 bits for 128 values (GPTQ, AWQ, MARLIN)                   |
| int4_g128z          | and a zero point of the values' width                                     |
| bf16_2of4           | of 4 values the 2 that are not 0, each with its place in 2 bits           |
| int4_2of4_g128      | both: the scale is for 128 values, stored or not                          |
| fp8_b128            | one fp32 scale for 128 x 128 values (DeepSeek-V3)                         |
| q4_0, mxfp4 ...     | the blocks of GGUF files, of OCP microscaling formats, of NVFP4           |
| dfloat11            | bf16 with coded exponents, about 11 bits (arXiv 2504.11651), no loss      |
"""

from __future__ import annotations

import math
import re
from typing import Final

from bankwidth.errors import did_you_mean

# Canonical name -> width in bits of one value. Packed without padding, but for `DTYPE_BLOCKS`.
_BITS: Final[dict[str, int]] = {
    "fp64": 64,
    "fp32": 32,
    "tf32": 32,  # stored as fp32; the tensor cores read 19 bits of it
    "bf16": 16,
    "fp16": 16,
    "dfloat11": 11,
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
    "mxfp8": 8,
    "mxfp4": 4,
    "nvfp4": 4,
    "q8_0": 8,
    "q6_k": 6,
    "q5_0": 5,
    "q4_0": 4,
    "q3_k": 3,
    "q2_k": 2,
}
# Formats that lie in blocks: values, and bytes of a block with its scales. The q formats are those
# of GGUF files (llama.cpp, ggml-common.h); five ternary values are one of 3^5 = 243 in a byte; mx
# is OCP's microscaling (one byte for 32 values), nvfp4 has a byte for 16.
_BLOCKS: Final[dict[str, tuple[int, int]]] = {
    "ternary": (5, 1),
    "mxfp8": (32, 33),
    "mxfp4": (32, 17),
    "nvfp4": (16, 9),
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
_GRAMMAR: Final = re.compile(
    r"(?P<base>[a-z]+[0-9]+)(?:_(?P<kept>[0-9]+)of(?P<out_of>[0-9]+))?"
    r"(?:_g(?P<group>[0-9]+)(?P<zero>z?)|_b(?P<square>[0-9]+))?"
)
GROUP_SCALE_BITS: Final = 16  # a half
SQUARE_SCALE_BITS: Final = 32  # a float
_MOST: Final = 1 << 20  # values that share a scale


class _Formats(dict[str, tuple[int, int, int]]):
    """Bits of a value, values and bytes of a block, by name; composed ones are worked out once."""

    def __missing__(self, name: str) -> tuple[int, int, int]:
        made = _composed(name)
        if made is None:
            raise KeyError(name)
        self[name] = made
        return made


def _composed(name: str) -> tuple[int, int, int] | None:
    """A format that the grammar makes of a plain one."""
    found = _GRAMMAR.fullmatch(name)
    if found is None or found["base"] not in _BITS or found["base"] in _BLOCKS:
        return None
    if name == found["base"]:
        return _plain(name)
    numbers = {key: int(found[key] or 0) for key in ("kept", "out_of", "group", "square")}
    if not _is_sound(found, numbers):
        return None
    return _block_of(_BITS[found["base"]], bool(found["zero"]), **numbers)


def _is_sound(found: re.Match[str], numbers: dict[str, int]) -> bool:
    """Whether the numbers of a name mean something."""
    given = [numbers[key] for key in ("group", "square") if found[key] is not None]
    sparse = found["kept"] is None or 1 <= numbers["kept"] < numbers["out_of"] <= _MOST
    return sparse and all(1 <= number <= _MOST for number in given)


def _block_of(
    bits: int, has_zero: bool, *, kept: int, out_of: int, group: int, square: int
) -> tuple[int, int, int]:
    """The smallest block of whole bytes that holds whole groups."""
    values = math.lcm(group or square * square or 1, out_of or 1)
    stored = values * kept // out_of if kept else values
    place_bits = (out_of - 1).bit_length() if kept else 0
    scale_bits = (GROUP_SCALE_BITS + bits * has_zero) * (values // group) if group else 0
    scale_bits += SQUARE_SCALE_BITS * (values // square**2) if square else 0
    block_bits = stored * (bits + place_bits) + scale_bits
    times = 8 // math.gcd(8, block_bits)
    return bits, values * times, block_bits * times // 8


def _plain(name: str) -> tuple[int, int, int]:
    return (_BITS[name], 1, 0)


_FORMATS: Final = _Formats(
    {name: (bits, *_BLOCKS.get(name, (1, 0))) for name, bits in _BITS.items()}
)


class _Bits(dict[str, int]):
    """Widths by name; also of composed formats, though only plain ones are gone through."""

    def __missing__(self, name: str) -> int:
        return _FORMATS[name][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (super().__contains__(name) or _known(name))


class _Blocks(dict[str, tuple[int, int]]):
    """Blocks by name; composed formats too."""

    def __missing__(self, name: str) -> tuple[int, int]:
        _, values, size_bytes = _FORMATS[name]
        if not size_bytes:
            raise KeyError(name)
        return values, size_bytes

    def __contains__(self, name: object) -> bool:
        is_known = isinstance(name, str) and _known(name)
        return is_known and _FORMATS[str(name)][2] > 0


def _known(name: str) -> bool:
    return name in _FORMATS or _composed(name) is not None


DTYPE_BITS: Final[dict[str, int]] = _Bits(_BITS)
DTYPE_BLOCKS: Final[dict[str, tuple[int, int]]] = _Blocks(_BLOCKS)


def canonical_dtype(name: str) -> str | None:
    """`"bf16"` for `"bfloat16"`, `"torch.bfloat16"` or `"bf16"`; None for an unknown name."""
    short = name.strip().lower().removeprefix("torch.")
    short = _ALIASES.get(short, short)
    return short if short in DTYPE_BITS else None


def unknown_dtype(name: str) -> str:
    """The message for a dtype that `canonical_dtype` does not know."""
    hint = did_you_mean(name, [*_BITS, *_ALIASES])
    return (
        f"unknown dtype {name!r}{hint} (known: {', '.join(_BITS)}; with groups and sparsity as in "
        f"int4_g128, int4_g128z, fp8_b128, bf16_2of4)"
    )


def packed_bytes(elements: int, dtype: str) -> int:
    """Bytes of `elements` packed values of a canonical dtype, rounded up to a byte or block.

    The last group of a composed format may be cut short: it takes what its values and scale take.
    """
    bits, values, size_bytes = _FORMATS[dtype]
    if not size_bytes:
        return (elements * bits + 7) // 8
    if dtype in _BLOCKS:
        return -(-elements // values) * size_bytes
    return -(-elements * size_bytes // values)
