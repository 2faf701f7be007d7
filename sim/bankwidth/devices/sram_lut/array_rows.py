"""Where in an array a product's numbers lie: weights, table, accumulators, from row 0 up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import MappingError


def bits_of_sum(value_bits: int, numbers: int) -> int:
    """Width of a sum of two's complement numbers of `value_bits` bits."""
    return value_bits + (numbers - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class ArrayRows:
    """Rows of one array.

    `value_bits` is the width of the numbers in the lanes, `round_inputs` how many of them each
    buffer holds. A table has an entry for each subset of a group; those of one number are the
    number itself and take no rows.
    """

    layout: str
    value_bits: int
    group: int
    round_inputs: int
    buffers: int
    members: int
    accumulator_bits: int
    scratch_bits: int = 0  # a product before it is added, where there are no tables
    has_table: bool = True
    reserved: int = 0  # rows below the accumulators that a conversion needs
    has_zero: bool = False  # an entry of no numbers, where zeros are looked up as well

    @property
    def slot_bits(self) -> int:
        """Of the widest entry: the sum of a whole group."""
        return bits_of_sum(self.value_bits, self.group)

    @property
    def num_entries(self) -> int:
        """Entries that take rows."""
        entries = (1 << self.group) - 1 - self.group + self.has_zero
        return entries if self.has_table else 0

    @property
    def weight_rows(self) -> int:
        """Of all buffers."""
        return self.buffers * self.round_inputs * self.rows_of(self.value_bits)

    @property
    def table_rows(self) -> int:
        """Of the table of one group."""
        return self.num_entries * self.rows_of(self.slot_bits)

    @property
    def scratch_rows(self) -> int:
        """Of an operand and a product."""
        return 0 if self.has_table else 2 * self.rows_of(self.scratch_bits)

    @property
    def first_accumulator(self) -> int:
        """Its row; below it there is room for a sum that another array sends."""
        taken = self.weight_rows + self.table_rows + self.scratch_rows
        return max(taken, self.rows_of(self.accumulator_bits), self.reserved)

    @property
    def rows(self) -> int:
        """Of all that is there."""
        return self.first_accumulator + self.members * self.rows_of(self.accumulator_bits)

    def number(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the numbers that come `place`-th; the buffers take turns."""
        return place % (self.buffers * self.round_inputs) * self.rows_of(self.value_bits)

    def accumulator(self, member: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the sums of members."""
        return self.first_accumulator + member * self.rows_of(self.accumulator_bits)

    def entry(self, pattern: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of entries; one of a single number is that number, of the `group`-th group."""
        bit = self.lowest[pattern]
        single = self.number(group * self.group + bit)
        return np.where(self.counts[pattern] == 1, single, self._entry_rows[pattern])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Numbers of each entry."""
        patterns = np.arange(1 << self.group)
        return np.array([int(p).bit_count() for p in patterns], dtype=np.int64)

    @cached_property
    def lowest(self) -> NDArray[np.int64]:
        """The first number of each entry; 0 of the empty one."""
        patterns = range(1 << self.group)
        return np.array([max((p & -p).bit_length() - 1, 0) for p in patterns], dtype=np.int64)

    @cached_property
    def entry_bits(self) -> NDArray[np.int64]:
        """Width of each entry."""
        counts = self.counts.tolist()
        return np.array([bits_of_sum(self.value_bits, max(n, 1)) for n in counts], dtype=np.int64)

    @cached_property
    def _entry_rows(self) -> NDArray[np.int64]:
        """Of entries of two numbers and more, and of none, in the order of their patterns."""
        has_rows = self.counts > 1
        has_rows[0] = self.has_zero
        rank = np.cumsum(has_rows) - 1
        return self.weight_rows + rank * self.rows_of(self.slot_bits)

    def rows_of(self, bits: int) -> int:
        """Rows that a number of so many bits takes."""
        return 1 if self.layout == "words" else bits


def most_members(rows: ArrayRows, array_rows: int) -> int:
    """Members whose accumulators fit beside the rest; 0 where not even one does."""
    taken = rows.first_accumulator
    return max(0, (array_rows - taken) // rows.rows_of(rows.accumulator_bits))


def check_table_fits(rows: ArrayRows, array_rows: int, name: str) -> None:
    """Raises MappingError, with the rows that are needed, unless one member fits."""
    least = rows.first_accumulator + rows.rows_of(rows.accumulator_bits)
    if least <= array_rows:
        return
    what = f"a table of {1 << rows.group} entries" if rows.has_table else "a product"
    raise MappingError(
        f"{name}: groups of {rows.group} do not fit: {what} needs {rows.table_rows} rows "
        f"({rows.num_entries} sums of up to {rows.slot_bits} bits), with {rows.weight_rows} rows "
        f"of weights and one accumulator of {rows.accumulator_bits} bits {least} rows, an array "
        f"has {array_rows}; use a smaller mapping.sram_lut.group or arrays with more rows"
    )
