"""Clocks of a ternary product on one core, executed step by step.

For each token (row of x) and each row of groups: activations come in, every table's sums are
written, outputs are looked up and added. Then the token's outputs leave. A token whose steps begin
in the same state as those of the token before takes what that one took, so the others are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from bankwidth.devices.ternary_lut.stream import Arrivals, State, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One core: `tables` groups of `group` activations in, `lookups` outputs per clock."""

    group: int
    tables: int
    lookups: int  # of each table per clock
    sums: int  # that a table holds
    writes: int = 1  # of them per clock
    doubled: bool = False  # the next tables are made while these are looked up
    fill_ck: int = 0  # of a row's look-ups
    stream: Stream = field(default_factory=Stream)

    @property
    def inputs(self) -> int:
        """Activations of a row of groups."""
        return self.group * self.tables

    def rows(self, k: int) -> int:
        """Rows of groups that `k` activations are, the last one padded."""
        return -(-k // self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Where the clocks of a product went, and what it did."""

    read: int = 0  # activations came in
    build: int = 0  # tables were written
    lookup: int = 0  # outputs were looked up
    output: int = 0  # outputs left

    @property
    def total(self) -> int:
        """All of them: one after the other."""
        return self.read + self.build + self.lookup + self.output

    def plus(self, other: Clocks, times: int = 1) -> Clocks:
        """These and `times` others."""
        return Clocks(
            read=self.read + times * other.read,
            build=self.build + times * other.build,
            lookup=self.lookup + times * other.lookup,
            output=self.output + times * other.output,
        )


def sums_of(group: int, *, halved: bool) -> int:
    """Sums of a table: one for each choice of weights; halved, without negatives and nothing."""
    every: int = 3**group
    return (every - 1) // 2 if halved else every


@lru_cache(maxsize=4096)
def product_clocks(core: Core, m: int, n: int, k: int, *, skip: bool = True) -> Clocks:
    """x[m, k] W[k, n] on one core, weights in its buffer. `skip=False` executes every token."""
    run = _Run(core, n, k)
    total, spent = Clocks(), Clocks()
    before: State | None = None
    for token in range(m):
        state = run.state()
        if skip and state == before:
            return total.plus(spent, m - token)
        spent = run.token()
        total, before = total.plus(spent), state
    return total


class _Run:
    """The steps of one product."""

    def __init__(self, core: Core, n: int, k: int) -> None:
        self._core = core
        self._arrivals = Arrivals(core.stream)
        self._rows = core.rows(k)
        short = k - (self._rows - 1) * core.inputs  # activations of the last row
        last = core.inputs if core.stream.pads else short
        words = core.stream.words(core.inputs)
        self._words = [words] * (self._rows - 1) + [core.stream.words(last)]
        self._write_ck = -(-core.sums // core.writes)
        self._lookup_ck = -(-n // core.lookups)
        self._now_ck = 0

    def state(self) -> State:
        return self._arrivals.state(self._now_ck)

    def token(self) -> Clocks:
        """One token; with two sets of tables a row's look-ups hide what makes the next one's."""
        steps = self._side_by_side() if self._core.doubled else self._in_turn()
        output_ck = self._lookup_ck + self._core.fill_ck
        self._now_ck += output_ck
        return steps.plus(Clocks(output=output_ck))

    def _read(self, words: int, ready_ck: int) -> int:
        for _ in range(words):
            ready_ck = self._arrivals.take(ready_ck)
        return ready_ck

    def _in_turn(self) -> Clocks:
        start_ck, read_ck = self._now_ck, 0
        lookup_ck = self._lookup_ck + self._core.fill_ck
        for words in self._words:
            there = self._read(words, self._now_ck)
            read_ck += there - self._now_ck
            self._now_ck = there + self._write_ck + lookup_ck
        build_ck = self._rows * self._write_ck
        return Clocks(
            read=read_ck,
            build=build_ck,
            lookup=self._now_ck - start_ck - read_ck - build_ck,
        )

    def _side_by_side(self) -> Clocks:
        """What looks up is busy or waits: for activations, or for tables.

        The other tables are free once these are whole: the row before was looked up by then, or
        looking up is what takes longest.
        """
        ready = free = self._now_ck  # to read; to look up
        read_ck = build_ck = 0
        for words in self._words:
            there = self._read(words, ready)
            built = there + self._write_ck
            read_ck += max(0, there - free)
            build_ck += max(0, built - max(there, free))
            ready = built
            free = max(built, free) + self._lookup_ck
        self._now_ck = free
        return Clocks(read=read_ck, build=build_ck, lookup=self._rows * self._lookup_ck)
