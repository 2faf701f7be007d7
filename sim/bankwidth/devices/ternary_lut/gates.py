"""Areas of the blocks that cores are made of, in gate equivalents (1 is a NAND2 of least drive).

Composed of cells as a synthesis for area maps them: carries ripple, selected words go through
and-or-inverts behind one-hot lines. A clock that binds makes them larger; no such factor is here.
Formats of floats have their units as data (`arch/libraries/cells`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from bankwidth.errors import SpecError, did_you_mean
from bankwidth.spec.cells import CellLibrarySpec, FloatUnitsSpec
from bankwidth.spec.load import load_cells

INT_BITS: Final = range(2, 33)  # widths of integers that cores are made for


@dataclass(frozen=True, slots=True)
class Gates:
    """Blocks of one library, in gate equivalents."""

    library: CellLibrarySpec

    @property
    def um2(self) -> float:
        """Area of a gate equivalent."""
        return self.library.gate_um2

    def _cell(self, area_um2: float) -> float:
        return area_um2 / self.library.cells.nand2_um2

    @property
    def full_adder(self) -> float:
        """One bit of a sum with a carry in."""
        return self._cell(self.library.cells.full_adder_um2)

    @property
    def half_adder(self) -> float:
        """One bit of a sum without."""
        return self._cell(self.library.cells.half_adder_um2)

    @property
    def and2(self) -> float:
        """A bit that is let through."""
        return self._cell(self.library.cells.and2_um2)

    @property
    def xor2(self) -> float:
        """A bit that is inverted on demand."""
        return self._cell(self.library.cells.xor2_um2)

    @property
    def mux2(self) -> float:
        """One bit of two."""
        return self._cell(self.library.cells.mux2_um2)

    @property
    def register_bit(self) -> float:
        """A flip-flop."""
        return self._cell(self.library.cells.flip_flop_um2)

    @property
    def held_bit(self) -> float:
        """A flip-flop with a reset that keeps its value unless it is enabled."""
        return self._cell(self.library.cells.flip_flop_reset_um2) + self.mux2

    def adder(self, bits: int) -> float:
        """Sum of two integers: the lowest bit has no carry in."""
        return (bits - 1) * self.full_adder + self.half_adder

    def subtractor(self, bits: int) -> float:
        """Difference of two integers."""
        return self.adder(bits) + bits * self._cell(self.library.cells.inverter_um2)

    def negator(self, bits: int) -> float:
        """Two's complement on demand: a bit is inverted where one below it is set."""
        below = self._cell(self.library.cells.or2_um2) + 1.0
        return bits * (self.xor2 + below)

    def sign_flip(self, bits: int) -> float:
        """An integer times -1, 0 or 1 in front of an adder, which takes the carry in."""
        return bits * (self.xor2 + self.and2) + self.full_adder - self.half_adder

    def multiplier(self, bits: int, other_bits: int) -> float:
        """Product of two integers: rows of partial products, each added to those before."""
        rows = (other_bits - 1) * bits * self.full_adder
        return bits * other_bits * self.and2 + rows

    def selector(self, words: int, bits: int) -> float:
        """One of `words` by its number, 0 where the number is none of them."""
        if words == 1:
            return bits * self.and2
        pairs = -(-words // 2)
        inverts = pairs * self._cell(self.library.cells.aoi22_um2)
        return bits * (inverts + self._joined(pairs)) + self._lines(words, bits)

    def _joined(self, pairs: int) -> float:
        """Inverted pairs of a bit, or-ed: NAND4s, then ORs."""
        fours = -(-pairs // 4)
        nand = self._cell(self.library.cells.nand4_um2) if pairs > 2 else 1.0
        return fours * nand + (fours - 1) * self._cell(self.library.cells.or2_um2)

    def _lines(self, words: int, bits: int) -> float:
        """One-hot lines of a number: halves of it decoded, met by an AND each, and buffers."""
        number = words.bit_length()  # one value is left for "none"
        halves = (1 << number // 2) + (1 << number - number // 2)
        buffers = words * (bits // 8) * self._cell(self.library.cells.buffer_um2)
        return (words + halves) * self.and2 + buffers

    def counter(self, bits: int) -> float:
        """A number that steps on and is compared with its end."""
        return bits * (self.held_bit + self.half_adder + self.xor2)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of activations: an integer, or a float with its units."""

    name: str
    bits: int
    units: FloatUnitsSpec | None = None  # None: an integer

    @property
    def is_float(self) -> bool:
        """Whether sums keep the width."""
        return self.units is not None

    def sum_bits(self, terms: int) -> int:
        """Width of a sum of that many activations, of any signs. Integers are symmetric."""
        if self.is_float:
            return self.bits
        return (terms * ((1 << self.bits - 1) - 1)).bit_length() + 1


def format_of(name: str, library: CellLibrarySpec) -> Format:
    """`int2` to `int32`, or a float of the library. Raises SpecError with what is allowed."""
    if name in library.formats:
        return Format(name, library.formats[name].width, library.formats[name])
    bits = name.removeprefix("int")
    if name.startswith("int") and bits.isdecimal() and int(bits) in INT_BITS:
        return Format(name, int(bits))
    floats = list(library.formats)
    hint = did_you_mean(name, [*floats, "int4", "int8", "int16"])
    allowed = f"int{INT_BITS.start} to int{INT_BITS.stop - 1}, {', '.join(floats)}"
    raise SpecError(f"activations of {name!r}: no such format in {library.name}, "
                    f"allowed: {allowed}{hint}")  # fmt: skip


@cache
def gates_of(cells: str) -> Gates:
    """Blocks of a shipped library. Raises SpecError for a name that is none."""
    return Gates(load_cells(cells))


def shipped_gates() -> Gates:
    """Nangate's cells in the size of 16 nm."""
    return gates_of("nangate45-16nm")
