"""Computing banks on the system's clock: programs and plain transfers, in order.

All channels of a memory take the same programs, but some of them a longer one (a head more, a group
of outputs more). Channels that have had the same history are simulated once; a program that treats
them differently splits them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import simpy
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PARTS, PimChannel
from bankwidth.devices.pim.config import config_of
from bankwidth.devices.pim.energy import energy_pj
from bankwidth.devices.pim.program import ChannelProgram, MacroList, PimProgram
from bankwidth.spec import DramSpec, PimSpec
from bankwidth.system.link import Link
from bankwidth.system.memory import Served

MAC = "MAC_ABK"


@dataclass(frozen=True, slots=True)
class ProgramServed:
    """When a program began and ended, and the time of its last channel by part, in ps."""

    start_ps: int
    end_ps: int
    parts_ps: dict[str, int]


@dataclass(slots=True)
class _Lane:
    """`channels` channels that have done the same so far."""

    channel: PimChannel
    channels: int

    def split(self, channels: int) -> _Lane:
        """Take `channels` of them off, with a state of their own."""
        self.channels -= channels
        return _Lane(self.channel.clone(), channels)


class PimMemory:
    """Channels of computing banks: one program or transfer at a time on all of them."""

    def __init__(
        self,
        env: simpy.Environment,
        name: str,
        memory: DramSpec,
        spec: PimSpec,
        interface: Link | None,
    ) -> None:
        self.env = env
        self.name = name
        self.channels = memory.channels
        self.peak_bytes_per_ns = memory.channel_peak_bytes_per_ns * memory.channels
        self.config = config_of(spec)
        self.read_bytes = 0
        self.write_bytes = 0
        self._interface = interface  # programs move their operands and results over it
        self._lanes = [_Lane(PimChannel(self.config), memory.channels)]
        self._free_ps = 0
        self._busy_ps = 0

    @property
    def banks_bytes_per_ns(self) -> float:
        """All banks multiplying, one column after the other."""
        mac_ck = self.config.cadence_ck(MAC)
        burst_bytes = self.channels * self.config.banks * self.config.burst_bytes
        return burst_bytes / (mac_ck * self.config.tick_ps / 1000.0)

    def run(self, program: PimProgram) -> simpy.Event:
        """Event that succeeds with a `ProgramServed` when all channels have finished."""
        if self._interface is not None:
            self._interface.moved_bytes += program.in_bytes + program.out_bytes
        served = self._run(program.channels, program.first_row)
        return self.env.timeout(served.end_ps - int(self.env.now), served)

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Plain bursts, spread over the channels; succeeds with a `Served`."""
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
        macros = self._plain_macros(address, size_bytes, is_write=is_write)
        program = ChannelProgram(macros=macros, channels=self.channels, is_plain=True)
        served = self._run((program,), 0)
        result = Served(served.start_ps, served.end_ps, served.parts_ps["refresh"])
        return self.env.timeout(served.end_ps - int(self.env.now), result)

    def _plain_macros(self, address: int, size_bytes: int, *, is_write: bool) -> NDArray[np.int64]:
        """Bursts of one channel: a row of each bank in turn, so that the next one opens meanwhile."""
        config = self.config
        stripe = self.channels * config.burst_bytes
        first = address // stripe
        last = max(first + 1, -(-(address + size_bytes) // stripe))
        macros = MacroList(config)
        command = config.plain("in" if is_write else "out")
        while first < last:
            chunk, column = divmod(first, config.columns)
            row, bank = divmod(chunk, config.banks)
            count = min(config.columns - column, last - first)
            macros.add(command, count, row % config.rows, bank)
            first += count
        return macros.build()

    def finish(self) -> None:
        """Let refresh go on to the end of the run."""
        now_ck = self._ticks(int(self.env.now))
        for lane in self._lanes:
            if lane.channel.now_ck < now_ck:
                lane.channel.advance(now_ck)

    def counts(self) -> dict[str, int]:
        """Commands of all channels."""
        totals = dict.fromkeys(self.config.names, 0)
        for lane in self._lanes:
            for name, count in lane.channel.counts.items():
                totals[name] += count * lane.channels
        return totals

    def row_results(self) -> tuple[int, int]:
        """(hits, all column commands) of all channels; a MAC on all banks is one."""
        hits = sum(lane.channel.row_hits * lane.channels for lane in self._lanes)
        misses = sum(lane.channel.row_misses * lane.channels for lane in self._lanes)
        return hits, hits + misses

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item; the external interface is the link's."""
        items: dict[str, float] = {}
        for lane in self._lanes:
            open_ns = lane.channel.open_ck * self.config.tick_ps / 1000.0
            one = energy_pj(lane.channel.counts, elapsed_ns, min(open_ns, elapsed_ns), self.config)
            for item, pj in one.items():
                items[item] = items.get(item, 0.0) + pj * lane.channels
        return items

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind."""
        energies = dict(zip(self.config.names, self.config.energy_pj, strict=True))
        return {name: count * energies[name] for name, count in self.counts().items()}

    def busy_ps(self) -> int:
        """Time with a program or a transfer under way."""
        return self._busy_ps

    def skipped(self) -> tuple[int, int]:
        """Nothing is skipped here."""
        return 0, 0

    def _ticks(self, time_ps: int) -> int:
        return math.ceil(time_ps / self.config.tick_ps)

    def _run(self, groups: tuple[ChannelProgram, ...], first_row: int) -> ProgramServed:
        """Run a program on every group of channels; they start together and all must end."""
        start_ck = self._ticks(max(self._free_ps, int(self.env.now)))
        last, parts = start_ck, dict.fromkeys(PARTS, 0)
        for lane, program in self._assign(groups):
            before = lane.channel.parts_ck
            lane.channel.start(program, first_row=first_row, at_ck=start_ck)
            lane.channel.advance(2**60)
            if lane.channel.now_ck > last:
                last = lane.channel.now_ck
                after = lane.channel.parts_ck
                parts = {part: after[part] - before[part] for part in PARTS}
        tick_ps = self.config.tick_ps
        start_ps, self._free_ps = start_ck * tick_ps, last * tick_ps
        self._busy_ps += self._free_ps - start_ps
        return ProgramServed(
            start_ps, self._free_ps, {part: ck * tick_ps for part, ck in parts.items()}
        )

    def _assign(self, groups: tuple[ChannelProgram, ...]) -> list[tuple[_Lane, ChannelProgram]]:
        """Lanes to groups, in order; the first channels always take the first group."""
        free, lanes, pairs = list(self._lanes), [], []
        for program in groups:
            wanted = program.channels
            while wanted:
                lane = free.pop(0)
                if lane.channels > wanted:
                    free.insert(0, lane)
                    lane = lane.split(wanted)
                wanted -= lane.channels
                lanes.append(lane)
                pairs.append((lane, program))
        self._lanes = lanes + free
        return pairs
