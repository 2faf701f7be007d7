"""Costs between sizes that were run: straight lines, and more runs where they are not straight.

Kernels come in tiles, so that costs are stairs: they jump from a multiple of some power of two to
the next size. A piece of a line therefore begins one above such a multiple and ends at the next.
If costs in the middle of a piece are not on its line, the halves are looked at instead. Every
check is remembered, so that a run can say how far off its lines were where they were looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bankwidth.serving.pricing_cost import Cost, mixed

STRAIGHT: Final = 0.005  # how far a checked point may lie from its line, of an iteration's time


@dataclass(slots=True)
class Checks:
    """How far costs in the middle of pieces were from the pieces' lines, and may be."""

    straight: float = STRAIGHT
    number: int = 0
    worst: float = 0.0

    def note(self, error: float) -> None:
        """An error as a share of an iteration's time, of a piece that is used."""
        self.number += 1
        self.worst = max(self.worst, error)


@dataclass(slots=True, kw_only=True)
class Line:
    """Costs of sizes from 1 on. `rest` is what an iteration of a size takes besides.

    An octave of sizes is `pieces` pieces at first.
    """

    run: Callable[[int], Cost]
    rest: Callable[[int], Cost]
    checks: Checks
    pieces: int
    most: int | None = None  # no size is above
    _known: dict[int, Cost] = field(default_factory=dict)
    _straight: dict[tuple[int, int], bool] = field(default_factory=dict)

    def at(self, size: int) -> Cost:
        """The cost of a size: run, or off a line."""
        if size in self._known:
            return self._known[size]
        low, high = self.piece(size)
        if low == high:
            return self.exact(size)
        return mixed(self.exact(low), self.exact(high), (size - low) / (high - low))

    def exact(self, size: int) -> Cost:
        """The cost of a size that is run, once."""
        if size not in self._known:
            self._known[size] = self.run(size)
        return self._known[size]

    def piece(self, size: int) -> tuple[int, int]:
        """First and last size of the straight piece that a size lies on."""
        low, high = self._widest(size)
        while not self._is_straight(low, high):
            middle = (low + high) // 2
            low, high = (low, middle) if size <= middle else (middle + 1, high)
        return low, high

    def _widest(self, size: int) -> tuple[int, int]:
        length = max(1, _octave(size) // self.pieces)
        last = -(-size // length) * length
        return last - length + 1, last if self.most is None else min(last, self.most)

    def _is_straight(self, low: int, high: int) -> bool:
        key = low, high
        if key not in self._straight:
            self._straight[key] = self._check(low, high)
        return self._straight[key]

    def _check(self, low: int, high: int) -> bool:
        """Whether both costs beside the middle, where a stair may be, are on the line."""
        if high - low <= 1:
            return True
        middle = (low + high) // 2
        error = max(self._error(low, high, size) for size in {middle, min(middle + 1, high)})
        if error <= self.checks.straight:
            self.checks.note(error)
        return error <= self.checks.straight

    def _error(self, low: int, high: int, size: int) -> float:
        """Of time or energy, whichever is further off, as a share of an iteration's."""
        share = (size - low) / (high - low)
        on_line = mixed(self.exact(low), self.exact(high), share)
        found, rest = self.exact(size), self.rest(size)
        pairs = (
            (on_line.latency_ps - found.latency_ps, found.latency_ps + rest.latency_ps),
            (on_line.energy_pj - found.energy_pj, found.energy_pj + rest.energy_pj),
        )
        return max(abs(off) / whole if whole else 0.0 for off, whole in pairs)


def _octave(size: int) -> int:
    """The power of two below a size; of a power of two, half of it: its piece ends there."""
    return 1 << ((size - 1).bit_length() - 1) if size > 1 else 1


@dataclass(slots=True, kw_only=True)
class Surface:
    """Costs over two sizes: in each octave of the first, pieces of the second are found anew."""

    run: Callable[[int, int], Cost]
    rest: Callable[[int], Cost]  # of the first size
    checks: Checks
    pieces: tuple[int, int]
    most: int | None = None  # of the second
    _across: dict[int, Line] = field(default_factory=dict)  # by the second size
    _along: dict[int, Line] = field(default_factory=dict)  # by the octave of the first

    def at(self, first: int, second: float) -> Cost:
        """The cost of two sizes."""
        low, high = self.piece(first, second)
        share = min(1.0, (second - low) / (high - low)) if high > low else 0.0
        if share <= 0.0:
            return self._line(low).at(first)
        return mixed(self._line(low).at(first), self._line(high).at(first), share)

    def piece(self, first: int, second: float) -> tuple[int, int]:
        """Ends of the straight piece of the second size that it lies on."""
        octave = 2 * _octave(first)
        if octave not in self._along:
            self._along[octave] = Line(
                run=lambda size: self._line(size).exact(octave),
                rest=lambda _: self.rest(octave),
                checks=self.checks,
                pieces=self.pieces[1],
                most=self.most,
            )
        return self._along[octave].piece(math.ceil(second))

    def _line(self, second: int) -> Line:
        if second not in self._across:
            self._across[second] = Line(
                run=lambda size: self.run(size, second),
                rest=self.rest,
                checks=self.checks,
                pieces=self.pieces[0],
            )
        return self._across[second]
