"""Integers times a scale, as fp32."""

from __future__ import annotations

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.float_multiply import Scale, scaled
from bankwidth.devices.sram_lut.float_rounding import as_float, round_to_single, store_single
from bankwidth.devices.sram_lut.floating import (
    EXPONENT_BITS,
    SIGNIFICAND_BITS,
    Float,
    significand_room,
)
from bankwidth.devices.sram_lut.int_to_float import Codes, unpack_integer
from bankwidth.devices.sram_lut.workspace import Workspace, converting


def dequantise(
    b: ProgramBuilder, dst: int, src: int, scratch: int, *, codes: Codes, scale: Scale
) -> int:
    """fp32 at `dst` = float32(number at `src`) * scale; gives the rows of scratch it took.

    The product is rounded once, after an exact multiplication of only as many bits as the codes
    have; codes of more than 24 bits are rounded before it too, as numpy does. Results that are too
    large are infinite; products with a subnormal fp32 scale are a zero of their sign, and no result
    is subnormal. Scales must be finite.
    """
    with converting(b, scratch) as work:
        product = scaled(work, _number(work, src, codes), scale)
        store_single(work, dst, round_to_single(work, product))
    return work.taken


def _number(work: Workspace, src: int, codes: Codes) -> Float:
    if codes.magnitude_bits <= SIGNIFICAND_BITS:
        return unpack_integer(work, src, codes, work.take(codes.magnitude_bits))
    row = significand_room(work, codes.magnitude_bits, EXPONENT_BITS)
    return as_float(work, round_to_single(work, unpack_integer(work, src, codes, row)))
