"""Cycles that each array computes in each round: what its commands cost, added up.

The sums are those of the commands of `gemv.table_steps` (tests walk these and compare), made for
all arrays at once: look-ups by group and member, entries by group and tile of members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows
from bankwidth.devices.sram_lut.commands import Program
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.gemv import build_commands, product_steps, sum_commands
from bankwidth.devices.sram_lut.lookups import Lookups, with_origins
from bankwidth.devices.sram_lut.tiling import Tiling

Ints = NDArray[np.int64]
NOTHING = -1  # in the place of cycles: an array has no inputs in this round


@dataclass(frozen=True, slots=True)
class GroupWork:
    """Cycles of each group of inputs and tile of members: of sums, and of the entries built."""

    lookups: Ints  # [groups, member tiles]
    builds: Ints


@dataclass(slots=True)
class TableWork:
    """Of products with tables.

    Members beyond those looked up are like them: tile after tile from the first one on again.
    """

    costs: Costs
    looked_up: Lookups
    members: int
    all_entries: bool
    _sums: Ints | None = None

    def of(self, rows: ArrayRows) -> GroupWork:
        """With so many members to an array as `rows` has."""
        tiles = -(-self.members // rows.members)
        known = tiles
        if self.looked_up.members < self.members:
            known = max(1, self.looked_up.members // rows.members)
        tile = np.arange(tiles) % known
        return GroupWork(self._lookups(rows, known)[:, tile], self._builds(rows, known)[:, tile])

    def _lookups(self, rows: ArrayRows, tiles: int) -> Ints:
        if self._sums is None:
            self._sums = self._by_member(rows)
        sums = self._sums[:, : tiles * rows.members]
        padded = np.pad(sums, ((0, 0), (0, tiles * rows.members - sums.shape[1])))
        total: Ints = padded.reshape(len(sums), tiles, rows.members).sum(axis=2)
        return total

    def _by_member(self, rows: ArrayRows) -> Ints:
        """[groups, members]; how many of them an array has changes no cost."""
        found = self.looked_up
        cycles = self.costs.cycles(Program(sum_commands(rows, found)))
        place = found.group.astype(np.int64) * found.members + found.member
        sums = np.bincount(place, weights=cycles, minlength=found.groups * found.members)
        return sums.astype(np.int64).reshape(found.groups, found.members)

    def _builds(self, rows: ArrayRows, tiles: int) -> Ints:
        tables = np.flatnonzero(rows.counts > 1)
        cycles = np.zeros(len(rows.counts), dtype=np.int64)
        commands = build_commands(rows, tables, np.zeros_like(tables))
        cycles[tables] = self.costs.cycles(Program(commands))
        if self.all_entries:
            return np.full((self.looked_up.groups, tiles), int(cycles.sum()), dtype=np.int64)
        total: Ints = self._needed(rows.members, tiles) @ cycles
        return total

    def _needed(self, members: int, tiles: int) -> NDArray[np.bool_]:
        """[groups, tiles, 2^group]: entries that some member of a tile needs."""
        found = self.looked_up
        tile = np.minimum(found.member // members, tiles - 1)
        entries = np.zeros((found.groups, tiles, 1 << found.group_size), dtype=np.bool_)
        entries[found.group, tile, found.pattern] = True
        return with_origins(entries)


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
        of_tile = np.full((self.groups, tiles), cycles * rows.members, dtype=np.int64)
        of_tile[:, -1] = cycles * (self.members - (tiles - 1) * rows.members)
        return GroupWork(of_tile, np.zeros_like(of_tile))


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
    tiles, of_tile = tiling.member_tiles, work.lookups + work.builds
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
