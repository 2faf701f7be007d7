"""`replay_drive(device, source)`: raw requests into one drive, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np

from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.devices.nand.patterns import DrivePattern, requests_of
from bankwidth.devices.nand.request_file import read_requests
from bankwidth.devices.nand.requests import Requests
from bankwidth.devices.nand.trace_file import write_trace
from bankwidth.errors import SimulationError, SpecError
from bankwidth.kernel_cache import prepare
from bankwidth.replaying import drive_summary as summary
from bankwidth.replaying.drive_timeline import Trace, timeline_of
from bankwidth.results import Table
from bankwidth.spec import load_device
from bankwidth.spec.ssd import SsdSpec

if TYPE_CHECKING:
    from bankwidth.devices.nand.drive import DriveRun

DriveSource = DrivePattern | str | Path | BinaryIO  # a file of requests may be "-": standard input
Progress = Callable[[int, int], None]  # requests done, and of all
QUEUE_DEPTH: Final = 32  # unless told
_AT_LEAST: Final = 64  # requests that are run again for the picture of a window


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDrive:
    """A replay on a drive: what each request took, and what each resource was busy with."""

    spec: SsdSpec
    config: DriveConfig
    source: DriveSource
    requests: Requests
    queue_depth: int | None  # None: requests came at their arrivals
    run: DriveRun
    window_ns: tuple[float, float] | None = None
    timeline: Table | None = None  # what every resource did in the window

    @property
    def time_ns(self) -> float:
        """From time 0 until everything was done."""
        return self.run.end_ps / 1000

    def resources(self) -> Table:
        """Busy time of every bus, die, decoder, core and link direction.

        Shares are of the time until the dies have written all that the buffer took, too.
        """
        return summary.resource_table(self.run.busy_ps, self.run.settled_ps, self.config.cores)

    def latencies(self) -> Table:
        """What share of the reads, and of the writes, took no longer than what."""
        return summary.latency_table(summary.split(self.run.latency_ps, self.requests.is_write))

    def tables(self) -> dict[str, Table]:
        """By name: resources, latencies, and the timeline of the window if there is one."""
        found = {"resources": self.resources(), "latencies": self.latencies()}
        return found if self.timeline is None else found | {"timeline": self.timeline}

    def write_trace(self, path: Path, *, force: bool = False) -> None:
        """Write the events of a replay with `with_trace` as CSV. Raises OutputError."""
        from bankwidth.devices.nand.kernel_state import TRACE_KINDS

        write_trace(_trace_of(self.run), TRACE_KINDS, path, force=force)

    def to_json(self) -> dict[str, Any]:
        """Plain data; `window_ns` is None unless a window was asked for."""
        run, by_component = self.run, self.run.energy_pj()
        used = summary.utilisation(self.resources())
        busiest, share = summary.busiest(used)
        sides = summary.split(run.latency_ps, self.requests.is_write)
        stages = summary.stages_ns(run.waits_ps, run.counts, sides.get("read"))
        return {
            "device": self.spec.name,
            "title": self.spec.title,
            "kind": self.spec.kind,
            "capacity_bytes": self.config.capacity_bytes,
            **self._throughput(),
            "latency": {name: summary.latency(values) for name, values in sides.items()},
            "utilisation": used,
            "bound": summary.bound(used, stages, is_open=self.queue_depth is None),
            "busiest": busiest,
            "busiest_utilisation": share,
            "read_stages_ns": stages,
            **self._inside(),
            "energy_pj": math.fsum(by_component.values()),
            "energy_by_component_pj": by_component,
            "options": self._options(),
            "window_ns": None if self.window_ns is None else list(self.window_ns),
        }

    def _throughput(self) -> dict[str, Any]:
        """Requests and bytes, in all and per time, of both directions together and of each."""
        is_write, size_bytes = self.requests.is_write, self.requests.size_bytes
        sides = {"": np.ones_like(is_write), "read_": ~is_write, "write_": is_write}
        end_ps = self.run.end_ps
        moved = {side: int(size_bytes[which].sum()) for side, which in sides.items()}
        number = {side: int(which.sum()) for side, which in sides.items()}
        per_ns = {side: summary.per_ns(size, end_ps) for side, size in moved.items()}
        return {
            "requests": number[""],
            "reads": number["read_"],
            "writes": number["write_"],
            "read_bytes": moved["read_"],
            "write_bytes": moved["write_"],
            "time_ns": self.time_ns,
            "settled_ns": self.run.settled_ps / 1000,
            **{f"{side}iops": summary.per_second(each, end_ps) for side, each in number.items()},
            **{f"{side}bandwidth_bytes_per_ns": each for side, each in per_ns.items()},
        }

    def _inside(self) -> dict[str, Any]:
        """What the drive did to serve the requests."""
        run = self.run
        has_written = run.counts["host_pages_written"] > 0
        return {
            "counts": run.counts,
            "write_amplification": run.write_amplification if has_written else None,
            "wear": {
                "erases": run.erases,
                "most_erases_of_a_block": run.most_erases,
                "endurance_cycles": self.config.endurance,
            },
        }

    def _options(self) -> dict[str, Any]:
        source = self.source
        if not isinstance(source, DrivePattern):
            return {"queue_depth": self.queue_depth, "requests": "file"}
        pattern = {key: value for key, value in asdict(source).items() if value is not None}
        return {"queue_depth": self.queue_depth} | pattern | {"kind": str(source.kind)}


def _trace_of(run: DriveRun) -> Trace:
    if run.trace is None:
        raise SimulationError("no events were kept: replay with_trace=True")
    return run.trace


def load_drive(device: str | Path) -> SsdSpec:
    """A drive by name or path. Raises SpecError for any other kind of device."""
    spec = load_device(device)
    if not isinstance(spec, SsdSpec):
        raise SpecError(f"{device}: is a {spec.kind} device, need a drive (kind: ssd)")
    return spec


def replay_drive(
    device: str | Path,
    source: DriveSource,
    queue_depth: int | None = None,
    *,
    skip: bool = True,
    with_trace: bool = False,
    window_ns: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> ReplayedDrive:
    """Replays a pattern or a request file on one drive.

    Requests of a file that have arrivals come at those; all others as soon as fewer than
    `queue_depth` (32 unless given) are under way. `with_trace` keeps every event of the drive in
    `run.trace`. Raises SpecError or TraceError for wrong input.
    """
    prepare()
    spec = load_drive(device)
    config = config_of(spec)
    requests = _requests(source, config)
    job = _Job(config, requests, _queue_depth(requests, queue_depth), skip, progress)
    _check_window(window_ns)
    run = job.run(with_trace=with_trace)
    if window_ns is not None:
        window_ns = _window(window_ns, run.end_ps / 1000)
    return ReplayedDrive(
        spec=spec,
        config=config,
        source=source,
        requests=requests,
        queue_depth=job.queue_depth,
        run=run,
        window_ns=window_ns,
        timeline=None if window_ns is None else job.timeline(run, window_ns),
    )


def _requests(source: DriveSource, config: DriveConfig) -> Requests:
    if isinstance(source, DrivePattern):
        return requests_of(source, config.capacity_bytes)
    return read_requests(source, config.capacity_bytes)


def _queue_depth(requests: Requests, given: int | None) -> int | None:
    """None where requests come at their arrivals."""
    if requests.arrival_ps is not None:
        if given is not None:
            raise SpecError("--qd: the requests have arrivals, which say when each comes")
        return None
    depth = QUEUE_DEPTH if given is None else given
    if depth < 1:
        raise SpecError(f"--qd: {depth}, at least 1")
    return depth


def _check_window(window_ns: tuple[float, float] | None) -> None:
    if window_ns is not None and not 0 <= window_ns[0] < window_ns[1] < math.inf:
        raise SpecError(f"--window: {window_ns[0]:g} to {window_ns[1]:g} ns is no span of time")


def _window(window_ns: tuple[float, float], time_ns: float) -> tuple[float, float]:
    """The part of a window in which the drive was at work."""
    if window_ns[0] >= time_ns:
        raise SpecError(f"--window: from {window_ns[0]:g} ns, but all is done at {time_ns:g} ns")
    return window_ns[0], min(window_ns[1], time_ns)


@dataclass(frozen=True, slots=True)
class _Job:
    """Requests for one drive."""

    config: DriveConfig
    requests: Requests
    queue_depth: int | None
    skip: bool
    progress: Progress | None

    def run(self, *, with_trace: bool) -> DriveRun:
        """All requests."""
        return self._run(self.requests, with_trace=with_trace, progress=self.progress)

    def timeline(self, run: DriveRun, window_ns: tuple[float, float]) -> Table:
        """What every resource did in a window of the run."""
        from bankwidth.devices.nand.kernel_state import TRACE_KINDS

        traced = run if run.trace is not None else self._traced(run, round(window_ns[1] * 1000))
        return timeline_of(_trace_of(traced), TRACE_KINDS, window_ns)

    def _traced(self, run: DriveRun, until_ps: int) -> DriveRun:
        """A run that is the same as `run` until a time, with its trace: of no more requests.

        The first n requests alone fare as they did in `run` until the next one would have come.
        That is not before the last of the n came, and after that no request takes longer than the
        longest latency.
        """
        depth, total = self.queue_depth or 0, len(self.requests)
        number = depth + _AT_LEAST + round(total * min(1.0, until_ps / max(1, run.end_ps)))
        while True:
            number = min(number, total)
            found = self._run(self.requests.first(number), with_trace=True, progress=None)
            came_ps = found.end_ps - int(found.latency_ps.max())
            if number == total or came_ps >= until_ps:
                return found
            number *= 2

    def _run(self, requests: Requests, *, with_trace: bool, progress: Progress | None) -> DriveRun:
        from bankwidth.devices.nand.drive import Drive

        drive = Drive(self.config, skip=self.skip, trace=with_trace)
        return drive.replay(requests, queue_depth=self.queue_depth, progress=progress)
