"""Memory for tables of single operators: each transfer takes what its stream takes alone.

A table of thousands of operators asks for thousands of transfer sizes, each on a memory that was
idle before. The command-exact channel is run once per direction for sizes on a geometric grid;
sizes in between are interpolated, longer ones go on at the rate of the last octave. What that
leaves out is the phase of the refresh relative to the transfer, which a measured kernel does not
know either.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

import simpy

from bankwidth.devices.dram import DramChannel, config_of, energy_pj
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import DramSpec
from bankwidth.system.memory import (
    FOREVER_CK,
    MAPPER,
    Moved,
    command_energies,
    rounds_of,
    sequential,
)
from bankwidth.system.record import Served

GRID_PER_OCTAVE = 4
LARGEST_BURSTS = 2**17


class StreamCurve:
    """Ticks, commands and refresh ticks of a lone sequential stream, by its length in bursts."""

    def __init__(self, spec: DramSpec, *, is_write: bool) -> None:
        config = config_of(spec)
        self._lengths = _grid()
        self._ticks: list[float] = []
        self._refresh: list[float] = []
        self._counts: list[dict[str, int]] = []
        rounds = rounds_of(DramChannel(config, mapper=MAPPER, skip=False))
        for length in self._lengths:
            channel = DramChannel(config, mapper=MAPPER, skip=False)
            channel.add(sequential(config, 0, length, is_write))
            rounds.advance(channel, FOREVER_CK)
            self._ticks.append(channel.now_ck)
            self._refresh.append(channel.refresh_blocked_ck)
            self._counts.append(channel.counts)

    def ticks(self, bursts: int) -> float:
        """Ticks from the first request to the last completion."""
        return self._between(self._ticks, bursts)

    def refresh_ticks(self, bursts: int) -> float:
        """Ticks of these in which refresh held requests up."""
        return self._between(self._refresh, bursts)

    def counts(self, bursts: int) -> dict[str, float]:
        """Commands issued."""
        names = self._counts[-1]
        return {n: self._between([float(c[n]) for c in self._counts], bursts) for n in names}

    def _between(self, values: list[float], bursts: int) -> float:
        right = bisect.bisect_left(self._lengths, bursts)
        if right < len(self._lengths) and self._lengths[right] == bursts:
            return values[right]
        # Beyond the grid the last octave's rate goes on: it spans many refresh intervals.
        left = right - 1 if right < len(self._lengths) else right - 1 - GRID_PER_OCTAVE
        right = min(right, len(self._lengths) - 1)
        x0, x1 = self._lengths[left], self._lengths[right]
        return values[left] + (values[right] - values[left]) * (bursts - x0) / (x1 - x0)


def _grid() -> list[int]:
    exponents = range(GRID_PER_OCTAVE * LARGEST_BURSTS.bit_length())
    sizes = {round(2 ** (e / GRID_PER_OCTAVE)) for e in exponents}
    return sorted(size for size in sizes if size <= LARGEST_BURSTS)


_curves: dict[tuple[str, bool], StreamCurve] = {}


def curve_of(spec: DramSpec, *, is_write: bool) -> StreamCurve:
    """The curve of a described memory, computed once per process: it depends on nothing else."""
    key = (spec.model_dump_json(exclude={"channels", "capacity_bytes"}), is_write)
    if key not in _curves:
        _curves[key] = StreamCurve(spec, is_write=is_write)
    return _curves[key]


class CurveMemory:
    """Transfers one after the other; those of one direction without a pause are one stream."""

    def __init__(self, env: simpy.Environment, name: str, spec: DramSpec) -> None:
        self.env = env
        self.name = name
        self.config = config_of(spec)
        self.channels = spec.channels
        self.peak_bytes_per_ns = spec.channel_peak_bytes_per_ns * spec.channels
        self.read_bytes = 0
        self.write_bytes = 0
        self._spec = spec
        self._free_ps = 0
        self._busy_ps = 0
        self._counts: dict[str, float] = {}
        self._run_bursts = {False: 0, True: 0}  # by direction, since the memory was idle

    def transfer(self, address: int, size_bytes: int, *, is_write: bool) -> simpy.Event:
        """Event that succeeds with a `Served` when the last burst is done."""
        now_ps = int(self.env.now)
        served = self._carry(size_bytes, now_ps, is_write=is_write)
        return self.env.timeout(served.end_ps - now_ps, served)

    def start(self, transfers: Sequence[Transfer], now_ps: int) -> Moved:
        """Move transfers from `now_ps` on, one after the other."""
        return Moved([self._carry(t.size_bytes, now_ps, is_write=t.is_write) for t in transfers])

    def _carry(self, size_bytes: int, now_ps: int, *, is_write: bool) -> Served:
        curve = curve_of(self._spec, is_write=is_write)
        bursts = self._bursts(size_bytes)
        start_ps = max(self._free_ps, now_ps)
        if start_ps > self._free_ps:
            self._run_bursts = {False: 0, True: 0}
        before = self._run_bursts[is_write]
        self._run_bursts[is_write] = before + bursts
        duration_ps = self._between_ps(curve.ticks, before, before + bursts)
        refresh_ps = self._between_ps(curve.refresh_ticks, before, before + bursts)
        self._free_ps = start_ps + duration_ps
        self._busy_ps += duration_ps
        self._count(curve.counts(bursts), size_bytes, is_write)
        return Served(start_ps, self._free_ps, refresh_ps)

    def _bursts(self, size_bytes: int) -> int:
        """Bursts of one channel; the channels share every transfer evenly."""
        return max(1, -(-size_bytes // (self.channels * self.config.burst_bytes)))

    def _between_ps(self, ticks: Callable[[int], float], first: int, last: int) -> int:
        """Time from burst `first` of a stream to burst `last`; 0 is the idle memory."""
        start = ticks(first) if first else 0.0
        return round(ticks(last) * self.config.tick_ps) - round(start * self.config.tick_ps)

    def finish(self) -> None:
        """Counts are up to date after each transfer."""

    def counts(self) -> dict[str, int]:
        """Commands of all channels, rounded."""
        return {name: round(n * self.channels) for name, n in self._counts.items()}

    def row_results(self) -> tuple[int, int]:
        """(hits, all column accesses): a lone stream misses once per activate."""
        counts = self.counts()
        columns = sum(n for name, n in counts.items() if name in ("RD", "WR", "RDA", "WRA"))
        opened = sum(n for name, n in counts.items() if name in ("ACT", "ACT1"))
        return max(0, columns - opened), columns

    def energy_pj(self, elapsed_ns: float) -> dict[str, float]:
        """Energy of all channels by item."""
        one = {name: round(n) for name, n in self._counts.items()}
        items = energy_pj(one, elapsed_ns, self.config)
        return {item: pj * self.channels for item, pj in items.items()}

    def command_energy_pj(self) -> dict[str, float]:
        """Energy of all commands of each kind."""
        return command_energies(self.counts(), self.energy_pj(0.0))

    def busy_ps(self) -> int:
        """Time with work inside."""
        return self._busy_ps

    def skipped(self) -> tuple[int, int]:
        """Nothing is skipped here."""
        return 0, 0

    def _count(self, counts: dict[str, float], size_bytes: int, is_write: bool) -> None:
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0.0) + count
        if is_write:
            self.write_bytes += size_bytes
        else:
            self.read_bytes += size_bytes
