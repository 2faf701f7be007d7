"""Replays requests through one or several channels, command by command."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.chunk import Chunk, words_of
from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.losses import BusTime, Window, bus_time, bus_time_inside, num_buses
from bankwidth.devices.dram.policies import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.errors import SimulationError, SpecError

__all__ = ["Replay", "Sink", "replay", "words_of"]

LOG_CHUNK: Final = 4096  # commands that the engine notes before they are fetched
ALL_DONE, STUCK, NEED_MORE = 1, 3, 4  # what the engine returns
Sink = Callable[[NDArray[np.int64]], None]  # takes commands, see `Replay.commands`
Progress = Callable[[int], None]  # takes the number of requests accepted so far


def _nothing() -> NDArray[np.int64]:
    return np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a replay counted. Ticks are the engine's; `record` is empty unless asked for."""

    cycles: int  # tick of the last completion: data read back, or write issued
    last_accept_ck: int
    last_command_ck: int
    num_cmds: int
    cmd_hash: str | None  # None when commands were added as whole periods
    counts: dict[str, int]
    row_hits: int
    row_misses: int
    row_conflicts: int
    forwarded: int
    coalesced: int
    reads: int  # accepted, forwarded ones included
    writes: int  # accepted, coalesced ones included
    read_latency_sum_ck: int
    reads_served: int
    bus_time: BusTime  # of all data buses, from tick 0 to the end
    bus_time_inside: BusTime | None = None  # the same inside the window asked for
    skipped_requests: int = 0
    sum_accept_ck: int | None = None  # None when requests were skipped
    sum_done_ck: int | None = None
    record: NDArray[np.int64] = field(default_factory=_nothing)  # [request, accepted and done]
    commands: NDArray[np.int64] = field(default_factory=_nothing)
    # [command, tick id levels... row column type arrival]

    @property
    def avg_read_latency_ck(self) -> float:
        """Mean ticks from arrival to data, over the reads that reached the device."""
        return self.read_latency_sum_ck / self.reads_served if self.reads_served else 0.0


def replay(
    config: DramConfig,
    requests: NDArray[np.int64] | Iterable[Chunk],
    *,
    scheduler: str = Scheduler.FRFCFS,
    row_policy: str = RowPolicy.OPEN,
    refresh: str = Refresh.ALL_BANK,
    mapper: str = Mapper.RO_BA_RA_CO_CH,
    rate: int = 1,
    gap: int = 1,
    channels: int = 1,
    window: Window | None = None,
    stops_after_window: bool = False,
    with_record: bool = False,
    with_commands: bool = False,
    with_hash: bool = True,
    sinks: Sequence[Sink] = (),
    progress: Progress | None = None,
) -> Replay:
    """Offers the requests in order, up to `rate` after every `gap`-th tick, until all are done.

    `requests` are words (see `words_of`), or an iterator of chunks of them; a record is kept of an
    array only. Of several channels the lowest address bits above the burst pick one. `sinks` take
    the commands as they come, in order; `with_commands` collects them. The time of the data buses
    is also given for a `window` of ticks; with `stops_after_window` the rest is not replayed, and
    all else that is counted is of no use. Raises SpecError for settings that cannot be.
    """
    from bankwidth.devices.dram import kernel as k

    _check(rate, gap, channels, k.DONE_MAX // 2)
    collected: list[NDArray[np.int64]] = []
    takers = [*sinks, collected.append] if with_commands else [*sinks]
    states = _states(
        config,
        channels,
        log_max=LOG_CHUNK if takers or stops_after_window else 0,
        scheduler=scheduler,
        row_policy=row_policy,
        refresh=refresh,
        mapper=mapper,
    )
    states[:, k.HASHING], states[:, k.NUM_STREAMS] = int(with_hash), -1
    states[:, k.SEEN_FROM], states[:, k.SEEN_TO] = window or (0, 0)
    feed = _Feed(config, states, requests, rate=rate, gap=gap, with_record=with_record)
    while feed.run() != ALL_DONE:
        _drain(states, takers)
        if stops_after_window and window and _is_past(states, num_buses(config), window[1]):
            break
        if progress is not None:
            progress(int(feed.progress[k.NUM_ACCEPTED]))
    _drain(states, takers)
    commands = np.concatenate(collected) if collected else _nothing()
    return _result(config, states, feed, window, with_hash=with_hash, commands=commands)


def _check(rate: int, gap: int, channels: int, most: int) -> None:
    if channels < 1 or channels & (channels - 1):
        raise SpecError(f"channels: {channels} is no power of two")
    if rate < 1 or rate > most or gap < 1:
        raise SpecError(f"rate must be 1 to {most} and gap at least 1, found {rate} and {gap}")


def _states(
    config: DramConfig, channels: int, *, log_max: int, **policies: str
) -> NDArray[np.int64]:
    """One row of state per channel."""
    from bankwidth.devices.dram.pack import pack
    from bankwidth.devices.dram.policies import controls_of

    controls = controls_of(**policies)
    packed = [pack(config, controls, channel=i, log_max=log_max) for i in range(channels)]
    return np.stack(packed)


class _Feed:
    """The requests at hand, and how far the engine is with them."""

    def __init__(
        self,
        config: DramConfig,
        states: NDArray[np.int64],
        requests: NDArray[np.int64] | Iterable[Chunk],
        *,
        rate: int,
        gap: int,
        with_record: bool,
    ) -> None:
        from bankwidth.devices.dram import kernel as k
        from bankwidth.devices.dram.pack import log2

        self._name, self._states = config.name, states
        self.progress = np.zeros(k.PROGRESS_WORDS, dtype=np.int64)
        self.progress[k.REPLAY_HASH] = states[0, k.HASH]
        self.progress[k.SENDS], self.progress[k.SEND_GAP] = rate, gap
        self.progress[k.CHANNEL_BITS] = log2(len(states))
        self.progress[k.CHANNEL_SHIFT] = log2(config.burst_bytes)
        self.progress[k.STATE_WORDS], self.progress[k.HAS_RECORD] = (
            states.shape[1],
            int(with_record),
        )
        self._words = self._due = np.zeros(0, dtype=np.int64)
        self._chunks: Iterator[Chunk] = iter(())
        if isinstance(requests, np.ndarray):
            self._take(requests, None)
        else:
            self._chunks = iter(requests)
            self.progress[k.HAS_MORE] = 1
        kept = len(self._words) if with_record else 0
        self.record = np.zeros((kept, 2), dtype=np.int64)

    def run(self) -> int:
        """Goes on until the log is full, requests are short or all is done; the engine's status."""
        from bankwidth.devices.dram import kernel as k

        status = int(
            k.replay(
                self._states.reshape(-1),
                self._words,
                self._due,
                self.progress,
                self.record.reshape(-1),
            )
        )
        if status == STUCK:
            raise SimulationError(f"{self._name}: stuck at tick {self.progress[k.AT_CLK]}")
        if status == NEED_MORE:
            self._fetch()
        return status

    def _fetch(self) -> None:
        """Appends the next chunk to what is left of this one."""
        from bankwidth.devices.dram import kernel as k

        chunk = next(self._chunks, None)
        if chunk is None:
            self.progress[k.HAS_MORE] = 0
            return
        left = slice(int(self.progress[k.AT_REQUEST]), None)
        due = None
        if chunk.due_ck is not None:
            due = np.concatenate([self._due[left], chunk.due_ck])
        self._take(np.concatenate([self._words[left], chunk.words]), due)

    def _take(self, words: NDArray[np.int64], due: NDArray[np.int64] | None) -> None:
        from bankwidth.devices.dram import kernel as k

        self._words = words
        self._due = np.zeros(0, dtype=np.int64) if due is None else due
        self.progress[k.AT_REQUEST], self.progress[k.NUM_REQUESTS] = 0, len(words)
        self.progress[k.HAS_DUE] = int(due is not None)


def _is_past(states: NDArray[np.int64], buses: int, tick: int) -> bool:
    """Whether every data bus has been used after a tick, so that all before it is explained."""
    from bankwidth.devices.dram import kernel as k

    return bool((states[:, k.BUS_LAST_AT : k.BUS_LAST_AT + buses] > tick).all())


def _drain(states: NDArray[np.int64], sinks: Sequence[Sink]) -> None:
    """Hands the commands out of the channels' logs on, in the order of ticks and channels."""
    from bankwidth.devices.dram import kernel as k

    rows = []
    for channel in states:
        length = int(channel[k.NUM_LOG])
        log = channel[k.LOG_AT : k.LOG_AT + length * k.LOG_WORDS]
        rows.append(log.reshape(length, k.LOG_WORDS).copy())
    states[:, k.NUM_LOG] = 0
    merged = np.concatenate(rows)
    if len(merged):
        merged = merged[np.argsort(merged[:, 0], kind="stable")]
        for sink in sinks:
            sink(merged)


def _result(
    config: DramConfig,
    states: NDArray[np.int64],
    feed: _Feed,
    window: Window | None,
    *,
    with_hash: bool,
    commands: NDArray[np.int64],
) -> Replay:
    from bankwidth.devices.dram import kernel as k

    progress = feed.progress
    hashed = f"{int(progress[k.REPLAY_HASH]) & ((1 << 64) - 1):016x}"
    channels = list(states)
    counted = result_of(config, channels, cycles=int(progress[k.LAST_DONE]))
    end = counted.bus_time.window[1]
    inside = bus_time_inside(channels, num_buses(config), end, window) if window else None
    return dataclasses.replace(
        counted,
        bus_time_inside=inside,
        last_accept_ck=int(progress[k.LAST_ACCEPT]),
        cmd_hash=hashed if with_hash else None,
        sum_accept_ck=int(progress[k.SUM_ACCEPT]),
        sum_done_ck=int(progress[k.SUM_DONE]),
        record=feed.record,
        commands=commands,
    )


def result_of(config: DramConfig, channels: Sequence[NDArray[np.int64]], *, cycles: int) -> Replay:
    """What the states of channels have counted when all requests are done at tick `cycles`."""
    from bankwidth.devices.dram import kernel as k

    total = np.sum([m[k.N0 : k.COUNTERS_END] for m in channels], axis=0)

    def counted(word: int) -> int:
        return int(total[word - k.N0])

    counts = {
        name: counted(k.COUNT_AT + command) if command < k.COMMANDS else 0
        for command, name in zip(config.commands, config.command_names, strict=True)
    }
    end = max(cycles, *(int(m[k.BUS_LAST_AT : k.BUS_LAST_AT + k.BUSES].max()) for m in channels))
    return Replay(
        cycles=cycles,
        last_accept_ck=max(int(m[k.LAST_SENT]) for m in channels),
        last_command_ck=max(int(m[k.LAST_COMMAND]) for m in channels),
        num_cmds=counted(k.NUM_COMMANDS),
        cmd_hash=None,
        counts=counts,
        row_hits=counted(k.HITS),
        row_misses=counted(k.MISSES),
        row_conflicts=counted(k.CONFLICTS),
        forwarded=counted(k.FORWARDED),
        coalesced=counted(k.COALESCED),
        reads=counted(k.READS_IN),
        writes=counted(k.WRITES_IN),
        read_latency_sum_ck=counted(k.READ_LATENCY_SUM),
        reads_served=counts["RD"] + counts.get("RDA", 0),
        bus_time=bus_time(channels, num_buses(config), end),
        skipped_requests=counted(k.SKIPPED),
    )
