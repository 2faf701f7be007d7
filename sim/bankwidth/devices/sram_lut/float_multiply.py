"""Products of numbers taken apart, and the scales that they are multiplied by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from bankwidth.devices.sram_lut.constant_product import times_constant
from bankwidth.devices.sram_lut.floating import (
    BIAS,
    SIGNIFICAND_BITS,
    Exponent,
    Float,
    significand_room,
    unpack_half,
    unpack_single,
)
from bankwidth.devices.sram_lut.row_logic import take_flag
from bankwidth.devices.sram_lut.row_shifts import Rows
from bankwidth.devices.sram_lut.workspace import Workspace
from bankwidth.errors import SpecError

FloatFormat = Literal["fp32", "fp16"]
ROUNDED_BITS: Final = SIGNIFICAND_BITS + 2  # those that a rounding looks at one by one


@dataclass(frozen=True, slots=True)
class LaneScale:
    """A scale of its own for each lane, stored at `row`."""

    row: int
    format: FloatFormat = "fp32"


@dataclass(frozen=True, slots=True)
class ProgramScale:
    """One scale for all lanes, known when the program is written: an fp32 number."""

    value: float

    def __post_init__(self) -> None:
        """Raises SpecError unless it is a normal number of fp32."""
        number = float(np.float32(self.value))
        if not (math.isfinite(number) and abs(number) >= float(np.finfo(np.float32).tiny)):
            raise SpecError(f"scale {self.value}: must be a normal number of fp32, not 0")
        if number != float(self.value):
            raise SpecError(f"scale {self.value}: not a number of fp32, the nearest is {number!r}")

    @property
    def significand(self) -> int:
        """Odd: its low zeros are left out."""
        mantissa, _ = math.frexp(abs(self.value))
        whole = int(mantissa * (1 << SIGNIFICAND_BITS))
        return whole // (whole & -whole)

    @property
    def exponent(self) -> Exponent:
        """Biased by 127."""
        _, power = math.frexp(abs(self.value))
        biased = power - 1 + BIAS
        return Exponent((), biased, biased, biased)


Scale = LaneScale | ProgramScale


def scaled(work: Workspace, x: Float, scale: Scale) -> Float:
    """The exact product, in a `significand_room`."""
    if isinstance(scale, ProgramScale):
        return _times_known(work, x, scale)
    return times(work, x, unpack(work, scale.row, scale.format))


def unpack(work: Workspace, row: int, format: FloatFormat) -> Float:
    """A stored number taken apart. Raises SpecError for a format that is not known."""
    if format == "fp32":
        return unpack_single(work, row)
    if format == "fp16":
        return unpack_half(work, row)
    raise SpecError(f"float format {format!r}: conversion knows fp32 and fp16")


def times(work: Workspace, x: Float, y: Float) -> Float:
    """x * y; the significands have m and n bits, their product m + n."""
    bits = x.significand.bits + y.significand.bits
    row = significand_room(work, bits)
    _multiply(work, row, x.significand, y.significand)
    sign, nonzero = work.take(1), work.take(1)
    work.builder.logic("xor", sign, x.sign, y.sign, 1)
    work.builder.logic("and", nonzero, x.nonzero, y.nonzero, 1)
    exponent = x.exponent.plus(y.exponent)
    return _with_leading_one(work, Float(sign, nonzero, exponent, Rows(row, bits)))


def _multiply(work: Workspace, dst: int, x: Rows, y: Rows) -> None:
    """Unsigned: m bits by n. Tagged additions of the wider operand, one per bit of the narrower.

    They take n (m + 4) + m - 2 cycles, for the additions need zeros above what is written. At m = n
    that is n^2 + 5n - 2, which Neural Cache gives for a multiplication; then it is one command.
    """
    b = work.builder
    wide, narrow = (x, y) if x.bits >= y.bits else (y, x)
    if wide.bits == narrow.bits:
        b.multiply(dst, wide.row, narrow.row, 2 * wide.bits, -wide.bits, -narrow.bits)
        return
    b.clear(dst, wide.bits + narrow.bits)
    for place in range(narrow.bits):
        b.tag(narrow.row + place)
        row, bits = dst + place, wide.bits + 1
        if place:
            b.add(row, row, wide.row, bits, bits, -wide.bits, tagged=True)
        else:
            b.copy(row, wide.row, wide.bits, tagged=True)


def _times_known(work: Workspace, x: Float, scale: ProgramScale) -> Float:
    factor = scale.significand
    bits = x.significand.bits + (factor.bit_length() if factor > 1 else 0)
    row = significand_room(work, bits)
    times_constant(work, row, x.significand.row, -x.significand.bits, factor)
    sign = take_flag(work, x.sign, inverted=True) if scale.value < 0 else x.sign
    exponent = x.exponent.plus(scale.exponent)
    product = Float(sign, x.nonzero, exponent, Rows(row, bits))
    return product if factor == 1 else _with_leading_one(work, product)


def _with_leading_one(work: Workspace, x: Float) -> Float:
    """A product of numbers from 1 to below 2 is below 4: lanes below 2 are doubled.

    Only the rows that rounding looks at one by one move: below them it matters whether any is set.
    """
    bits = min(x.significand.bits, ROUNDED_BITS)
    row = x.top + 1 - bits
    carry = take_flag(work, x.top)
    work.builder.tag(carry, inverted=True)
    work.builder.add(row, row, row, bits, bits, bits, tagged=True)
    return Float(x.sign, x.nonzero, x.exponent.raised_by(carry), x.significand)
