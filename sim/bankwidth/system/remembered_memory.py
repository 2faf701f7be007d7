"""DRAM of long runs: what transfers take is remembered instead of simulated each time.

A run that generates a thousand tokens moves bytes half a million times, nearly all as the step
before did. Transfers that start at one instant are a set; what a set takes on an idle channel comes
from `system/idle_channel.py`, the refreshes that it meets are added where they fall due. What that
leaves out: a set waits for the one before it, where a channel would serve both in turns.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import simpy

from bankwidth.devices.dram import energy_pj
from bankwidth.devices.dram.energy import ACTIVATES
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import DramSpec
from bankwidth.system.idle_channel import IdleChannel, Outcome, Set
from bankwidth.system.memory import command_energies
from bankwidth.system.record import Served

Process: TypeAlias = Generator[simpy.Event, Any, None]


PHASES = 32  # of the time between two refreshes that are told apart


@dataclass(slots=True, eq=False)
class Spell:
    """What a set takes from its start on: time to the end of each transfer, and of it refresh."""

    ends_ps: tuple[int, ...]
    refresh_ps: tuple[int, ...]
    last_ps: int
    interrupted: int  # refreshes that it meets on its way
    outcome: Outcome
    uses: int = 0


@dataclass(slots=True)
class _Moved:
    """A set of transfers as streams of one channel, with what they take in all."""

    transfers: Sequence[Transfer]  # kept, so that no other object gets its identity
    streams: Set
    bursts: int
    read_bytes: int
    write_bytes: int
    spells: dict[int, Spell]  # by phase of the refresh, and whether rows were left open


@dataclass(frozen=True, slots=True)
class Spent:
    """A set that came at `now_ps` and waited until `start_ps`."""

    spell: Spell
    now_ps: int
    start_ps: int

    def wait(self) -> list[Served]:
        """When each transfer began to wait, and when it ended."""
        spell, now_ps, start_ps = self.spell, self.now_ps, self.start_ps
        return [
            Served(now_ps, start_ps + end_ps, refresh_ps)
            for end_ps, refresh_ps in zip(spell.ends_ps, spell.refresh_ps, strict=True)
        ]


class RememberedMemory:
    """Sets of transfers one after the other, each as on an idle memory."""

    def __init__(self, env: simpy.Environment, name: str, spec: DramSpec) -> None:
        self.env = env
        self.name = name
        self.channels = spec.channels
        self.peak_bytes_per_ns = spec.channel_peak_bytes_per_ns * spec.channels
        self.read_bytes = 0
        self.write_bytes = 0
        self._channel = IdleChannel(spec)
        self.config = self._channel.config
        self._interval_ps = self.config.time_ps(self._channel.refresh.interval_ck)
        self._sets: dict[int, _Moved] = {}  # by the identity of their transfers
        self._spells: list[Spell] = []
        self._free_ps = 0
        self._busy_ps = 0
        self._intervals = 0  # of refresh, until the end of the run
        self._bursts = 0
        self._arrived: list[tuple[Transfer, simpy.Event]] = []  # at this instant

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last burst is done."""
        event = self.env.event()
        moved = Transfer(
            memory=self.name, address=address, size_bytes=size_bytes, is_write=is_write
        )
        if not self._arrived:
            self.env.process(self._begin())  # others may arrive right now
        self._arrived.append((moved, event))
        return event

    def carry(self, transfers: Sequence[Transfer], now_ps: int) -> list[Served]:
        """Move transfers that all start at `now_ps`; the sequence must not change afterwards."""
        return self.start(transfers, now_ps).wait()

    def start(self, transfers: Sequence[Transfer], now_ps: int) -> Spent:
        """As `carry`; spells of equal sets at equal phases of the refresh are one object."""
        start_ps = max(self._free_ps, now_ps)
        return Spent(self.take(transfers, start_ps), now_ps, start_ps)

    def take(self, transfers: Sequence[Transfer], start_ps: int) -> Spell:
        """Serve a set on the idle memory."""
        moved = self._sets.get(id(transfers)) or self._new_set(transfers)
        self.read_bytes += moved.read_bytes
        self.write_bytes += moved.write_bytes
        self._bursts += moved.bursts
        interval, into_ps = divmod(start_ps, self._interval_ps)
        opened = self._busy_ps > 0 and self._free_ps // self._interval_ps == interval
        key = 2 * (PHASES * into_ps // self._interval_ps) + opened
        spell = moved.spells.get(key)
        if spell is None:
            spell = moved.spells[key] = self._new_spell(moved, key)
        spell.uses += 1
        self._free_ps = start_ps + spell.last_ps
        self._busy_ps += spell.last_ps
        return spell

    def finish(self) -> None:
        """Refresh goes on to the end of the run."""
        self._intervals = int(self.env.now) // self._interval_ps

    def counts(self) -> dict[str, int]:
        """Commands of all channels, rounded."""
        return {name: round(n * self.channels) for name, n in self._counts().items()}

    def row_results(self) -> tuple[int, int]:
        """(hits, all column accesses) of all channels."""
        used = [(spell.outcome, spell.uses) for spell in self._spells]
        results = sum([outcome.row_results * n for outcome, n in used])
        hits = sum([outcome.row_hits * n for outcome, n in used])
        hits -= self._reopened() * self._interrupted()
        return round(max(0.0, hits) * self.channels), round(results * self.channels)

    def _reopened(self) -> float:
        """Rows opened again behind a refresh."""
        return sum([n for c, n in self._channel.refresh.counts.items() if c in ACTIVATES])

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item."""
        one = {name: round(n) for name, n in self._counts().items()}
        items = energy_pj(one, elapsed_ns, self.config)
        return {item: pj * self.channels for item, pj in items.items()}

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind."""
        return command_energies(self.counts(), self.energy_pj(0.0))

    def busy_ps(self) -> int:
        """Time with work inside."""
        return self._busy_ps

    def skipped(self) -> tuple[int, int]:
        """Bursts whose time was remembered, of all bursts, of one channel."""
        return max(0, self._bursts - self._channel.simulated_bursts), self._bursts

    def _new_set(self, transfers: Sequence[Transfer]) -> _Moved:
        streams = tuple([self._stream(each) for each in transfers])
        moved = _Moved(
            transfers=transfers,
            streams=streams,
            bursts=sum(bursts for _, bursts, _ in streams),
            read_bytes=sum(t.size_bytes for t in transfers if not t.is_write),
            write_bytes=sum(t.size_bytes for t in transfers if t.is_write),
            spells={},
        )
        self._sets[id(transfers)] = moved
        return moved

    def _stream(self, transfer: Transfer) -> tuple[int, int, bool]:
        """Bursts of one channel; the channels share every transfer evenly."""
        stripe = self.channels * self.config.burst_bytes
        bursts = max(1, -(-transfer.size_bytes // stripe))
        return transfer.address // stripe, bursts, transfer.is_write

    def _new_spell(self, moved: _Moved, key: int) -> Spell:
        """In the middle of a phase of the refresh."""
        phase, opened = divmod(key, 2)
        refresh = self._channel.refresh
        outcome = self._channel.outcome(moved.streams, opened=bool(opened))
        into_ck = (phase + 0.5) * refresh.interval_ck / PHASES
        met = [refresh.met(into_ck, work_ck) for work_ck in outcome.ends_ck]
        time_ps = self.config.time_ps
        ends_ps = tuple(
            [time_ps(math.ceil(w + m)) for w, (m, _) in zip(outcome.ends_ck, met, strict=True)]
        )
        spell = Spell(
            ends_ps=ends_ps,
            refresh_ps=tuple([time_ps(round(lost_ck)) for lost_ck, _ in met]),
            last_ps=max(ends_ps),
            interrupted=max([number for _, number in met]),
            outcome=outcome,
        )
        self._spells.append(spell)
        return spell

    def _interrupted(self) -> int:
        """Refreshes that a set met."""
        return sum([spell.interrupted * spell.uses for spell in self._spells])

    def _counts(self) -> dict[str, float]:
        """Commands of one channel."""
        refresh, interrupted = self._channel.refresh, self._interrupted()
        used = [(spell.outcome.counts, spell.uses) for spell in self._spells]
        return {
            name: math.fsum([counts[name] * n for counts, n in used])
            + refresh.counts[name] * interrupted
            + refresh.per_interval[name] * self._intervals
            for name in refresh.counts
        }

    def _begin(self) -> Process:
        """Serve what has arrived at this instant."""
        arrived, self._arrived = self._arrived, []
        served = self.carry(tuple(transfer for transfer, _ in arrived), int(self.env.now))
        for (_, event), part in zip(arrived, served, strict=True):
            self.env.process(self._end(event, part))
        yield from ()

    def _end(self, event: simpy.Event, served: Served) -> Process:
        yield self.env.timeout(served.end_ps - int(self.env.now))
        event.succeed(served)
