"""A DRAM description compiled to integers: what the engine and the energy model need."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.energy import CommandEnergies, energies_of
from bankwidth.devices.dram.standards import STANDARDS
from bankwidth.devices.dram.table import Constraint, Controller, constraints_of
from bankwidth.spec.dram import DramSpec, OrganisationSpec

QUEUE_SLOTS: Final = 32  # reads, and writes: the reference's default
HIGH_WATERMARK: Final = 26  # queued writes that start a drain: more than 0.8 of the queue
LOW_WATERMARK: Final = 6  # queued writes at which reads take over again: below 0.2 of it
CAP: Final = 4  # column commands after which ClosedCAP closes a row


@dataclass(frozen=True, slots=True, kw_only=True)
class DramConfig:
    """One channel. Times in ticks: a tick is a clock cycle, or half of one (HBM3)."""

    name: str
    standard: str
    controller: Controller
    tck_ps: int
    ticks_per_ck: int
    levels: tuple[Level, ...]
    level_counts: tuple[int, ...]  # channel to bank
    rows: int
    columns: int  # bursts per row
    burst_bytes: int
    commands: tuple[Command, ...]  # in the standard's order
    command_names: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    refresh_level: Level
    times: dict[str, int]  # the timing record, in ticks
    read_latency_ticks: int
    burst_ticks: int
    peak_bytes_per_ns: float
    capacity_bytes: int
    energies: CommandEnergies

    @property
    def tick_ps(self) -> float:
        """Length of a tick; a half is possible, so use `time_ps` where times add up."""
        return self.tck_ps / self.ticks_per_ck

    def time_ps(self, ticks: int) -> int:
        """Whole picoseconds that have passed at a tick."""
        return ticks * self.tck_ps // self.ticks_per_ck

    def ticks_covering(self, time_ps: int) -> int:
        """First tick at or after a time; that of `time_ps(t)` is `t`."""
        return -(-time_ps * self.ticks_per_ck // self.tck_ps)

    @property
    def num_banks(self) -> int:
        """Banks of the channel."""
        return prod(self.level_counts)

    @property
    def num_refresh_scopes(self) -> int:
        """Groups of banks that an all-bank refresh takes at once."""
        return prod(self.level_counts[: self.levels.index(self.refresh_level) + 1])


def level_count(organisation: OrganisationSpec, level: Level) -> int:
    """How many nodes of a level there are below one node above it."""
    counts = {
        Level.CHANNEL: 1,
        Level.RANK: organisation.ranks,
        Level.PSEUDO_CHANNEL: organisation.pseudo_channels,
        Level.STACK_ID: organisation.stack_ids,
        Level.BANK_GROUP: organisation.bank_groups,
        Level.BANK: organisation.banks_per_group,
    }
    return counts[level]


def config_of(spec: DramSpec) -> DramConfig:
    """Compiles a description. Raises SpecError when its timing contradicts itself."""
    standard = STANDARDS[spec.standard]
    organisation, timing = spec.organisation, spec.timing
    per_ck = standard.ticks_per_ck
    return DramConfig(
        name=spec.name,
        standard=standard.name,
        controller=standard.controller,
        tck_ps=timing.tck_ps,
        ticks_per_ck=per_ck,
        levels=standard.levels,
        level_counts=tuple(level_count(organisation, level) for level in standard.levels),
        rows=organisation.rows,
        columns=organisation.columns // organisation.prefetch,
        burst_bytes=organisation.burst_bytes,
        commands=standard.commands,
        command_names=tuple(standard.command_name(command) for command in standard.commands),
        constraints=constraints_of(standard, timing),
        refresh_level=standard.refresh_level,
        times=timing.times(per_ck),
        read_latency_ticks=(timing.cl + timing.burst_ck) * per_ck,
        burst_ticks=timing.burst_ck * per_ck,
        peak_bytes_per_ns=spec.channel_peak_bytes_per_ns,
        capacity_bytes=spec.channel_capacity_bytes,
        energies=energies_of(spec),
    )
