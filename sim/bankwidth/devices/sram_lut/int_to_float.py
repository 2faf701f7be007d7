"""Integers to fp32: the magnitude, its leading one moved up, the exponent from how far it moved.

Cycles under Neural Cache's costs (n a copy, n + 1 an addition, 1 a tag), of a signed integer of n
bits, at most 24, with s = ceil(log2(n)) steps:

    2             a row of zeros and one of ones
    2n + 2        magnitude: a copy, a tag, a tagged 0 - x
    24 - n        zeros below it
    s n + 2^s     the leading one moves up: each step's test, tag and tagged copy
    28            which lanes are not zero; sign; exponent: a constant plus how far it stood

So n (s + 1) + 2^s + 56: int4 72, int8 96, int16 152, int24 232. Wider integers are rounded to
nearest, ties to even: int32 351. A tagged copy for every place that the leading one may have, which
needs no steps, would take n^2 / 2 cycles instead of s n.
"""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.float_rounding import round_to_single, store_single
from bankwidth.devices.sram_lut.floating import (
    BIAS,
    EXPONENT_BITS,
    MANTISSA_BITS,
    SIGN,
    SIGNIFICAND_BITS,
    Exponent,
    Float,
    significand_room,
    store_exponent,
)
from bankwidth.devices.sram_lut.row_logic import constant, fill, take_flag
from bankwidth.devices.sram_lut.row_shifts import Rows, normalise
from bankwidth.devices.sram_lut.workspace import Workspace, converting
from bankwidth.errors import SpecError

FEWEST_BITS, MOST_BITS = 2, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """Integers in the lanes: `bits` of two's complement, or without a sign.

    A number is its code less the zero point, as in GGUF's q4_0: bits=4, signed=False, zero_point=8.
    """

    bits: int
    signed: bool = True
    zero_point: int = 0

    def __post_init__(self) -> None:
        """Raises SpecError outside 2 to 32 bits."""
        if not FEWEST_BITS <= self.bits <= MOST_BITS:
            raise SpecError(
                f"integers of {self.bits} bits: conversion takes {FEWEST_BITS} to {MOST_BITS} bits"
            )
        if self.magnitude_bits > MOST_BITS:
            raise SpecError(
                f"zero point {self.zero_point}: numbers would have {self.magnitude_bits} bits, "
                f"conversion takes up to {MOST_BITS}"
            )

    @property
    def lowest(self) -> int:
        """Smallest number."""
        return (-(1 << (self.bits - 1)) if self.signed else 0) - self.zero_point

    @property
    def highest(self) -> int:
        """Largest number."""
        return self.lowest + (1 << self.bits) - 1

    @property
    def magnitude_bits(self) -> int:
        """Bits of the largest magnitude."""
        return max(1, abs(self.lowest).bit_length(), abs(self.highest).bit_length())

    @property
    def operand_bits(self) -> int:
        """Of a command: below 0 without a sign."""
        return self.bits if self.signed else -self.bits


def int_to_float(b: ProgramBuilder, dst: int, src: int, scratch: int, *, codes: Codes) -> int:
    """fp32 at `dst` = the number at `src`; gives the rows of scratch it took.

    Nothing overflows; zero gives +0. Raises SpecError for widths out of range.
    """
    with converting(b, scratch) as work:
        if codes.magnitude_bits <= SIGNIFICAND_BITS:
            _in_place(work, dst, src, codes)
        else:
            row = significand_room(work, codes.magnitude_bits, EXPONENT_BITS)
            number = unpack_integer(work, src, codes, row)
            store_single(work, dst, round_to_single(work, number))
    return work.taken


def _in_place(work: Workspace, dst: int, src: int, codes: Codes) -> None:
    """The leading one moves up to where the exponent begins, and is overwritten by it."""
    below = SIGNIFICAND_BITS - codes.magnitude_bits
    fill(work, dst, below, ones=False)
    number = unpack_integer(work, src, codes, dst + below)
    work.builder.clear(dst + MANTISSA_BITS, EXPONENT_BITS)
    work.builder.tag(number.nonzero)
    store_exponent(work, dst + MANTISSA_BITS, number.exponent, EXPONENT_BITS, tagged=True)
    work.builder.copy(dst + SIGN, number.sign, 1)


def unpack_integer(work: Workspace, src: int, codes: Codes, significand: int) -> Float:
    """The number at `src`, its `codes.magnitude_bits` bits of significand from that row on."""
    bits = codes.magnitude_bits
    sign = _magnitude(work, significand, src, codes)
    stays = normalise(work, significand, bits)
    return Float(
        sign=sign,
        nonzero=take_flag(work, significand + bits - 1),
        exponent=Exponent((stays,), BIAS + bits - (1 << stays.bits), BIAS, BIAS + bits - 1),
        significand=Rows(significand, bits),
    )


def _magnitude(work: Workspace, dst: int, src: int, codes: Codes) -> int:
    """|number| in `codes.magnitude_bits` rows at `dst`; gives the row of its sign."""
    bits = codes.magnitude_bits
    if codes.lowest >= 0 and not codes.zero_point:
        work.builder.copy(dst, src, bits, codes.operand_bits)
        return work.zero
    if codes.zero_point:
        sign = _difference(work, dst, src, codes)
    else:
        sign = src + codes.bits - 1
        work.builder.copy(dst, src, bits, codes.operand_bits)
    work.builder.tag(sign)
    work.builder.subtract(dst, work.zero, dst, bits, -1, bits, tagged=True)
    return sign


def _difference(work: Workspace, dst: int, src: int, codes: Codes) -> int:
    """Code less zero point; the sign, one row above the magnitude, is moved to scratch."""
    wide = codes.magnitude_bits + 1
    sign = work.take(1)
    with work.borrow(2 * wide) as number:
        point = number + wide
        constant(work, point, codes.zero_point, wide)
        work.builder.subtract(number, src, point, wide, codes.operand_bits, wide)
        work.builder.copy(dst, number, codes.magnitude_bits)
        work.builder.copy(sign, number + codes.magnitude_bits, 1)
    return sign
