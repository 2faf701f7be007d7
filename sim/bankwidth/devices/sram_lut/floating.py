"""Numbers taken apart: sign, exponent and significand in rows of their own.

Formats are those of IEEE 754-2019: fp32 and fp16. Exponents are biased by 127 throughout, whatever
the format they came from. Subnormal fp32 numbers count as zero (as with x86's DAZ); those of fp16
are exact, as they are normal numbers of fp32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.devices.sram_lut.row_logic import any_set, constant, fill, take_flag
from bankwidth.devices.sram_lut.row_shifts import Rows, normalise
from bankwidth.devices.sram_lut.workspace import Workspace

SINGLE_BITS: Final = 32
MANTISSA_BITS: Final = 23  # of fp32, without the hidden one
SIGNIFICAND_BITS: Final = 24
EXPONENT_BITS: Final = 8
BIAS: Final = 127
LARGEST: Final = 254  # exponent of a finite number; 255 is infinite
SIGN: Final = 31  # row of the sign
HALF_MANTISSA_BITS: Final = 10
HALF_EXPONENT_BITS: Final = 5
HALF_SIGN: Final = 15
HALF_BIAS: Final = 15
WIDE_BITS: Final = 10  # of an exponent that may leave its range: two's complement


@dataclass(frozen=True, slots=True)
class Exponent:
    """A biased exponent: the sum of some rows and of a number that the controller knows.

    `lowest` and `highest` bound it in lanes that are not zero.
    """

    parts: tuple[Rows, ...]
    offset: int
    lowest: int
    highest: int

    def plus(self, other: Exponent) -> Exponent:
        """Of a product, before it is normalised."""
        return Exponent(
            self.parts + other.parts,
            self.offset + other.offset - BIAS,
            self.lowest + other.lowest - BIAS,
            self.highest + other.highest - BIAS,
        )

    def raised_by(self, carry: int) -> Exponent:
        """One more in lanes whose bit in the row `carry` is set."""
        return Exponent((*self.parts, Rows(carry, 1)), self.offset, self.lowest, self.highest + 1)

    @property
    def is_safe(self) -> bool:
        """Whether it is one of a normal number whatever the data, even if rounding raises it."""
        return self.lowest >= 1 and self.highest + 1 <= LARGEST


@dataclass(frozen=True, slots=True)
class Float:
    """(-1)^sign x 2^(exponent - 127) x significand / 2^(its bits - 1) in each lane.

    The upper row of the significand is 1 in every lane whose bit in the row `nonzero` is set; other
    lanes are zero, whatever their significand holds.
    """

    sign: int
    nonzero: int
    exponent: Exponent
    significand: Rows

    @property
    def top(self) -> int:
        """Row of the leading one."""
        return self.significand.row + self.significand.bits - 1


def unpack_single(work: Workspace, src: int) -> Float:
    """Of fp32 at `src`, finite: 30 cycles, as the hidden one needs a row of its own."""
    significand = work.take(SIGNIFICAND_BITS)
    hidden = significand + MANTISSA_BITS
    exponent = Rows(src + MANTISSA_BITS, EXPONENT_BITS)
    work.builder.copy(significand, src, MANTISSA_BITS)
    any_set(work, hidden, exponent.row, exponent.bits)
    return Float(
        sign=src + SIGN,
        nonzero=hidden,
        exponent=Exponent((exponent,), 0, 1, LARGEST),
        significand=Rows(significand, SIGNIFICAND_BITS),
    )


def unpack_half(work: Workspace, src: int, significand: int | None = None) -> Float:
    """Of fp16 at `src`, its significand in 11 rows from `significand` on: 76 cycles.

    Without a hidden one (exponent 0) the number is m x 2^-24 and its leading one moves up, which
    lowers the exponent by as much. Infinite and not-a-number look like numbers of exponent 16.
    """
    bits = HALF_MANTISSA_BITS + 1
    row = work.take(bits) if significand is None else significand
    stored = Rows(src + HALF_MANTISSA_BITS, HALF_EXPONENT_BITS)
    work.builder.copy(row, src, HALF_MANTISSA_BITS)
    any_set(work, row + HALF_MANTISSA_BITS, stored.row, stored.bits)
    is_subnormal = take_flag(work, row + HALF_MANTISSA_BITS, inverted=True)
    stays = normalise(work, row, bits)
    steps_all = (1 << stays.bits) - 1
    return Float(
        sign=src + HALF_SIGN,
        nonzero=take_flag(work, row + HALF_MANTISSA_BITS),
        exponent=Exponent(
            (stored, Rows(is_subnormal, 1), stays),
            BIAS - HALF_BIAS - steps_all,
            BIAS - HALF_BIAS - HALF_MANTISSA_BITS + 1,
            BIAS - HALF_BIAS + (1 << HALF_EXPONENT_BITS) - 1,
        ),
        significand=Rows(row, bits),
    )


def store_exponent(
    work: Workspace, dst: int, exponent: Exponent, bits: int, *, tagged: bool = False
) -> None:
    """`bits` rows at `dst` = the sum: `bits` cycles, and `bits` + 1 for each of its parts.

    Only the last addition writes `dst`, so with `tagged` only lanes with a tag change.
    """
    with work.borrow(bits) as total:
        constant(work, total, exponent.offset, bits)
        for part in exponent.parts[:-1]:
            work.builder.add(total, total, part.row, bits, bits, -part.bits)
        for part in exponent.parts[-1:]:
            work.builder.add(dst, total, part.row, bits, bits, -part.bits, tagged=tagged)
        if not exponent.parts:
            work.builder.copy(dst, total, bits, tagged=tagged)


def significand_room(work: Workspace, bits: int, exponent_bits: int = WIDE_BITS) -> int:
    """Rows for a significand that will be rounded to fp32.

    Zeros lie below one of fewer bits, and an exponent has room from its leading one up.
    """
    below = max(0, SIGNIFICAND_BITS - bits)
    row = work.take(below + bits + exponent_bits - 1)
    fill(work, row, below, ones=False)
    return row + below
