"""What transfers take on an idle memory: simulated once, command by command, and remembered.

A set of transfers that starts at one instant is run on a channel without refresh, from closed rows
or from rows that others left open; refreshes are added where they fall due, by arithmetic. Sets
that come with ever new lengths (a growing KV cache) are simulated for the first lengths; further
ones take what the stream of that length takes from the start of a row on, and what the last one
simulated took more or less than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bankwidth.devices.dram import DramChannel, DramConfig, config_of
from bankwidth.devices.dram.policies import Refresh
from bankwidth.spec import DramSpec
from bankwidth.system.memory import FOREVER_CK, MAPPER, sequential

Burst: TypeAlias = tuple[int, int, bool]  # first burst of a channel, bursts, whether it is a write
Set: TypeAlias = tuple[Burst, ...]

LENGTHS = 32  # of sets at one place that are simulated; beyond them lengths are interpolated
GRID_PER_OCTAVE = 4
# Where in its row a stream starts changes its time by less than a row in each bank takes: streams
# are alike that start in the same eighth; in sets as long as this it makes less than 0.5 %.
POSITIONS = 8
LONG_BURSTS = 2**15
MEASURED_BURSTS = 2**17  # of the stream that meets refreshes, to see what each costs
MEASURED_INTERVALS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Ticks at which each transfer of a set ends, and what one channel did for it."""

    ends_ck: tuple[float, ...]
    counts: Mapping[str, float]
    row_hits: float
    row_results: float  # hits, misses and conflicts


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshCost:
    """What refreshes do to a stream: every `interval_ck` ticks it stands still for `lost_ck`.

    One that comes while a refresh runs waits for the rest of `held_ck`. A stream that goes on
    behind a refresh issues `counts` more than without; idle or not, `per_interval` are issued.
    """

    interval_ck: int
    held_ck: int
    lost_ck: float
    counts: Mapping[str, float]
    per_interval: Mapping[str, float]

    def met(self, into_ck: float, work_ck: float) -> tuple[float, int]:
        """Ticks that refreshes add to work, and how many interrupt it.

        It starts `into_ck` after a refresh was due.
        """
        held_ck = max(0.0, self.held_ck - into_ck)
        left_ck = work_ck - (self.interval_ck - into_ck - held_ck)
        between_ck = self.interval_ck - self.lost_ck
        met = 0 if left_ck <= 0 else int(-(-left_ck // between_ck))
        return held_ck + met * self.lost_ck, met


class IdleChannel:
    """Outcomes of sets of transfers on one channel of a described memory, by themselves."""

    def __init__(self, spec: DramSpec) -> None:
        self.config = config_of(spec)
        self._channel = DramChannel(self.config, mapper=MAPPER, refresh=Refresh.NONE)
        self._row_bursts = _row_bursts(self._channel)
        self._closed = self._channel.snapshot()
        self._sweep()
        self._opened = self._channel.snapshot()
        self.simulated_bursts = 0
        self._known: dict[tuple[Set, bool], Outcome] = {}
        self._lengths: dict[tuple[Set, bool], dict[Set, Outcome]] = {}  # by place
        self.refresh = refresh_cost(self.config)

    def outcome(self, streams: Set, *, opened: bool) -> Outcome:
        """What a set takes from closed rows, or from rows that others left open."""
        known = self._known.get((streams, opened))
        if known is None:
            known = self._known[streams, opened] = self._new(streams, opened)
        return known

    def _new(self, streams: Set, opened: bool) -> Outcome:
        place = tuple([(self._position(each, streams), 0, each[2]) for each in streams])
        lengths = self._lengths.setdefault((place, opened), {})
        same = tuple((0, bursts, is_write) for _, bursts, is_write in streams)
        if same not in lengths:
            if len(lengths) >= LENGTHS and len(streams) == 1:
                return self._interpolated(streams[0], lengths, opened)
            lengths[same] = self._simulated(streams, opened)
        return lengths[same]

    def _position(self, stream: Burst, streams: Set) -> int:
        """The part of a row, counted over all banks, that a stream starts in, if that matters."""
        first, bursts, _ = stream
        total = sum([bursts for _, bursts, _ in streams])
        if total >= LONG_BURSTS or bursts * POSITIONS < total:
            return 0
        return first % self._row_bursts * POSITIONS // self._row_bursts

    def _simulated(self, streams: Set, opened: bool) -> Outcome:
        channel = self._channel
        channel.restore(self._opened if opened else self._closed)
        start_ck, before = channel.now_ck, channel.counts
        rows = self._rows()
        ids = [channel.add(sequential(self.config, *stream)) for stream in streams]
        left = len(ids)
        while left:
            left -= len(channel.advance(FOREVER_CK))
        self.simulated_bursts += sum(bursts for _, bursts, _ in streams)
        hits, results = (now - then for now, then in zip(self._rows(), rows, strict=True))
        return Outcome(
            ends_ck=tuple(channel.completion_ck(i) - start_ck for i in ids),
            counts={name: n - before[name] for name, n in channel.counts.items()},
            row_hits=hits,
            row_results=results,
        )

    def _interpolated(self, stream: Burst, lengths: dict[Set, Outcome], opened: bool) -> Outcome:
        """By the lengths of a grid, from the start of a row on; corrected at this place."""
        _, bursts, is_write = stream
        last: Burst = next(reversed(lengths))[0]
        there, here = self._on_grid(bursts, is_write, opened), lengths[last,]
        usual = self._on_grid(last[1], is_write, opened)
        ends_ck = there.ends_ck[0] + here.ends_ck[0] - usual.ends_ck[0]
        return Outcome(
            ends_ck=(max(1.0, ends_ck),),
            counts=there.counts,
            row_hits=there.row_hits,
            row_results=there.row_results,
        )

    def _on_grid(self, bursts: int, is_write: bool, opened: bool) -> Outcome:
        shorter, longer = _neighbours(bursts)
        low, high = (self._at_row_start(length, is_write, opened) for length in (shorter, longer))
        share = (bursts - shorter) / (longer - shorter)
        return Outcome(
            ends_ck=(_between(low.ends_ck[0], high.ends_ck[0], share),),
            counts={n: _between(low.counts[n], high.counts[n], share) for n in low.counts},
            row_hits=_between(low.row_hits, high.row_hits, share),
            row_results=_between(low.row_results, high.row_results, share),
        )

    def _at_row_start(self, bursts: int, is_write: bool, opened: bool) -> Outcome:
        key = ((-1, bursts, is_write),), opened  # beside those with an address
        if key not in self._known:
            self._known[key] = self._simulated(((0, bursts, is_write),), opened)
        return self._known[key]

    def _rows(self) -> tuple[int, int]:
        channel = self._channel
        hits = channel.row_hits
        return hits, hits + channel.row_misses + channel.row_conflicts

    def _sweep(self) -> None:
        """Open a row in every bank, far from where sets lie, and let the channel come to rest."""
        config = self.config
        bursts = config.capacity_bytes // config.burst_bytes
        self._channel.add(sequential(config, bursts - self._row_bursts, self._row_bursts, False))
        self._channel.advance(FOREVER_CK)
        self._channel.advance(self._channel.now_ck + config.times["refi"])


def _row_bursts(channel: DramChannel) -> int:
    """Bursts of one row in every bank."""
    from bankwidth.devices.dram import kernel as k

    return 1 << int(channel.state[k.STRIDE_SHIFT])


def _neighbours(bursts: int) -> tuple[int, int]:
    """The grid's lengths below (or at) and above a length."""
    octave = bursts.bit_length() - 1
    step = max(1, 2**octave // GRID_PER_OCTAVE)
    shorter = bursts // step * step
    return shorter, shorter + step


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def refresh_cost(config: DramConfig) -> RefreshCost:
    """From a long stream with refreshes and without, and from a channel that does nothing else."""
    with_refresh = DramChannel(config, mapper=MAPPER)
    without = DramChannel(config, mapper=MAPPER, refresh=Refresh.NONE)
    bursts = min(MEASURED_BURSTS, config.capacity_bytes // config.burst_bytes)
    for channel in (with_refresh, without):
        channel.add(sequential(config, 0, bursts, False))
        channel.advance(FOREVER_CK)
    idle = DramChannel(config, mapper=MAPPER)
    interval_ck = config.times["refi"]
    idle.advance((MEASURED_INTERVALS + 1) * interval_ck - 1)
    per_interval = {name: n / MEASURED_INTERVALS for name, n in idle.counts.items()}
    met = max(1, with_refresh.now_ck // interval_ck)
    more = {name: n - without.counts[name] for name, n in with_refresh.counts.items()}
    return RefreshCost(
        interval_ck=interval_ck,
        held_ck=config.times["rfc"],
        lost_ck=(with_refresh.now_ck - without.now_ck) / met,
        counts={name: n / met - per_interval[name] for name, n in more.items()},
        per_interval=per_interval,
    )
