"""DRAM on the system's clock: one channel is simulated, all channels of a memory do the same.

Streams interleave over every channel burst by burst, so the channels see the same traffic and one
of them stands for all; its counts are multiplied by the number of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import simpy

from bankwidth.devices.dram import (
    DramChannel,
    DramConfig,
    Mapper,
    Snapshot,
    Stream,
    config_of,
    energy_pj,
)
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import DramSpec
from bankwidth.system.ahead import Ahead
from bankwidth.system.record import Served

if TYPE_CHECKING:
    from bankwidth.devices.dram.rounds import Rounds

FOREVER_CK = 2**58
# Consecutive bursts change bank group and pseudo-channel every four, as memory controllers of GPUs
# have it; with whole rows one after the other a stream would wait for one bank group's tCCD_L.
MAPPER = Mapper.MOP4_CLXOR


class Memory(Protocol):
    """What the system asks of a memory, whatever it is made of."""

    name: str
    channels: int
    peak_bytes_per_ns: float
    read_bytes: int
    write_bytes: int

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last burst is done."""

    def finish(self) -> None:
        """Bring the counts up to the present."""

    def counts(self) -> dict[str, int]:
        """Commands of all channels."""

    def row_results(self) -> tuple[int, int]:
        """(hits, all column accesses) of all channels."""

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item."""

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind; those without an energy of their own are absent."""

    def busy_ps(self) -> int:
        """Time with work inside."""

    def skipped(self) -> tuple[int, int]:
        """Requests that repeated what was known, of all requests, of one channel."""


class Moving(Protocol):
    """Transfers under way."""

    def wait(self) -> Sequence[Served]:
        """What the memory did for each. Nothing may arrive at it any more before the last end."""


@runtime_checkable
class PromptMemory(Protocol):
    """A memory that needs no event loop: it is told of all transfers in the order of time."""

    def start(self, transfers: Sequence[Transfer], now_ps: int) -> Moving:
        """Begin transfers at `now_ps`; the sequence must not change afterwards."""


@runtime_checkable
class ScatteredMemory(Protocol):
    """A memory in which pieces at places of their own take other times than consecutive bytes."""

    def scattered(self, transfer: Transfer) -> simpy.Event:
        """Event that succeeds with a `Served` when the last piece is read."""


def begin_transfer(memory: Memory, transfer: Transfer) -> simpy.Event:
    """Event that succeeds with a `Served` when a transfer is done."""
    if transfer.chunk_bytes and isinstance(memory, ScatteredMemory):
        return memory.scattered(transfer)
    return memory.transfer(transfer.address, transfer.size_bytes, is_write=transfer.is_write)


@dataclass(frozen=True, slots=True)
class ProgramServed:
    """When a program began and ended, and the time of its last channel by part, in ps."""

    start_ps: int
    end_ps: int
    parts_ps: dict[str, int]


@runtime_checkable
class ComputingMemory(Protocol):
    """A memory that runs programs of its own: computing banks, drives with an engine."""

    read_bytes: int
    write_bytes: int

    def serve(self, program: Any, now_ps: int) -> ProgramServed:
        """Run a program that is handed over at `now_ps`, without the event loop."""

    def run(self, program: Any) -> simpy.Event:
        """Event that succeeds with a `ProgramServed` when it has ended."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Transfers whose ends were known at once."""

    served: Sequence[Served]

    def wait(self) -> Sequence[Served]:
        """What the memory did for each."""
        return self.served


# What a DRAM command spends; a precharge has no energy of its own, IDD0's loop holds it.
_ITEM_OF_COMMAND = {
    "ACT": "activate", "ACT1": "activate", "RD": "read", "RDA": "read",
    "WR": "write", "WRA": "write", "REFab": "refresh", "REFpb": "refresh",
}  # fmt: skip


def command_energies(counts: Mapping[str, int], items_pj: Mapping[str, float]) -> dict[str, float]:
    """Each item's energy shared out, by count, among the commands that spend it."""
    energies = {}
    for command, count in counts.items():
        item = _ITEM_OF_COMMAND.get(command)
        if item is not None and count:
            same = sum(n for c, n in counts.items() if _ITEM_OF_COMMAND.get(c) == item)
            energies[command] = items_pj[item] * count / same
    return energies


def sequential(config: DramConfig, first: int, count: int, is_write: bool) -> Stream:
    """Consecutive bursts of a channel; what runs over its end lies before it instead."""
    bursts = config.capacity_bytes // config.burst_bytes
    base = min(first % bursts, max(0, bursts - count))
    return Stream(base_burst=base, counts=(min(count, bursts), 1, 1), is_write=is_write)


def rounds_of(channel: DramChannel) -> Rounds:
    """An empty memory of rounds for channels like this one; needs the kernels, as they do."""
    from bankwidth.devices.dram.rounds import Rounds

    return Rounds(channel)


class DramMemory(Ahead):
    """A memory of which one channel is simulated, command by command."""

    def __init__(self, env: simpy.Environment, name: str, spec: DramSpec, *, skip: bool) -> None:
        super().__init__(env)
        self.name = name
        self.config = config_of(spec)
        self.channel = DramChannel(self.config, mapper=MAPPER, skip=False)
        self.channels = spec.channels
        self.peak_bytes_per_ns = spec.channel_peak_bytes_per_ns * spec.channels
        self.read_bytes = 0
        self.write_bytes = 0
        self._rounds = rounds_of(self.channel) if skip else None
        self._saved = self.channel.snapshot()

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last burst is done."""
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
        stripe = self.channels * self.config.burst_bytes
        bursts = max(1, -(-size_bytes // stripe))
        stream = sequential(self.config, address // stripe, bursts, is_write)
        return self.join(lambda: self.channel.add(stream))

    def finish(self) -> None:
        """Advance to the end of the run, so that refresh is counted to its last instant."""
        self.catch_up()

    def counts(self) -> dict[str, int]:
        """Commands of all channels."""
        return {name: n * self.channels for name, n in self.channel.counts.items()}

    def row_results(self) -> tuple[int, int]:
        """(hits, all column accesses) of all channels."""
        hits = self.channel.row_hits
        total = hits + self.channel.row_misses + self.channel.row_conflicts
        return hits * self.channels, total * self.channels

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item."""
        one = energy_pj(self.channel.counts, elapsed_ns, self.config)
        return {item: pj * self.channels for item, pj in one.items()}

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind."""
        return command_energies(self.counts(), self.energy_pj(0.0))

    def busy_ps(self) -> int:
        """Time with at least one request inside."""
        return self.config.time_ps(self.channel.busy_ck)

    def skipped(self) -> tuple[int, int]:
        """Requests added with rounds that were known, of all requests, of one channel."""
        return self.channel.skipped_requests, self.channel.requests_in

    # ---- the device
    def now_ticks(self) -> int:
        """The channel's clock."""
        return self.channel.now_ck

    def ticks(self, time_ps: int) -> int:
        """First tick at or after a time."""
        return self.config.ticks_covering(time_ps)

    def time_ps(self, ticks: int) -> int:
        """Time of a tick."""
        return self.config.time_ps(ticks)

    def advance(self, until: int) -> list[int]:
        """Go on to a tick or to the first completion."""
        if self._rounds is None:
            return self.channel.advance(until)
        return self._rounds.advance(self.channel, until)

    def snapshot(self) -> Snapshot:
        """The channel's state."""
        return self.channel.snapshot()

    def restore(self, saved: Snapshot) -> None:
        """Back to a snapshot."""
        self.channel.restore(saved)

    def refreshed_ticks(self) -> int:
        """Ticks in which refresh held requests up."""
        return self.channel.refresh_blocked_ck
