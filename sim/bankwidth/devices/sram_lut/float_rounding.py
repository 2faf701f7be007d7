"""Rounding to fp32 (to nearest, ties to even), and what happens where the exponent ends.

Results too large become infinite, as in IEEE 754. Results too small are flushed to a zero of their
sign, after rounding to 24 bits (as with x86's FTZ): no subnormal numbers are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bankwidth.devices.sram_lut.floating import (
    EXPONENT_BITS,
    LARGEST,
    MANTISSA_BITS,
    SIGN,
    SIGNIFICAND_BITS,
    WIDE_BITS,
    Exponent,
    Float,
    store_exponent,
)
from bankwidth.devices.sram_lut.row_logic import all_set, any_set, fill
from bankwidth.devices.sram_lut.row_shifts import Rows
from bankwidth.devices.sram_lut.workspace import Workspace

PACKED_BITS = MANTISSA_BITS + EXPONENT_BITS


@dataclass(frozen=True, slots=True)
class Single:
    """A number with the 24 significant bits of fp32, the hidden one left out.

    The mantissa lies at `row`, the exponent in `exponent_bits` rows above it; if these are more
    than 8 they are two's complement and may hold what fp32 cannot. `increment`, if there is one, is
    a row whose bit is still to be added. `bounds` are those of the exponent, as of `Exponent`.
    """

    row: int
    exponent_bits: int
    sign: int
    nonzero: int
    bounds: Exponent
    increment: int | None = None

    @property
    def bits(self) -> int:
        """Of mantissa and exponent."""
        return MANTISSA_BITS + self.exponent_bits

    @property
    def exponent(self) -> int:
        """Its first row."""
        return self.row + MANTISSA_BITS


def round_to_single(work: Workspace, x: Float) -> Single:
    """Rounds in place; the significand must lie in a `significand_room`.

    The exponent overwrites the leading one and what is above it.
    """
    row = x.top - MANTISSA_BITS
    extra = x.significand.bits - SIGNIFICAND_BITS
    increment = nearest_even(work, row, extra) if extra > 0 else None
    bits = EXPONENT_BITS if x.exponent.is_safe else WIDE_BITS
    store_exponent(work, x.top, x.exponent, bits)
    return Single(row, bits, x.sign, x.nonzero, x.exponent, increment)


def nearest_even(work: Workspace, row: int, below: int) -> int:
    """One row: must the number at `row` go up, given `below` rows of bits below it? `below` cycles."""
    increment = work.take(1)
    if below == 1:
        work.builder.logic("and", increment, row, row - 1, 1)
        return increment
    any_set(work, increment, row - below, below - 1)
    work.builder.logic("or", increment, increment, row, 1)
    work.builder.logic("and", increment, increment, row - 1, 1)
    return increment


def settled(work: Workspace, x: Single) -> Single:
    """With its increment added: a mantissa of ones carries into the exponent, as it should."""
    if x.increment is None:
        return x
    work.builder.add(x.row, x.row, x.increment, x.bits, x.bits, -1)
    return replace(x, increment=None)


def store_single(work: Workspace, dst: int, x: Single) -> None:
    """fp32 at `dst`: 64 cycles where the exponent stays in range, else about 130."""
    work.builder.copy(dst + SIGN, x.sign, 1)
    if x.bounds.is_safe:
        work.builder.clear(dst, PACKED_BITS)
        work.builder.tag(x.nonzero)
        _store_tagged(work, dst, x)
    else:
        _store_checked(work, dst, settled(work, x))


def _store_tagged(work: Workspace, dst: int, x: Single) -> None:
    if x.increment is None:
        work.builder.copy(dst, x.row, PACKED_BITS, tagged=True)
    else:
        work.builder.add(dst, x.row, x.increment, PACKED_BITS, PACKED_BITS, -1, tagged=True)


def _store_checked(work: Workspace, dst: int, x: Single) -> None:
    infinite, kept = _classes(work, x)
    work.builder.clear(dst, PACKED_BITS)
    work.builder.tag(kept)
    work.builder.copy(dst, x.row, PACKED_BITS, tagged=True)
    work.builder.tag(infinite)
    fill(work, dst + MANTISSA_BITS, EXPONENT_BITS, ones=True, tagged=True)


def _classes(work: Workspace, x: Single) -> tuple[int, int]:
    """Rows that say which lanes are infinite, and which hold a normal number.

    The wide exponent is e: infinite from 255 on, normal from 1 to 254.
    """
    b = work.builder
    infinite, kept, positive = work.take(1), work.take(1), work.take(1)
    sign = x.exponent + WIDE_BITS - 1
    b.invert(positive, sign, 1)
    b.logic("and", positive, positive, x.nonzero, 1)
    all_set(work, infinite, x.exponent, EXPONENT_BITS)
    b.logic("or", infinite, infinite, x.exponent + EXPONENT_BITS, 1)
    b.logic("and", infinite, infinite, positive, 1)
    any_set(work, kept, x.exponent, EXPONENT_BITS)
    b.logic("and", kept, kept, positive, 1)
    with work.borrow(1) as finite:
        b.invert(finite, infinite, 1)
        b.logic("and", kept, kept, finite, 1)
    return infinite, kept


def as_float(work: Workspace, x: Single) -> Float:
    """Taken apart again, to go on calculating: 9 cycles. Its exponent must be in range.

    The exponent gives its first row back to the leading one.
    """
    x = settled(work, x)
    exponent = Rows(work.take(EXPONENT_BITS), EXPONENT_BITS)
    work.builder.copy(exponent.row, x.exponent, EXPONENT_BITS)
    work.builder.copy(x.exponent, x.nonzero, 1)
    highest = min(x.bounds.highest + 1, LARGEST)
    bounded = Exponent((exponent,), 0, x.bounds.lowest, highest)
    return Float(x.sign, x.nonzero, bounded, Rows(x.row, SIGNIFICAND_BITS))
