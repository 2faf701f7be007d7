"""One drive: requests of a host, streams and in-storage jobs in; times, counts and energy out.

The kernels do the work (kernel.py); here are their arrays, which grow where they must, the way back
to a snapshot, and what repeats exactly and is therefore added in one step (skip.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.nand import kernel_state as w
from bankwidth.devices.nand.arrays import fresh_state, grown, pages_of_event
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.energy import energy_pj
from bankwidth.devices.nand.requests import Requests
from bankwidth.devices.nand.skip import Skipper
from bankwidth.devices.nand.state import IN_X, REQUEST_COLUMNS, build
from bankwidth.devices.nand.work import Job, Stream, Writes, phases_of
from bankwidth.errors import SimulationError, TraceError

Ints = NDArray[np.int64]
FOREVER_PS: Final = 2**61
EVENTS_BETWEEN_REPORTS: Final = 200_000_000_000  # ps of drive time
_NO_ARRIVALS: Final = np.zeros(0, dtype=np.int64)
TRACE_DTYPE: Final = np.dtype([(name, np.int64) for name in w.TRACE])


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveRun:
    """What a drive made of requests."""

    config: DriveConfig
    end_ps: int  # the last request is done
    settled_ps: int  # nothing is under way any more, in the dies neither
    latency_ps: Ints = field(repr=False)  # one per request
    counts: dict[str, int]
    busy_ps: dict[str, Any]  # "bus", "data", "die", "ecc", "filter": lists; the others: a number
    waits_ps: dict[str, int]  # sums over all pages read, by stage
    erases: int
    most_erases: int  # of one block
    write_amplification: float
    trace: NDArray[np.void] | None = field(default=None, repr=False)

    def energy_pj(self) -> dict[str, float]:
        """Energy by item, idle power until the dies are at rest included."""
        return energy_pj(self.counts, self.settled_ps, self.config)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A drive's state at one time; of the FTL only where its log stood."""

    words: Ints = field(repr=False)
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    live: dict[int, int]


class Drive:
    """A resumable drive. Times are picoseconds from its start.

    Lists of requests, streams and jobs may be under way at once and contend. `compute_lanes` and
    `then_lanes` are the units of an in-storage engine.
    """

    def __init__(
        self,
        config: DriveConfig,
        *,
        skip: bool = True,
        trace: bool = False,
        compute_lanes: int = 1,
        then_lanes: int = 1,
    ) -> None:
        self.config = config
        self._z = fresh_state(config, compute_lanes, then_lanes, trace=trace)
        self._skipper = Skipper(config) if skip and not trace else None
        self._live: dict[int, int] = {}  # sources under way, by the number given out
        self._given = 0
        self._rows: list[Ints] = []  # of the trace, drained
        self.skipped_pages = 0

    # ---- streams and jobs
    @property
    def now_ps(self) -> int:
        """The time up to which everything has happened."""
        return int(self._z.m[w.S_NOW])

    @property
    def idle(self) -> bool:
        """Nothing is under way, in the background neither."""
        return not self._live and int(self._z.m[w.S_HEAP]) == 0

    @property
    def is_fresh(self) -> bool:
        """Every page lies at its home: what a stream or job takes does not depend on history."""
        return int(self._z.m[w.S_MAPPED]) == 0

    @property
    def counts(self) -> dict[str, int]:
        """What happened so far, by name."""
        return dict(zip(w.COUNTS, (int(n) for n in self._z.counts), strict=True))

    @property
    def busy_ps(self) -> int:
        """Time with work from outside under way."""
        s = self._z.m
        since = self.now_ps - int(s[w.S_BUSY_SINCE]) if s[w.S_OUTSTANDING] else 0
        return int(s[w.S_BUSY]) + since

    def add(self, work: Stream | Job | Writes) -> int:
        """Begin something now; its number. Raises TraceError beyond the capacity."""
        rows, source = phases_of(work, self.config)
        self._check_span(work)
        pages = int(rows[:, w.P_PAGES].sum() if source[w.Q_EAGER] else rows[:, w.P_PAGES].max())
        writes = bool(source[w.Q_WRITES]) and not source[w.Q_PLACED]
        self._need(pages_of_event(self.config, pages, writes=writes))
        at_once = 0 if source[w.Q_SINK] == w.HOST else pages
        self._room_for(int(min(source[w.Q_WINDOW], source[w.Q_GROUPS])), at_once)
        slot = self._slot()
        first = self._phases_at(rows)
        z = self._z
        z.sources[slot] = source
        z.sources[slot, w.Q_PHASE] = first
        z.sources[slot, w.Q_LIVE] = 1
        number, self._given = self._given, self._given + 1
        self._live[number] = slot
        self._start(slot)
        return number

    def advance(self, until_ps: int = FOREVER_PS) -> list[int]:
        """Go on until something added has ended, or to `until_ps`: the numbers of what ended."""
        done = self._ended()
        while not done:
            code = self._step(until_ps)
            done = self._ended()
            if code == w.REACHED:
                if until_ps >= FOREVER_PS:
                    self._z.m[w.S_NOW] = self._z.m[w.S_LAST]
                break
        return done

    def snapshot(self) -> Snapshot:
        """What `restore` returns to; an older snapshot is void from here on."""
        m = self._z.m
        m[w.S_LOGGED], m[w.S_LOG] = 1, 0
        return Snapshot(m.copy(), self._z.shapes, dict(self._live))

    def restore(self, saved: Snapshot) -> None:
        """Go back to the latest snapshot."""
        self._undo()
        if saved.shapes is not self._z.shapes:
            self._z = build(saved.shapes, self._z)
        self._z.m[:] = saved.words
        self._live = dict(saved.live)

    def _undo(self) -> None:
        z = self._z
        words = (
            z.mapped,
            z.holder,
            z.pending,
            z.stale,
            z.erases,
            z.written,
            z.free_blocks,
        )
        for which, index, old in z.log[: z.m[w.S_LOG]][::-1]:
            words[which][index] = old

    # ---- a host's requests
    def replay(
        self,
        requests: Requests,
        queue_depth: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> DriveRun:
        """All requests, `queue_depth` at once, or each at its arrival when that is None.

        Raises TraceError for a request beyond the capacity, and when a write finds neither a free
        page nor a stale one.
        """
        self._load(requests)
        total = len(requests.offset_bytes)
        source = np.zeros(w.NUM_Q, dtype=np.int64)
        source[w.Q_KIND] = w.OPEN if queue_depth is None else w.LISTED
        source[w.Q_GROUPS], source[w.Q_SINK] = total, w.HOST
        source[w.Q_WINDOW] = min(queue_depth or total, self.config.queue_depth)
        pages = int(requests.size_bytes.max()) // self.config.page_bytes + 2 if total else 1
        writes = bool(np.any(requests.is_write))
        self._need(pages_of_event(self.config, pages, writes=writes))
        self._room_for(0 if queue_depth is None else int(source[w.Q_WINDOW]), 0)
        slot = self._slot()
        self._z.sources[slot] = source
        start_ps = self.now_ps
        if total:
            self._z.sources[slot, w.Q_LIVE] = 1
            self._start(slot)
            self._drain(slot, progress)
        end_ps = int(self._z.sources[slot, w.Q_END]) if total else start_ps
        return self._run(start_ps, end_ps, total)

    def _drain(self, slot: int, progress: Callable[[int, int], None] | None) -> None:
        """Run until all requests are done, and what they left behind in the dies."""
        z, until = self._z, self.now_ps
        while True:
            until = FOREVER_PS if progress is None else until + EVENTS_BETWEEN_REPORTS
            code = self._step(until)
            z = self._z
            if progress is not None:
                progress(int(z.sources[slot, w.Q_DONE]), int(z.sources[slot, w.Q_GROUPS]))
            if code == w.REACHED and not z.m[w.S_HEAP]:
                break
        if z.sources[slot, w.Q_LIVE]:
            done, total = int(z.sources[slot, w.Q_DONE]), int(z.sources[slot, w.Q_GROUPS])
            raise SimulationError(
                f"{self.config.name}: {done} of {total} requests are done and nothing goes on"
            )
        z.m[w.S_NOW] = z.m[w.S_LAST]

    def _load(self, requests: Requests) -> None:
        offsets, sizes, writes, arrivals = (
            np.ascontiguousarray(column, dtype=np.int64)
            for column in (
                requests.offset_bytes,
                requests.size_bytes,
                requests.is_write,
                _NO_ARRIVALS if requests.arrival_ps is None else requests.arrival_ps,
            )
        )
        if len(offsets) and int((offsets + sizes).max()) > self.config.capacity_bytes:
            at = int(np.argmax(offsets + sizes > self.config.capacity_bytes))
            raise TraceError(
                f"request {at + 1}: {int(sizes[at])} bytes at {int(offsets[at])} end beyond the "
                f"drive's {self.config.capacity_bytes} bytes"
            )
        number = len(offsets)
        columns = dict.fromkeys(REQUEST_COLUMNS, (number,))
        self._z = z = build(self._z.shapes | columns, self._z)
        for name, column in zip(REQUEST_COLUMNS, (offsets, sizes, writes, arrivals), strict=False):
            base = int(z.m[IN_X[name]])
            z.x[base : base + len(column)] = column
        z.latencies[:] = 0

    def _run(self, start_ps: int, end_ps: int, total: int) -> DriveRun:
        z, counts = self._z, self.counts
        host, moved = counts["host_pages_written"], counts["gc_program"]
        return DriveRun(
            config=self.config,
            end_ps=end_ps - start_ps,
            settled_ps=self.now_ps - start_ps,
            latency_ps=z.latencies[:total].copy(),
            counts=counts,
            busy_ps=self.busy_by_resource_ps(),
            waits_ps=dict(zip(w.WAITS, (int(n) for n in z.waits), strict=True)),
            erases=counts["erase"],
            most_erases=int(z.erases.max()) if counts["erase"] else 0,
            write_amplification=(host + moved) / host if host else 1.0,
            trace=self.trace() if z.m[w.S_TRACED] else None,
        )

    def busy_by_resource_ps(self) -> dict[str, Any]:
        """Time in use: lists per channel or die, numbers for what there is one of."""
        z = self._z
        return {
            "bus": z.channels[:, w.C_BUSY].tolist(),
            "data": z.channels[:, w.C_DATA_BUSY].tolist(),
            "die": z.units[:, w.U_BUSY].tolist(),
            "ecc": z.channels[:, w.C_ECC_BUSY].tolist(),
            "filter": z.channels[:, w.C_FILTER_BUSY].tolist(),
            "pcie_up": int(z.m[w.S_UP_BUSY]),
            "pcie_down": int(z.m[w.S_DOWN_BUSY]),
            "dram": int(z.m[w.S_DRAM_BUSY]),
            "controller": int(z.m[w.S_CORE_BUSY]),
            "compute": int(z.m[w.S_COMPUTE_BUSY]),
            "then": int(z.m[w.S_THEN_BUSY]),
        }

    def trace(self) -> NDArray[np.void]:
        """Every use of a resource so far, by start; columns are kernel_state.TRACE."""
        rows = [*self._rows, self._z.trace[: self._z.m[w.S_TRACE]]]
        table = np.concatenate(rows) if rows else np.zeros((0, len(w.TRACE)), dtype=np.int64)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        out = np.zeros(len(table), dtype=TRACE_DTYPE)
        for column, name in enumerate(w.TRACE):
            out[name] = table[:, column]
        return out

    # ---- the FTL, for who wants to know
    def place_of(self, lpa: int) -> int:
        """The physical page that holds a logical one."""
        from bankwidth.devices.nand.kernel_ftl import lookup

        return int(lookup(*self._z.arrays(), lpa))

    def erases_of_blocks(self) -> NDArray[np.int32]:
        """How often each block was erased, plane by plane."""
        return self._z.erases.copy()

    # ---- within
    def _start(self, slot: int) -> None:
        from bankwidth.devices.nand.kernel import start_source

        self._z.m[w.S_CHECK_EVERY] = 0
        start_source(*self._z.arrays(), slot, self.now_ps)
        if self._skipper is not None:
            self._skipper.begin(self._z)

    def _step(self, until_ps: int) -> int:
        """Advance to what the kernel cannot do alone, and do it."""
        from bankwidth.devices.nand.kernel import advance

        code = int(advance(*self._z.arrays(), until_ps))
        if code == w.POOL_FULL:
            self._z = grown(self._z, pages=len(self._z.pages), groups=len(self._z.groups))
        elif code == w.TRACE_FULL:
            self._rows.append(self._z.trace[: self._z.m[w.S_TRACE]].copy())
            self._z.m[w.S_TRACE] = 0
        elif code == w.CHECKPOINT and self._skipper is not None:
            self.skipped_pages += self._skipper.checkpoint(self._z, until_ps)
        elif code == w.DRIVE_FULL:
            raise TraceError(
                f"{self.config.name}: a write found no free page, and no block with a stale page "
                f"to collect; the drive is full: leave it more over-provisioning"
            )
        return code

    def _ended(self) -> list[int]:
        done = [n for n, slot in self._live.items() if not self._z.sources[slot, w.Q_LIVE]]
        for number in done:
            del self._live[number]
        if done and self._live and self._skipper is not None:
            self._skipper.begin(self._z)  # what is left may be alone now
        return done

    def _slot(self) -> int:
        taken = set(self._live.values())
        slot = next((i for i in range(len(self._z.sources)) if i not in taken), None)
        if slot is None:
            slot = len(self._z.sources)
            self._z = build(self._z.shapes | {"sources": (2 * slot, w.NUM_Q)}, self._z)
        return slot

    def _phases_at(self, rows: Ints) -> int:
        """Room for the phases of a source; those of sources that have ended are given up."""
        z = self._z
        used = [
            int(z.sources[slot, w.Q_PHASE] + z.sources[slot, w.Q_PHASES])
            for slot in self._live.values()
        ]
        first = max(used, default=0)
        if first + len(rows) > len(z.phases):
            shape = {"phases": (first + len(rows) + 8, w.NUM_P)}
            self._z = z = build(z.shapes | shape, z)
        z.phases[first : first + len(rows)] = rows
        return first

    def _need(self, pages: int) -> None:
        """The most pages that one event may bring."""
        m = self._z.m
        m[w.S_NEED] = max(int(m[w.S_NEED]), pages)
        self._room_for(0, 0)

    def _room_for(self, groups: int, pages: int) -> None:
        """A window's groups set out in one step, each with so many pages."""
        m = self._z.m
        pages_short = groups * pages + int(m[w.S_NEED]) - int(m[w.S_FREE_PAGES])
        groups_short = groups + 2 - int(m[w.S_FREE_GROUPS])
        if pages_short > 0 or groups_short > 0:
            pages = max(pages_short, len(self._z.pages)) if pages_short > 0 else 0
            groups = max(groups_short, len(self._z.groups)) if groups_short > 0 else 0
            self._z = grown(self._z, pages=pages, groups=groups)

    def _check_span(self, work: Stream | Job | Writes) -> None:
        last = work.last_page(self.config)
        if last >= self.config.logical_pages:
            raise TraceError(
                f"{self.config.name}: page {last} lies beyond the drive's "
                f"{self.config.logical_pages} pages of {self.config.page_bytes} bytes"
            )
