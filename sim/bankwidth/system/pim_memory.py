"""Computing banks on the system's clock: programs and plain transfers, in order.

All channels of a memory take the same programs, but some of them a longer one (a head more, a group
of outputs more). Neighbours in one state are a lane and simulated once; a program that treats
them differently splits the lane, and they are joined again when they come to the same state.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import simpy
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PARTS
from bankwidth.devices.pim.config import config_of
from bankwidth.devices.pim.energy import energy_pj
from bankwidth.devices.pim.memo import MOST_OUTCOMES, Outcome, channels_of
from bankwidth.devices.pim.plain import plain_macros
from bankwidth.devices.pim.program import ChannelProgram, PimProgram, mac_of
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import DramSpec, PimSpec
from bankwidth.system.link import Link
from bankwidth.system.memory import Moved, ProgramServed
from bankwidth.system.record import Served

_NO_PARTS: Final = dict.fromkeys(PARTS, 0)
_NOTHING: Final = ChannelProgram(macros=np.zeros((0, 4), dtype=np.int64), channels=1)


@dataclass(slots=True)
class _Lane:
    """`channels` neighbours in the same state; their last work ended at `now_ck`."""

    state: Hashable
    channels: int
    now_ck: int = 0


class PimMemory:
    """Channels of computing banks: one program or transfer at a time on all of them."""

    def __init__(
        self,
        env: simpy.Environment,
        name: str,
        memory: DramSpec,
        spec: PimSpec,
        interface: Link | None,
        *,
        skip: bool = True,
    ) -> None:
        self.env = env
        self.name = name
        self.channels = memory.channels
        self.peak_bytes_per_ns = memory.channel_peak_bytes_per_ns * memory.channels
        self.config = config_of(spec)
        self.read_bytes = 0
        self.write_bytes = 0
        self._interface = interface  # programs move their operands and results over it
        self._channels = channels_of(self.config, skip=skip)
        self._lanes = [_Lane(self._channels.idle(), memory.channels)]
        self._parts: dict[int, tuple[dict[str, int], dict[str, int]]] = {}  # by identity
        self._plain: dict[tuple[int, int, bool], ChannelProgram] = {}
        self._free_ps = 0
        self._busy_ps = 0

    @property
    def banks_bytes_per_ns(self) -> float:
        """As many banks multiplying as can at once, one column after the other; 0 if none can."""
        mac, config = mac_of(self.config), self.config
        if mac is None:
            return 0.0
        burst_bytes = self.channels * len(config.touched(mac)) * config.burst_bytes
        return burst_bytes / (config.cadence_ck(mac) * config.tick_ps / 1000.0)

    def run(self, program: PimProgram) -> simpy.Event:
        """Event that succeeds with a `ProgramServed` when all channels have finished."""
        served = self.serve(program, int(self.env.now))
        return self.env.timeout(served.end_ps - int(self.env.now), served)

    def serve(self, program: PimProgram, now_ps: int) -> ProgramServed:
        """Run a program that is handed over at `now_ps`."""
        if self._interface is not None:
            self._interface.moved_bytes += program.in_bytes + program.out_bytes
        return self._run(program.channels, program.first_row, now_ps)

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Plain bursts, spread over the channels; succeeds with a `Served`."""
        now_ps = int(self.env.now)
        served = self.carry(address, size_bytes, now_ps, is_write=is_write)
        return self.env.timeout(served.end_ps - now_ps, served)

    def carry(self, address: int, size_bytes: int, now_ps: int, *, is_write: bool) -> Served:
        """Move plain bursts from `now_ps` on."""
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
        key = (address, size_bytes, is_write)
        if key not in self._plain:
            macros = self._plain_macros(address, size_bytes, is_write=is_write)
            self._plain[key] = ChannelProgram(macros=macros, channels=self.channels, is_plain=True)
        served = self._run((self._plain[key],), 0, now_ps)
        return Served(served.start_ps, served.end_ps, served.parts_ps["refresh"])

    def start(self, transfers: Sequence[Transfer], now_ps: int) -> Moved:
        """Move plain bursts from `now_ps` on, one transfer after the other."""
        served = [
            self.carry(t.address, t.size_bytes, now_ps, is_write=t.is_write) for t in transfers
        ]
        return Moved(served)

    def _plain_macros(self, address: int, size_bytes: int, *, is_write: bool) -> NDArray[np.int64]:
        """Bursts of one channel."""
        stripe = self.channels * self.config.burst_bytes
        first = address // stripe
        last = max(first + 1, -(-(address + size_bytes) // stripe))
        return plain_macros(self.config, first, last, is_write=is_write)

    def finish(self) -> None:
        """Let refresh go on to the end of the run."""
        now_ck = self._ticks(int(self.env.now))
        for lane in self._lanes:
            if lane.now_ck < now_ck:
                self._run_lane(lane, _NOTHING, 0, now_ck)

    def counts(self) -> dict[str, int]:
        """Commands of all channels."""
        return self._channels.totals().counts

    def row_results(self) -> tuple[int, int]:
        """(hits, all column commands) of all channels; a MAC on all banks is one."""
        totals = self._channels.totals()
        return totals.row_hits, totals.row_hits + totals.row_misses

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item; the external interface is the link's."""
        totals, all_ns = self._channels.totals(), elapsed_ns * self.channels
        open_ns = totals.open_ck * self.config.tick_ps / 1000.0
        return energy_pj(totals.counts, all_ns, min(open_ns, all_ns), self.config)

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind."""
        energies = dict(zip(self.config.names, self.config.energy_pj, strict=True))
        return {name: count * energies[name] for name, count in self.counts().items()}

    def busy_ps(self) -> int:
        """Time with a program or a transfer under way."""
        return self._busy_ps

    def skipped(self) -> tuple[int, int]:
        """(commands that repeated what was known, all commands) of all channels."""
        totals = self._channels.totals()
        return totals.skipped, sum(totals.counts.values())

    def _ticks(self, time_ps: int) -> int:
        return -(-time_ps // self.config.tick_ps)

    def _run(
        self, groups: tuple[ChannelProgram, ...], first_row: int, now_ps: int
    ) -> ProgramServed:
        """Run a program on every group of channels; they start together and all must end."""
        tick_ps = self.config.tick_ps
        start_ck = self._ticks(max(self._free_ps, now_ps))
        last_ck, parts_ck = start_ck, _NO_PARTS
        for lane, program in self._assign(groups):
            outcome = self._run_lane(lane, program, first_row, start_ck)
            if lane.now_ck > last_ck:
                last_ck, parts_ck = lane.now_ck, outcome.parts_ck
        self._merge()
        start_ps, self._free_ps = start_ck * tick_ps, last_ck * tick_ps
        self._busy_ps += self._free_ps - start_ps
        return ProgramServed(start_ps, self._free_ps, self._in_ps(parts_ck))

    def _in_ps(self, parts_ck: dict[str, int]) -> dict[str, int]:
        """Parts in ps; those of an outcome that comes again are the same object."""
        known = self._parts.get(id(parts_ck))
        if known is None or known[0] is not parts_ck:
            known = parts_ck, {part: ck * self.config.tick_ps for part, ck in parts_ck.items()}
            if len(self._parts) < MOST_OUTCOMES:
                self._parts[id(parts_ck)] = known
        return known[1]

    def _run_lane(
        self, lane: _Lane, program: ChannelProgram, first_row: int, start_ck: int
    ) -> Outcome:
        gap_ck = max(0, start_ck - lane.now_ck)
        lane.state, outcome = self._channels.run(
            lane.state, program, first_row, gap_ck, lane.channels
        )
        lane.now_ck += outcome.ticks
        return outcome

    def _assign(self, groups: tuple[ChannelProgram, ...]) -> list[tuple[_Lane, ChannelProgram]]:
        """Lanes to groups, in order; the first channels always take the first group."""
        if len(groups) == len(self._lanes) == 1 and groups[0].channels == self.channels:
            return [(self._lanes[0], groups[0])]
        free, lanes, pairs = list(self._lanes), [], []
        for program in groups:
            wanted = program.channels
            while wanted:
                lane = free.pop(0)
                if lane.channels > wanted:
                    free.insert(0, replace(lane, channels=lane.channels - wanted))
                    lane = replace(lane, channels=wanted)
                wanted -= lane.channels
                lanes.append(lane)
                pairs.append((lane, program))
        self._lanes = lanes + free
        return pairs

    def _merge(self) -> None:
        """Neighbours that have come to the same state go on together."""
        if len(self._lanes) == 1:
            return
        merged = self._lanes[:1]
        for lane in self._lanes[1:]:
            if lane.now_ck == merged[-1].now_ck and lane.state == merged[-1].state:
                merged[-1].channels += lane.channels
            else:
                merged.append(lane)
        self._lanes = merged
