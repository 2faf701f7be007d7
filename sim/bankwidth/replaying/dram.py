"""`replay_device(device, source)`: raw requests into one memory device, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from bankwidth.devices.dram.bank_states import BankHistory
from bankwidth.devices.dram.checker import Violation, first_violation
from bankwidth.devices.dram.chunk import Chunk
from bankwidth.devices.dram.command_file import command_writer, read_commands
from bankwidth.devices.dram.config import DramConfig, config_of
from bankwidth.devices.dram.energy import energy_pj
from bankwidth.devices.dram.losses import BusTime
from bankwidth.devices.dram.patterns import (
    Pattern,
    chunks,
    replay_stream,
    stream_of,
)
from bankwidth.devices.dram.policies import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.errors import SpecError
from bankwidth.kernel_cache import prepare
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

if TYPE_CHECKING:
    from bankwidth.devices.dram.replay import Replay, Sink
    from bankwidth.results import Table

Source = Pattern | str | Path | BinaryIO  # a pattern, or a file of requests ("-": standard input)
Progress = Callable[[int, int], None]  # requests so far, and of all (0: not known)
# Patterns up to this length run command by command, so that the hash of all commands is known.
HASHED_REQUESTS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How the controller works, and how requests are offered to it."""

    mapper: str = Mapper.RO_BA_RA_CO_CH
    refresh: str = Refresh.ALL_BANK
    scheduler: str = Scheduler.FRFCFS
    row_policy: str = RowPolicy.OPEN
    rate: int = 1
    gap: int = 1
    channels: int = 1

    def policies(self) -> dict[str, str]:
        """The choices of the controller, by name."""
        names = ("scheduler", "row_policy", "refresh", "mapper")
        return {name: str(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A replay on a device: what it counted, and of a window what each bank did."""

    spec: DramSpec
    config: DramConfig
    options: ReplayOptions
    result: Replay
    window_ns: tuple[float, float] | None = None
    inside: BusTime | None = None  # the data buses in the window
    banks: Table | None = field(default=None, repr=False)  # the banks in the window

    @property
    def time_ns(self) -> float:
        """From tick 0 until everything was done."""
        return self.result.bus_time.window[1] * self.config.tick_ps / 1000

    def energy_by_component_pj(self) -> dict[str, float]:
        """Energy of all channels by what caused it."""
        busy_ns = self.time_ns * self.options.channels
        return energy_pj(self.result.counts, busy_ns, self.config)

    def bandwidth(self, time: BusTime) -> dict[str, Any]:
        """Peak, what was lost of it by cause, and what is left, all in bytes per ns."""
        peak = self.config.peak_bytes_per_ns * self.options.channels
        per_tick = peak / time.total_ticks if time.total_ticks else 0.0
        return {
            "bandwidth_bytes_per_ns": time.data_ticks * per_tick,
            "peak_bytes_per_ns": peak if time.total_ticks else 0.0,
            "lost": {name: ticks * per_tick for name, ticks in time.lost_ticks.items()},
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data; `window` is None unless one was asked for."""
        result, by_component = self.result, self.energy_by_component_pj()
        return {
            "device": self.spec.name,
            "title": self.spec.title,
            "standard": self.spec.standard,
            "requests": result.reads + result.writes,
            "reads": result.reads,
            "writes": result.writes,
            "cycles": result.cycles,
            "tick_ps": self.config.tick_ps,
            "time_ns": self.time_ns,
            "last_accept_ck": result.last_accept_ck,
            "last_command_ck": result.last_command_ck,
            "num_cmds": result.num_cmds,
            "cmd_hash": result.cmd_hash,
            "counts": result.counts,
            "row_hits": result.row_hits,
            "row_misses": result.row_misses,
            "row_conflicts": result.row_conflicts,
            "forwarded": result.forwarded,
            "coalesced": result.coalesced,
            "avg_read_latency_ck": result.avg_read_latency_ck,
            **self.bandwidth(result.bus_time),
            "energy_pj": sum(by_component.values()),
            "energy_by_component_pj": by_component,
            "skipped_requests": result.skipped_requests,
            "options": {key: _plain(value) for key, value in asdict(self.options).items()},
            "window": self._window_json(),
        }

    def _window_json(self) -> dict[str, Any] | None:
        if self.window_ns is None or self.inside is None:
            return None
        return {"window_ns": list(self.window_ns), **self.bandwidth(self.inside)}


def _plain(value: object) -> object:
    return value if isinstance(value, int) else str(value)


def load_dram(device: str | Path) -> DramSpec:
    """A DRAM device by name or path. Raises SpecError for any other kind of device."""
    spec = load_device(device)
    if not isinstance(spec, DramSpec):
        raise SpecError(f"{device}: is a {spec.kind} device; replay takes dram devices")
    return spec


def replay_device(
    device: str | Path,
    source: Source,
    options: ReplayOptions | None = None,
    *,
    skip: bool = True,
    sink: Sink | None = None,
    window_ns: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Replays a pattern or a request file on a DRAM device.

    A long affine pattern is skipped through (equal to `skip=False`, but for the hash of the
    commands, which is then None). `sink` takes all commands as they come. Raises SpecError or
    TraceError for wrong input.
    """
    prepare()
    spec, options = load_dram(device), options or ReplayOptions()
    config = config_of(spec)
    job = _Job(config, source, options, progress)
    sinks = [] if sink is None else [sink]
    skipped = job.skipped() if skip and not sinks else None
    if window_ns is None:
        result = skipped or job.walked(sinks)
        return Replayed(spec=spec, config=config, options=options, result=result)
    window = _window(config, window_ns)
    history = BankHistory(config, *window, channels=options.channels)
    walked = job.walked([*sinks, history.add], window, stop=skipped is not None)
    return Replayed(
        spec=spec,
        config=config,
        options=options,
        result=skipped or walked,
        window_ns=window_ns,
        inside=walked.bus_time_inside,
        banks=history.slices(),
    )


def _window(config: DramConfig, window_ns: tuple[float, float]) -> tuple[int, int]:
    """In ticks."""
    start, end = (round(time * 1000 / config.tick_ps) for time in window_ns)
    return start, end


@dataclass(frozen=True, slots=True)
class _Job:
    """Requests for one device, in whichever way they are replayed."""

    config: DramConfig
    source: Source
    options: ReplayOptions
    progress: Progress | None

    def skipped(self) -> Replay | None:
        """All of a long affine pattern at once; None where that is not possible."""
        source, options = self.source, self.options
        if not isinstance(source, Pattern) or source.count <= HASHED_REQUESTS:
            return None
        stream = stream_of(source, self.config, options.mapper) if options.channels == 1 else None
        if stream is None:
            return None
        rates = {"rate": options.rate, "gap": options.gap}
        return replay_stream(self.config, stream, **options.policies(), **rates)

    def walked(
        self, sinks: list[Sink], window: tuple[int, int] | None = None, *, stop: bool = False
    ) -> Replay:
        """Command by command; with `stop` no further than the window."""
        from bankwidth.devices.dram.replay import replay

        return replay(
            self.config,
            self._chunks(),
            **asdict(self.options),
            window=window,
            stops_after_window=stop,
            sinks=sinks,
            progress=self._report if self.progress else None,
        )

    def _chunks(self) -> Iterable[Chunk]:
        from bankwidth.devices.dram.request_file import read_requests

        if isinstance(self.source, Pattern):
            return chunks(self.source, self.config, channels=self.options.channels)
        return read_requests(self.source, self.config, channels=self.options.channels)

    def _report(self, done: int) -> None:
        if self.progress is not None:
            self.progress(done, self.source.count if isinstance(self.source, Pattern) else 0)


def check_commands(path: str | Path, device: str | Path, refresh: str) -> Violation | None:
    """The first command of a file that breaks a rule of a DRAM device; None if there is none.

    `refresh` is the policy that the commands should follow. Raises SpecError or TraceError for
    wrong input.
    """
    config = config_of(load_dram(device))
    return first_violation(read_commands(path, config), config, refresh=refresh)


@contextmanager
def command_sink(path: Path | None, device: str | Path, *, force: bool) -> Iterator[Sink | None]:
    """A sink that writes a command file; None without a path."""
    if path is None:
        yield None
        return
    with command_writer(path, config_of(load_dram(device)), force=force) as sink:
        yield sink
