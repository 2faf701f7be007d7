"""Cycles that each array computes in each round: what its commands cost, added up.

The sums are those of the commands of `gemv.table_steps` (tests walk these and compare), made for
all arrays at once: look-ups by group and member, entries by group and tile of members.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows
from bankwidth.devices.sram_lut.commands import Program
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.gemv import build_commands, product_steps, sum_commands
from bankwidth.devices.sram_lut.lookups import Lookups
from bankwidth.devices.sram_lut.tiling import Tiling

Ints = NDArray[np.int64]
NOTHING = -1  # in the place of cycles: an array has no inputs in this round


@dataclass(frozen=True, slots=True)
class GroupWork:
    """Cycles of each group of inputs: sums [groups, members], builds [groups, member tiles]."""

    lookups: Ints
    builds: Ints


@dataclass(slots=True)
class TableWork:
    """Of products with tables."""

    costs: Costs
    looked_up: Lookups
    all_entries: bool
    _found: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    def of(self, rows: ArrayRows) -> GroupWork:
        """With so many members to an array as `rows` has."""
        sums = self.costs.cycles(Program(sum_commands(rows, self.looked_up)))
        found = self.looked_up
        place = found.group.astype(np.int64) * found.members + found.member
        size = found.groups * found.members
        by_member = np.bincount(place, weights=sums, minlength=size).astype(np.int64)
        lookups = by_member.reshape(found.groups, found.members)
        return GroupWork(lookups, self._builds(rows))

    def _builds(self, rows: ArrayRows) -> Ints:
        patterns = np.arange(1 << rows.group)
        tables = np.flatnonzero(rows.counts > 1)
        cycles = np.zeros(len(patterns), dtype=np.int64)
        commands = build_commands(rows, tables, np.zeros_like(tables))
        cycles[tables] = self.costs.cycles(Program(commands))
        tiles = -(-self.looked_up.members // rows.members)
        if self.all_entries:
            return np.full((self.looked_up.groups, tiles), int(cycles.sum()), dtype=np.int64)
        total: Ints = self._needed(rows.members) @ cycles
        return total

    def _needed(self, members: int) -> NDArray[np.bool_]:
        """[groups, member tiles, 2^group]: entries that some member of a tile needs."""
        if members not in self._found:
            found = self.looked_up
            tiles = -(-found.members // members)
            entries = np.zeros((found.groups, tiles, 1 << found.group_size), dtype=np.bool_)
            entries[found.group, found.member // members, found.pattern] = True
            for entry in range(entries.shape[2] - 1, 0, -1):
                if others := entry & (entry - 1):
                    entries[:, :, others] |= entries[:, :, entry]
            self._found[members] = entries
        return self._found[members]


@dataclass(frozen=True, slots=True)
class ProductWork:
    """Of products without tables: the same for all numbers."""

    costs: Costs
    groups: int
    group: int
    members: int
    index_bits: int
    signed: bool

    def of(self, rows: ArrayRows) -> GroupWork:
        """Every member multiplies every number."""
        one = replace(rows, members=1)
        steps = product_steps(one, rows.group, self.index_bits, signed=self.signed)
        cycles = int(self.costs.cycles(Program(steps.commands)).sum())
        tiles = -(-self.members // rows.members)
        return GroupWork(
            np.full((self.groups, self.members), cycles, dtype=np.int64),
            np.zeros((self.groups, tiles), dtype=np.int64),
        )


def heaviest_part(work: GroupWork, tiling: Tiling) -> GroupWork:
    """Groups of the slice whose share of the inputs takes longest."""
    groups = len(work.lookups)
    step = -(-groups // tiling.outer_parts)
    if step >= groups:
        return work
    starts = np.arange(0, groups, step)
    sums = np.add.reduceat(work.lookups.sum(axis=1) + work.builds.sum(axis=1), starts)
    first = int(starts[int(np.argmax(sums))])
    part = slice(first, first + step)
    return GroupWork(work.lookups[part], work.builds[part])


def by_round(work: GroupWork, tiling: Tiling) -> Ints:
    """[waves, rounds, units, parts] cycles of one slice; `NOTHING` where there are no inputs."""
    members, tiles = tiling.rows.members, tiling.member_tiles
    padded = np.pad(work.lookups, ((0, 0), (0, tiles * members - work.lookups.shape[1])))
    of_tile = padded.reshape(len(padded), tiles, members).sum(axis=2) + work.builds
    per_part = tiling.part_inputs // tiling.rows.group
    cycles = _rounded(of_tile, tiling.parts, per_part, tiling.rounds, tiling.groups_per_round)
    present = _rounded(
        np.ones((len(of_tile), 1), dtype=np.int64),
        tiling.parts, per_part, tiling.rounds, tiling.groups_per_round,
    )  # fmt: skip
    cycles = np.where(present > 0, cycles, NOTHING)  # [parts, rounds, tiles]
    unit = np.arange(tiling.waves * tiling.units)
    of_unit = cycles[:, :, unit % tiles]
    of_unit[:, :, unit >= tiling.lane_tiles * tiles] = NOTHING
    shape = (tiling.parts, tiling.rounds, tiling.waves, tiling.units)
    return np.ascontiguousarray(of_unit.reshape(shape).transpose(2, 1, 3, 0))


def _rounded(values: Ints, parts: int, per_part: int, rounds: int, per_round: int) -> Ints:
    """[groups, tiles] added up to [parts, rounds, tiles]."""
    groups, tiles = values.shape
    whole = np.pad(values, ((0, parts * per_part - groups), (0, 0)))
    of_part = whole.reshape(parts, per_part, tiles)
    of_part = np.pad(of_part, ((0, 0), (0, rounds * per_round - per_part), (0, 0)))
    total: Ints = of_part.reshape(parts, rounds, per_round, tiles).sum(axis=2)
    return total
