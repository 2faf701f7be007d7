"""Rounding to fp32 (to nearest, ties to even), and what happens where the exponent ends.

Results too large become infinite, as in IEEE 754. What is stored as fp32 is never too small: it is
an integer, or an integer times a normal number.
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
from bankwidth.errors import SimulationError

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
    """A row: must the number at `row` go up? It has `below` rows of lower bits: as many cycles."""
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
    """fp32 at `dst`: 64 cycles where the exponent stays in range, else 118.

    Raises SimulationError for what may be below the smallest normal number.
    """
    if x.bounds.lowest < 1:
        raise SimulationError(f"exponents from {x.bounds.lowest} on are stored, fp32's begin at 1")
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
    """An exponent of 255 or more is infinite: all ones, and no mantissa."""
    b = work.builder
    infinite, kept = work.take(1), work.take(1)
    all_set(work, infinite, x.exponent, EXPONENT_BITS)
    b.logic("or", infinite, infinite, x.exponent + EXPONENT_BITS, 1)
    b.invert(kept, infinite, 1)
    b.logic("and", kept, kept, x.nonzero, 1)
    b.logic("and", infinite, infinite, x.nonzero, 1)
    b.clear(dst, PACKED_BITS)
    b.tag(kept)
    b.copy(dst, x.row, PACKED_BITS, tagged=True)
    b.tag(infinite)
    fill(work, dst + MANTISSA_BITS, EXPONENT_BITS, ones=True, tagged=True)


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
