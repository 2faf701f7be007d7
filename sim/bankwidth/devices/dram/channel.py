"""One DRAM channel that serves affine streams: the readable face of the engine."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Final

from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.energy import energy_pj
from bankwidth.devices.dram.losses import BusTime, bus_time, num_buses
from bankwidth.devices.dram.mapping import UNMASKED
from bankwidth.devices.dram.policies import (
    Mapper,
    Refresh,
    RowPolicy,
    Scheduler,
    controls_of,
)
from bankwidth.errors import SimulationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DUE_ONE: Final = 65536  # the engine's fixed-point tick of arrivals
MAX_STREAMS: Final = 32  # of one channel at a time
STUCK: Final = 3  # what the engine returns when nothing can move


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one burst each, at bursts `base + i*s0 + j*s1 + k*s2` of a channel, i innermost.

    Requests follow each other no faster than every `interval_ck` ticks. One that `runs_on` may go
    past the last row: its rows count on, as those of a larger device would.
    """

    base_burst: int
    counts: tuple[int, int, int]
    strides: tuple[int, int, int] = (1, 0, 0)
    is_write: bool = False
    interval_ck: float = 0.0
    runs_on: bool = False

    @property
    def num_requests(self) -> int:
        """Bursts that the stream moves."""
        return self.counts[0] * self.counts[1] * self.counts[2]

    def reach(self) -> tuple[int, int]:
        """Lowest and highest burst address."""
        spans = [(n - 1) * stride for n, stride in zip(self.counts, self.strides, strict=True)]
        low = self.base_burst + sum(min(0, span) for span in spans)
        return low, self.base_burst + sum(max(0, span) for span in spans)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The state of a channel at one tick; opaque to everyone else."""

    state: NDArray[np.int64]
    slots: dict[int, int]
    completions: dict[int, int]
    next_id: int


class DramChannel:
    """Streams arrive with `add`; time passes with `advance`. Times are in ticks of the device."""

    def __init__(
        self,
        config: DramConfig,
        *,
        scheduler: str = Scheduler.FRFCFS,
        row_policy: str = RowPolicy.OPEN,
        refresh: str = Refresh.ALL_BANK,
        mapper: str = Mapper.RO_BA_RA_CO_CH,
        rate: int = 1,
        gap: int = 1,
        skip: bool = True,
    ) -> None:
        """Up to `rate` requests enter after every `gap`-th tick."""
        from bankwidth.devices.dram import kernel as k
        from bankwidth.devices.dram.pack import pack

        self.config = config
        self.is_skipping = skip
        controls = controls_of(
            scheduler=scheduler, row_policy=row_policy, refresh=refresh, mapper=mapper
        )
        self._m: NDArray[np.int64] = pack(config, controls)
        self._m[k.RATE], self._m[k.OFFER_GAP] = rate, gap
        self._memo, self._entry_words = self._new_memo()
        self._slots: dict[int, int] = {}  # running stream -> slot
        self._completions: dict[int, int] = {}
        self._next_id = 0

    def _new_memo(self) -> tuple[NDArray[np.int64], int]:
        """Room for the states at which the engine looks for repetition; only touched if needed."""
        import numpy as np

        from bankwidth.devices.dram import kernel as k

        if not self.is_skipping:
            return np.zeros(0, dtype=np.int64), 0
        self._m[k.SKIPPING] = 1
        words = k.ENTRY_FORM_AT + k.form_max(int(self._m[k.NUM_BANKS]), int(self._m[k.NUM_GROUPS]))
        return np.empty((k.ENTRIES + 1) * words, dtype=np.int64), words

    # ------------------------------------------------------------------ time
    @property
    def now_ck(self) -> int:
        """The tick that has been simulated last."""
        from bankwidth.devices.dram import kernel as k

        return int(self._m[k.CLK])

    def add(self, stream: Stream) -> int:
        """A stream arrives now; returns its id. Raises SimulationError when it cannot be served."""
        self._check(stream)
        slot = next(i for i in range(MAX_STREAMS) if i not in self._slots.values())
        self._write_stream(slot, stream)
        identity = self._next_id
        self._next_id += 1
        self._slots[identity] = slot
        self._forget()
        return identity

    def advance(self, until_ck: int) -> list[int]:
        """Runs to `until_ck` or the first completion, whichever is first; the streams then done."""
        from bankwidth.devices.dram import kernel as k

        if until_ck < self.now_ck:
            raise SimulationError(f"cannot go back from tick {self.now_ck} to {until_ck}")
        self._run(until_ck)
        done = [identity for identity, slot in self._slots.items() if self._is_done(slot)]
        for identity in done:
            slot = self._slots.pop(identity)
            at = k.STREAM_AT + slot * k.STREAM_WORDS
            self._completions[identity] = int(self._m[at + k.ST_DONE_AT])
            self._m[at : at + k.STREAM_WORDS] = 0
            openers = self._m[k.OPENER_AT : k.OPENER_AT + k.BANKS]
            openers[openers == slot] = -1
        if done:
            self._set_num_streams()
            self._forget()
        return done

    def snapshot(self) -> Snapshot:
        """The whole state, to come back to with `restore`."""
        return Snapshot(self._m.copy(), dict(self._slots), dict(self._completions), self._next_id)

    def restore(self, saved: Snapshot) -> None:
        """Back to a snapshot of this channel, as if nothing had happened since."""
        self._m[:] = saved.state
        self._slots, self._completions = dict(saved.slots), dict(saved.completions)
        self._next_id = saved.next_id
        self._forget()  # the memo has gone on since

    def completion_ck(self, stream_id: int) -> int:
        """Tick at which a stream was done: last data read back, or last write issued."""
        return self._completions[stream_id]

    def _run(self, until_ck: int) -> None:
        from bankwidth.devices.dram import kernel as k

        if k.advance(self._m, self._memo, self._entry_words, until_ck) == STUCK:
            raise SimulationError(f"{self.config.name}: stuck at tick {self.now_ck}")

    def _forget(self) -> None:
        """Other streams, other states: what was seen will not come again."""
        from bankwidth.devices.dram import kernel as k

        self._m[[k.NUM_ENTRIES, k.ANCHOR_AGE]] = 0
        self._m[k.ANCHOR_TERM] = 1

    def _check(self, stream: Stream) -> None:
        if len(self._slots) == MAX_STREAMS:
            raise SimulationError(f"{self.config.name}: more than {MAX_STREAMS} streams at a time")
        bursts = self.config.capacity_bytes // self.config.burst_bytes
        low, high = stream.reach()
        if min(stream.counts) < 1 or stream.interval_ck < 0:
            raise SimulationError(f"{self.config.name}: {stream} has no requests or a negative gap")
        if low < 0 or (high >= bursts and not stream.runs_on):
            raise SimulationError(
                f"{self.config.name}: bursts {low} to {high} of a channel that has {bursts}"
            )

    def _write_stream(self, slot: int, stream: Stream) -> None:
        from bankwidth.devices.dram import kernel as k

        words = [0] * k.STREAM_WORDS
        words[k.ST_STATE] = k.ST_RUNNING
        words[k.ST_ADDRESS] = words[k.ST_BASE] = stream.base_burst
        words[k.ST_WRITE] = int(stream.is_write)
        words[k.ST_INTERVAL] = round(stream.interval_ck * DUE_ONE)
        words[k.ST_DUE] = self.now_ck * DUE_ONE
        words[k.ST_TOTAL] = stream.num_requests
        words[k.ST_C0], words[k.ST_C1], words[k.ST_C2] = stream.counts
        words[k.ST_S0], words[k.ST_S1], words[k.ST_S2] = stream.strides
        words[k.ST_DIM], words[k.ST_UNIT] = self._repetition(stream)
        if stream.runs_on:
            self._m[k.ROW_MASK] = UNMASKED
        at = k.STREAM_AT + slot * k.STREAM_WORDS
        self._m[at : at + k.STREAM_WORDS] = words
        self._m[k.NUM_STREAMS] = max(int(self._m[k.NUM_STREAMS]), slot + 1)

    def _repetition(self, stream: Stream) -> tuple[int, int]:
        """The dimension in which a stream comes to the same place of another row, and how often.

        Returns the innermost one that does so at least twice (-1: none does), and the requests that
        lie between two such places.
        """
        from bankwidth.devices.dram import kernel as k

        row_bursts = 1 << int(self._m[k.STRIDE_SHIFT])
        inner = 1
        for dim, (count, stride) in enumerate(zip(stream.counts, stream.strides, strict=True)):
            steps = row_bursts // gcd(row_bursts, stride)
            if count >= 2 * steps:
                return dim, steps * inner
            inner *= count
        return -1, stream.num_requests

    def _is_done(self, slot: int) -> bool:
        from bankwidth.devices.dram import kernel as k

        at = k.STREAM_AT + slot * k.STREAM_WORDS
        words = self._m[at : at + k.STREAM_WORDS]
        all_served = words[k.ST_DONE] == words[k.ST_TOTAL]
        return bool(all_served and words[k.ST_DONE_AT] <= self.now_ck)

    def _set_num_streams(self) -> None:
        from bankwidth.devices.dram import kernel as k

        highest = max(self._slots.values(), default=-1) + 1
        self._m[k.NUM_STREAMS] = highest
        if self._m[k.TURN] >= highest:
            self._m[k.TURN] = 0
        self._m[k.FIRST_END] = min(map(self._end_ck, self._slots.values()), default=k.FOREVER)

    def _end_ck(self, slot: int) -> int:
        """Tick at which a stream ends; for ever off as long as it is not known."""
        from bankwidth.devices.dram import kernel as k

        at = k.STREAM_AT + slot * k.STREAM_WORDS
        words = self._m[at : at + k.STREAM_WORDS]
        return int(words[k.ST_DONE_AT]) if words[k.ST_DONE] == words[k.ST_TOTAL] else k.FOREVER

    # ------------------------------------------------------------------ counters
    def _word(self, name: str) -> int:
        from bankwidth.devices.dram import kernel as k

        return int(self._m[getattr(k, name)])

    @property
    def counts(self) -> dict[str, int]:
        """Commands issued, by the standard's names."""
        from bankwidth.devices.dram import kernel as k

        pairs = zip(self.config.commands, self.config.command_names, strict=True)
        return {
            name: int(self._m[k.COUNT_AT + command])
            for command, name in pairs
            if command < k.COMMANDS
        }

    @property
    def row_hits(self) -> int:
        """Requests that found their row open."""
        return self._word("HITS")

    @property
    def row_misses(self) -> int:
        """Requests that found their bank closed."""
        return self._word("MISSES")

    @property
    def row_conflicts(self) -> int:
        """Requests that found another row open."""
        return self._word("CONFLICTS")

    @property
    def read_bytes(self) -> int:
        """Bytes of the reads accepted, forwarded ones included."""
        return self._word("READS_IN") * self.config.burst_bytes

    @property
    def requests_in(self) -> int:
        """Requests accepted."""
        return self._word("READS_IN") + self._word("WRITES_IN")

    @property
    def write_bytes(self) -> int:
        """Bytes of the writes accepted, coalesced ones included."""
        return self._word("WRITES_IN") * self.config.burst_bytes

    @property
    def refresh_blocked_ck(self) -> int:
        """Ticks in which requests were inside while a refresh waited or ran."""
        return self._word("REFRESH_BLOCKED")

    @property
    def busy_ck(self) -> int:
        """Ticks with a request inside: queued, activated, or its data on the way back."""
        return self._word("BUSY")

    @property
    def last_accept_ck(self) -> int:
        """Tick at which a request entered last."""
        return self._word("LAST_SENT")

    def bus_time(self) -> BusTime:
        """Where the time of the data buses went until now; all requests must be done."""
        return bus_time([self._m], num_buses(self.config), self.now_ck)

    @property
    def state(self) -> NDArray[np.int64]:
        """The engine's words, for those who count."""
        return self._m

    @property
    def skipped_requests(self) -> int:
        """Requests that were added as whole periods instead of one by one."""
        return self._word("SKIPPED")

    def energy_pj(self) -> dict[str, float]:
        """Energy so far, by what caused it."""
        elapsed_ns = self.now_ck * self.config.tick_ps / 1000
        return energy_pj(self.counts, elapsed_ns, self.config)
