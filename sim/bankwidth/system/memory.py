"""DRAM on the system's clock: one channel is simulated, all channels of a memory do the same.

Streams interleave over every channel burst by burst, so the channels see the same traffic and one
of them stands for all; its counts are multiplied by the number of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import simpy

from bankwidth.devices.dram import (
    DramChannel,
    DramConfig,
    Mapper,
    Stream,
    config_of,
    energy_pj,
)
from bankwidth.spec import DramSpec

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


@dataclass(frozen=True, slots=True)
class Served:
    """What one transfer met: when it began and ended, and how long refresh held it up."""

    start_ps: int
    end_ps: int
    refresh_ps: int


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


class DramMemory:
    """A memory that advances to its own next completion, and back when a newcomer joins earlier.

    Once all streams of an instant have arrived, the channel runs ahead of simpy to its first
    completion, but not beyond the next event: what that brings may join. A snapshot before each run
    ahead lets a stream that arrives earlier all the same join at its own time: the channel returns
    to the snapshot and is advanced, exactly, to the newcomer's arrival.
    """

    def __init__(self, env: simpy.Environment, name: str, spec: DramSpec, *, skip: bool) -> None:
        self.env = env
        self.name = name
        self.config = config_of(spec)
        self.channel = DramChannel(self.config, mapper=MAPPER, skip=False)
        self.channels = spec.channels
        self.peak_bytes_per_ns = spec.channel_peak_bytes_per_ns * spec.channels
        self.read_bytes = 0
        self.write_bytes = 0
        self._rounds = rounds_of(self.channel) if skip else None
        self._saved = self.channel.snapshot()
        self._waiting: dict[int, tuple[simpy.Event, int, int]] = {}
        self._done: list[int] = []  # streams that end where the channel has run ahead to
        self._run = 0  # counts runs ahead; an older one's completion is void

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last burst is done."""
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
        stripe = self.channels * self.config.burst_bytes
        self._catch_up()
        bursts = max(1, -(-size_bytes // stripe))
        stream = self.channel.add(sequential(self.config, address // stripe, bursts, is_write))
        event = self.env.event()
        self._waiting[stream] = (event, int(self.env.now), self.channel.refresh_blocked_ck)
        self._run += 1
        self._at(int(self.env.now), self._completion(self._run))  # others may arrive right now
        return event

    def finish(self) -> None:
        """Advance to the end of the run, so that refresh is counted to its last instant."""
        self._catch_up()

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

    def _catch_up(self) -> None:
        now_ck = self.config.ticks_covering(int(self.env.now))
        if self.channel.now_ck > now_ck:
            self.channel.restore(self._saved)
            self._done = []
        self._finish()
        while self.channel.now_ck < now_ck:
            self._done = self._advance(now_ck)
            self._finish()

    def _run_ahead(self) -> None:
        self._run += 1
        if not self._waiting:
            return
        self._saved = self.channel.snapshot()
        self._done = self._advance(self._next_event_ck())
        end_ps = max(self.config.time_ps(self.channel.now_ck), int(self.env.now))
        self._at(end_ps, self._completion(self._run))

    def _next_event_ck(self) -> int:
        """The next tick at which anything else happens; never, if that is unknown."""
        next_ps = self.env.peek()
        if next_ps == float("inf"):
            return FOREVER_CK
        next_ck = self.config.ticks_covering(int(next_ps))
        return next_ck if next_ck > self.channel.now_ck else FOREVER_CK

    def _advance(self, until_ck: int) -> list[int]:
        if self._rounds is None:
            return self.channel.advance(until_ck)
        return self._rounds.advance(self.channel, until_ck)

    def _completion(self, run: int) -> Callable[[simpy.Event], None]:
        def fire(_: simpy.Event) -> None:
            if run == self._run:
                self._finish()
                self._run_ahead()

        return fire

    def _finish(self) -> None:
        done, self._done = self._done, []
        for stream in done:
            event, start_ps, blocked_before = self._waiting.pop(stream)
            blocked = self.config.time_ps(self.channel.refresh_blocked_ck - blocked_before)
            event.succeed(Served(start_ps, int(self.env.now), blocked))

    def _at(self, time_ps: int, callback: Callable[[simpy.Event], None]) -> None:
        timer = self.env.timeout(time_ps - int(self.env.now))
        if timer.callbacks is not None:  # None only once processed
            timer.callbacks.append(callback)
