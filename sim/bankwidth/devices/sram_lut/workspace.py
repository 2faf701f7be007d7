"""What conversions are written on: a builder, scratch rows, and a row of zeros and one of ones.

Conversions need single bits of a value as rows of their own, so the arrays must be transposed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bankwidth.devices.sram_lut.commands import Phase, ProgramBuilder


class Workspace:
    """Rows from `first` on, handed out in order; `taken` of them at most were out at once."""

    def __init__(self, builder: ProgramBuilder, first: int) -> None:
        self.builder = builder
        self.taken = 0
        self._first = self._next = first
        self.zero = self.take(1)
        self.one = self.take(1)
        builder.clear(self.zero, 1)
        builder.invert(self.one, self.zero, 1)

    def take(self, rows: int) -> int:
        """The first of `rows` rows that stay the caller's."""
        row = self._next
        self._next += rows
        self.taken = max(self.taken, self._next - self._first)
        return row

    @contextmanager
    def borrow(self, rows: int) -> Iterator[int]:
        """The same, given back at the end of the block with all that was taken within it."""
        mark = self._next
        try:
            yield self.take(rows)
        finally:
            self._next = mark


@contextmanager
def converting(builder: ProgramBuilder, scratch: int) -> Iterator[Workspace]:
    """A workspace whose commands count as conversion."""
    before = builder.phase
    builder.phase = Phase.CONVERT
    try:
        yield Workspace(builder, scratch)
    finally:
        builder.phase = before
