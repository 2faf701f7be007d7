"""fp32 to integers: to nearest, ties to even, what is too large is clamped symmetrically."""

from __future__ import annotations

from typing import Final

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.float_multiply import FloatFormat, Scale, scaled, unpack
from bankwidth.devices.sram_lut.float_rounding import (
    Single,
    round_to_single,
    settled,
)
from bankwidth.devices.sram_lut.floating import BIAS, MANTISSA_BITS, WIDE_BITS
from bankwidth.devices.sram_lut.row_logic import any_set, constant, fill
from bankwidth.devices.sram_lut.row_shifts import Rows, shift_down
from bankwidth.devices.sram_lut.workspace import Workspace, converting
from bankwidth.errors import SpecError

FEWEST_BITS: Final = 2
MOST_BITS: Final = 16


def quantise(
    b: ProgramBuilder,
    dst: int,
    src: int,
    scratch: int,
    *,
    bits: int,
    scale: Scale,
    format: FloatFormat = "fp32",
) -> int:
    """`bits` of two's complement at `dst` = clamp(rint(x * scale)); gives the rows of scratch.

    `scale` is the reciprocal of the step. The product is rounded to fp32 first, as numpy's is. The
    clamp is symmetric, to +-(2^(bits - 1) - 1). x must be finite; subnormal fp32 numbers count as
    zero. Raises SpecError for widths other than 2 to 16.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise SpecError(
            f"quantising to {bits} bits: conversion takes {FEWEST_BITS} to {MOST_BITS} bits"
        )
    with converting(b, scratch) as work:
        product = scaled(work, unpack(work, src, format), scale)
        store_integer(work, dst, settled(work, round_to_single(work, product)), bits)
    return work.taken


def store_integer(work: Workspace, dst: int, x: Single, bits: int) -> None:
    """Two's complement at `dst`.

    The upper `bits` bits of the significand go down to where the last one weighs 1/2; what is below
    is in a row of its own, `sticky`.
    """
    fixed = _upper_bits(work, x, bits)
    sticky = work.take(1)
    any_set(work, sticky, x.row, MANTISSA_BITS + 1 - bits)
    distance, is_large, is_far = _distance(work, x, bits)
    shift_down(work, fixed, bits, distance, sticky)
    work.builder.add(dst, fixed + 1, _increment(work, fixed, sticky), bits, -(bits - 1), -1)
    _clamp(work, dst, bits, x.nonzero, is_large, is_far)
    work.builder.tag(x.sign)
    work.builder.subtract(dst, work.zero, dst, bits, -1, bits, tagged=True)


def _upper_bits(work: Workspace, x: Single, bits: int) -> int:
    fixed = work.take(bits)
    work.builder.copy(fixed, x.exponent - (bits - 1), bits - 1)
    fill(work, fixed + bits - 1, 1, ones=True)
    return fixed


def _distance(work: Workspace, x: Single, bits: int) -> tuple[Rows, int, int]:
    """How far down, and rows of the lanes where that is less than 0, or so far that 0 is left.

    A number with its leading one in the uppermost bit of the integer has exponent 127 + bits - 2.
    """
    down = Rows(work.take(WIDE_BITS), bits.bit_length())
    width = x.exponent_bits if x.exponent_bits == WIDE_BITS else -x.exponent_bits
    with work.borrow(WIDE_BITS) as uppermost:
        constant(work, uppermost, BIAS + bits - 2, WIDE_BITS)
        work.builder.subtract(down.row, uppermost, x.exponent, WIDE_BITS, WIDE_BITS, width)
    is_large = down.row + WIDE_BITS - 1
    is_far = work.take(1)
    any_set(work, is_far, down.row + down.bits, WIDE_BITS - 1 - down.bits)
    return down, is_large, is_far


def _increment(work: Workspace, fixed: int, sticky: int) -> int:
    increment = work.take(1)
    work.builder.logic("or", increment, sticky, fixed + 1, 1)
    work.builder.logic("and", increment, increment, fixed, 1)
    return increment


def _clamp(work: Workspace, dst: int, bits: int, nonzero: int, is_large: int, is_far: int) -> None:
    """Lanes far below 1/2 or of zero become 0; those that are large, or became so, the largest.

    The exponent of a large number makes it look far too, so being large has the last word.
    """
    b = work.builder
    with work.borrow(1) as flag:
        b.invert(flag, nonzero, 1)
        b.logic("or", flag, flag, is_far, 1)
        b.tag(flag)
        b.clear(dst, bits, tagged=True)
        b.logic("or", flag, is_large, dst + bits - 1, 1)
        b.logic("and", flag, flag, nonzero, 1)
        b.tag(flag)
    fill(work, dst, bits - 1, ones=True, tagged=True)
    fill(work, dst + bits - 1, 1, ones=False, tagged=True)
