"""Drives as a memory: plain transfers over their host ports, programs of the engines in them.

Equal drives share all bytes evenly, so one is simulated and stands for all. Transfers contend
inside it. On the event loop it runs ahead as a DRAM channel does (`system/ahead.py`); where no loop
is needed it is told of all work in the order of time. A drive that nothing is left in has no phase
of any kind: what reads and programs take on it is then remembered by what they ask for.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import simpy

from bankwidth.devices.csd.program import CsdProgram, PageWrite
from bankwidth.devices.nand.config import config_of
from bankwidth.devices.nand.drive import Drive, Snapshot
from bankwidth.devices.nand.energy import energy_pj
from bankwidth.devices.nand.work import Sink, Stream, Writes
from bankwidth.mapping.plan import Transfer
from bankwidth.spec.csd import CsdSpec
from bankwidth.spec.ssd import SsdSpec
from bankwidth.system.ahead import Ahead
from bankwidth.system.link import Path
from bankwidth.system.memory import ProgramServed
from bankwidth.system.record import Served
from bankwidth.system.scattered import Done, ScatteredReads
from bankwidth.system.told_drive import ToldDrive, UnderWay
from bankwidth.units import ns_to_ps

Process: TypeAlias = Generator[simpy.Event, Any, Any]

_NO_PARTS: Final = dict.fromkeys(("load", "compute", "drain", "modes", "rows", "refresh"), 0)
WRITES_PER_PLANE = 2  # pages in the background: one is programmed while the next comes in

# Counts that are commands of the flash or requests, with the energy that goes with them.
COMMANDS: Final[Mapping[str, str | None]] = {
    "read": None, "read_multi_plane": None, "program": None, "program_multi_plane": None,
    "erase": "erase", "gc_read": None, "gc_program": None, "retry": None, "suspend": None,
    "pages_read": "read", "pages_programmed": "program", "host_reads": None, "host_writes": None,
}  # fmt: skip


class SsdMemory(Ahead):
    """Equal drives; `engine` computes in each of them."""

    def __init__(
        self,
        env: simpy.Environment,
        name: str,
        spec: SsdSpec,
        engine: CsdSpec | None = None,
        *,
        skip: bool = True,
    ) -> None:
        super().__init__(env)
        self.name = name
        self.drives = spec.drives
        self.channels = spec.drives * spec.channels
        self.access = spec.access
        self.config = config_of(spec)
        self.peak_bytes_per_ns = spec.drives * _peak_bytes_per_ns(spec)
        self.read_bytes = 0
        self.write_bytes = 0
        software_ps = self.config.nvme_latency_ps + ns_to_ps(spec.access.software_time_ns)
        self.drive = Drive(
            replace(self.config, nvme_latency_ps=software_ps),
            skip=skip,
            compute_lanes=engine.gemv.units if engine else 1,
            then_lanes=engine.softmax.units if engine else 1,
        )
        self.told = ToldDrive(self.drive, remembers=skip)
        self._pieces = ScatteredReads(self.config, spec.access)
        # what is written in the background, and jobs that wait for it: one after the other
        self._writer = simpy.Resource(env, capacity=1)
        self._written_ps = 0  # without the event loop: when it is all in flash
        self._ways: Mapping[str, Path] = {}  # by engine
        self._passed: dict[str, int] = {"pcie_bytes": 0, "dram_bytes": 0}  # of programs

    # ---- plain transfers
    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last request is done."""
        stream = self._stream(address, size_bytes, is_write)
        return self.join(partial(self.drive.add, stream))

    def scattered(self, transfer: Transfer) -> simpy.Event:
        """Event that succeeds with a `Served` when pieces at places of their own are read."""
        served = self._scatter(transfer, int(self.env.now))
        return self.env.timeout(served.end_ps - served.start_ps, served)

    def _scatter(self, transfer: Transfer, now_ps: int) -> Served:
        """Remembered as work on an idle drive is; nothing else should be under way."""
        self.read_bytes += transfer.size_bytes
        size_bytes = -(-transfer.size_bytes // self.drives)
        return self._pieces.serve(transfer.address, size_bytes, transfer.chunk_bytes, now_ps)

    def start(self, transfers: Sequence[Transfer], now_ps: int) -> UnderWay | Done:
        """Begin transfers at `now_ps`, without the event loop."""
        if all([t.chunk_bytes for t in transfers]):
            return Done([self._scatter(t, now_ps) for t in transfers])
        works = [self._stream(t.address, t.size_bytes, t.is_write) for t in transfers]
        return self.told.begin(tuple(works), max(now_ps, self._written_ps))

    def _stream(self, address: int, size_bytes: int, is_write: bool) -> Stream:
        """One drive's part; what runs over its end lies before it instead."""
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
        size = max(1, -(-size_bytes // self.drives))
        first = min(address // self.drives, max(0, self.config.capacity_bytes - size))
        return Stream(
            first_byte=first,
            size_bytes=min(size, self.config.capacity_bytes),
            is_write=is_write,
            sink=Sink.HOST,
            block_bytes=self.access.block_bytes,
            queue_depth=self.access.queue_depth,
        )

    # ---- programs of the engines in the drives
    def connect(self, ways: Mapping[str, Path]) -> None:
        """The links between each engine of the machine and the drives."""
        self._ways = ways

    def serve(self, program: CsdProgram, now_ps: int) -> ProgramServed:
        """A program that is handed over at `now_ps`, without the event loop."""
        arrived_ps = self._passes_down(program, now_ps)
        if program.job is None:
            self._write_behind(self._written(program.writes), arrived_ps)
        if program.posted:
            return ProgramServed(now_ps, now_ps, _NO_PARTS)
        begun_ps = done_ps = arrived_ps + program.start_ps
        if program.job is not None:
            begun_ps = max(begun_ps, self._written_ps)
            done_ps = self.told.begin((program.job,), begun_ps).wait()[0].end_ps
            self._write_behind(self._flushed(program.writes), done_ps)
        else:
            done_ps += program.compute_ps
        return self._program_served(program, now_ps, begun_ps, done_ps)

    def _write_behind(self, writes: Sequence[Writes], from_ps: int) -> None:
        """Pages in the background, one piece after the other; jobs wait until they are in flash."""
        for each in writes:
            start_ps = max(from_ps, self._written_ps)
            self._written_ps = self.told.begin((each,), start_ps).wait()[0].end_ps

    def run(self, program: CsdProgram) -> simpy.Event:
        """Event that succeeds with a `ProgramServed` when a program has ended."""
        return self.env.process(self._run_program(program))

    def _run_program(self, program: CsdProgram) -> Process:
        now_ps = int(self.env.now)
        arrived_ps = self._passes_down(program, now_ps)
        if program.writes and program.job is None:
            self.env.process(self._write(self._written(program.writes), arrived_ps))
        if program.posted:
            return ProgramServed(now_ps, now_ps, _NO_PARTS)
        begun_ps = arrived_ps + program.start_ps
        yield self.env.timeout(begun_ps - now_ps)
        if program.job is not None:
            with self._writer.request() as turn:
                yield turn
                begun_ps = int(self.env.now)
                yield self.join(partial(self.drive.add, program.job))
            self.env.process(self._write(self._flushed(program.writes), int(self.env.now)))
        else:
            yield self.env.timeout(program.compute_ps)
        served = self._program_served(program, now_ps, begun_ps, int(self.env.now))
        yield self.env.timeout(served.end_ps - int(self.env.now))
        return served

    def _write(self, writes: Sequence[Writes], from_ps: int) -> Process:
        """Pages in the background, behind all that were to be written before."""
        yield self.env.timeout(from_ps - int(self.env.now))
        with self._writer.request() as turn:
            yield turn
            for each in writes:
                yield self.join(partial(self.drive.add, each))

    def _passes_down(self, program: CsdProgram, now_ps: int) -> int:
        """When what a program needs has come."""
        self._passed["dram_bytes"] += program.buffer_bytes
        return self._passes(program.down_bytes, program.peer, now_ps)

    def _passes(self, size_bytes: int, peer: str, now_ps: int) -> int:
        """When bytes have passed the links and the ports of all drives, one way or the other."""
        if not size_bytes:
            return now_ps
        each = -(-size_bytes // self.drives)
        self._passed["pcie_bytes"] += self.config.pcie_bytes(each)
        way = self._ways[peer]
        passed_ps = way.send(size_bytes, now_ps)
        return max(passed_ps, now_ps + self.config.pcie_ps(each)) + way.latency_ps

    def _program_served(
        self, program: CsdProgram, now_ps: int, begun_ps: int, done_ps: int
    ) -> ProgramServed:
        """With the results on their way from `done_ps` on."""
        end_ps = self._passes(program.up_bytes, program.peer, done_ps)
        parts = {"load": begun_ps - now_ps, "compute": done_ps - begun_ps}
        return ProgramServed(now_ps, end_ps, _NO_PARTS | parts | {"drain": end_ps - done_ps})

    def _flushed(self, writes: Sequence[PageWrite]) -> tuple[Writes, ...]:
        """Full pages from the buffer, behind the job: a drive reads first.

        They are appended to open blocks, one behind the other over all dies, whichever heads
        they are of.
        """
        pages = sum(each.total_pages for each in writes)
        if not pages:
            return ()
        window = WRITES_PER_PLANE * self.config.dies * self.config.planes
        return (
            Writes(
                base_page=writes[0].first_page,
                pages=1,
                groups=pages,
                group_stride_pages=1,
                window=window,
            ),
        )

    def _written(self, writes: Sequence[PageWrite]) -> tuple[Writes, ...]:
        """Pages that one drive programs."""
        most = WRITES_PER_PLANE * self.config.dies * self.config.planes
        return tuple(
            Writes(
                base_page=each.first_page,
                pages=each.pages,
                groups=each.groups,
                group_stride_pages=each.group_stride_pages,
                window=max(1, most // each.pages),
            )
            for each in writes
            if each.total_pages
        )

    # ---- what it all came to
    def finish(self) -> None:
        """Bring the drive to the end of the run; what is still to be written then is not."""
        self.told.finish(max(int(self.env.now), self.drive.now_ps))

    def counts(self) -> dict[str, int]:
        """Commands of all drives, and pages."""
        one = self._counts()
        return {name: one[name] * self.drives for name in COMMANDS}

    def row_results(self) -> tuple[int, int]:
        """Flash has no open rows."""
        return 0, 0

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all drives by item."""
        one = energy_pj(self._counts(), ns_to_ps(elapsed_ns), self.config)
        return {item: pj * self.drives for item, pj in one.items()}

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of the array operations; that of moving bytes is no command's."""
        items = self.energy_pj(0.0)
        return {name: items[item] for name, item in COMMANDS.items() if item is not None}

    def busy_ps(self) -> int:
        """Time with work from outside under way, in one drive."""
        return self.told.busy_ps() + self._pieces.busy_ps

    def skipped(self) -> tuple[int, int]:
        """Pages of work that was remembered or repeated itself, of all pages, of one drive."""
        names = ("pages_read", "pages_programmed")
        known = sum(self.told.remembered(name) for name in names)
        return known + self.drive.skipped_pages, sum(self._counts()[name] for name in names)

    def _counts(self) -> dict[str, int]:
        """Of one drive: simulated, remembered, and moved by programs."""
        counts = self.told.counts()
        for name, n in (*self._passed.items(), *self._pieces.counts.items()):
            counts[name] += n
        return counts

    # ---- the device
    def now_ticks(self) -> int:
        """The drive's clock, in ps."""
        return self.drive.now_ps

    def ticks(self, time_ps: int) -> int:
        """The drive's ticks are picoseconds."""
        return time_ps

    def time_ps(self, ticks: int) -> int:
        """The drive's ticks are picoseconds."""
        return ticks

    def advance(self, until: int) -> list[int]:
        """Go on to a time or to the first end."""
        return self.drive.advance(until)

    def snapshot(self) -> Snapshot:
        """The drive's state."""
        return self.drive.snapshot()

    def restore(self, saved: Any) -> None:
        """Back to the last snapshot."""
        self.drive.restore(saved)


def _peak_bytes_per_ns(spec: SsdSpec) -> float:
    """Of one drive, to the host: its link or the buses of its channels."""
    link = spec.host.lanes * spec.host.rate_per_lane_bytes_per_ns
    return min(link, spec.channels * spec.channel_peak_bytes_per_ns)
