"""Exact repetition of a drive's work is added in one step.

A lone stream or job reads (or writes in place) pages in an affine order, so that after as many
groups as it takes to come back to the same die, plane and page type the drive may be in the same
state, taken relative to now and to the group that sets out next. The state is written in a normal
form at every such place: rows of pools in the order of what they stand for, times relative to now.
When a form has been seen before, everything between repeats; the whole periods that fit are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.nand import kernel_state as w
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.policies import Bus
from bankwidth.devices.nand.state import State

Ints = NDArray[np.int64]
MOST_FORMS: Final = 512  # after as many without a repetition none is expected
LEAST_PERIODS: Final = 3
# Arguments of events: what they name.
OF_PAGE: Final = (w.E_DECODED, w.E_FILTERED, w.E_WRITE_IN)
OF_GROUP: Final = (
    w.E_PHASE, w.E_THEN, w.E_GROUP, w.E_DOORBELL, w.E_FETCHED, w.E_DISPATCH, w.E_ASKED,
)  # fmt: skip
LINKS: Final = (w.T_NEXT, w.T_MATE, w.T_PARTNER)
UNIT_PAGES: Final = (
    w.U_READ_HEAD, w.U_READ_TAIL, w.U_WRITE_HEAD, w.U_WRITE_TAIL, w.U_OP, w.U_INPUT,
    w.U_SUSPENDED_OP,
)  # fmt: skip
UNIT_WORDS: Final = (
    w.U_STATE, w.U_LATCHED, w.U_CACHED, w.U_QUEUED, w.U_SUSPENDED, w.U_LEFT_PS, w.U_SUSPENDS,
    w.U_LOADED, w.U_READS,
)  # fmt: skip
PAGE_WORDS: Final = (
    w.T_KIND, w.T_UNIT, w.T_DIE, w.T_PLANE, w.T_BYTES, w.T_SINK, w.T_PHASE, w.T_EXTRA, w.T_BLOCKED,
    w.T_CHANNEL,
)  # fmt: skip
GROUP_WORDS: Final = (w.G_LEFT, w.G_PHASE, w.G_AHEAD)
FREE_TIMES: Final = (w.S_UP_FREE, w.S_DOWN_FREE, w.S_DRAM_FREE)
CHANNEL_TIMES: Final = (w.C_ECC_FREE, w.C_FILTER_FREE)
SUMS: Final = (
    w.S_UP_BUSY, w.S_DOWN_BUSY, w.S_DRAM_BUSY, w.S_CORE_BUSY, w.S_COMPUTE_BUSY, w.S_THEN_BUSY,
)  # fmt: skip
CHANNEL_SUMS: Final = (w.C_BUSY, w.C_ECC_BUSY, w.C_FILTER_BUSY, w.C_DATA_BUSY)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where a form was seen: time, groups done, and all that only ever grows."""

    now_ps: int
    done: int
    sums: Ints


class Skipper:
    """Looks for repetition in one piece of work at a time."""

    def __init__(self, config: DriveConfig) -> None:
        self._config = config
        self._planes = config.dies * config.planes
        types = np.lcm(len(config.read_ps), len(config.program_ps))
        self._pages = int(self._planes * types)  # after as many the same plane and page type
        self._possible = (
            config.bus != Bus.DATA_FIRST_LOCKSTEP
            and config.retry_mean == 0
            and config.pages_per_block % int(types) == 0
        )
        self._seen: dict[bytes, _Mark] = {}
        self._source = 0

    def begin(self, z: State) -> None:
        """Something was added: look for repetition if it is alone and regular."""
        self._seen = {}
        live = np.flatnonzero(z.sources[:, w.Q_LIVE])
        if not self._possible or len(live) != 1:
            return
        self._source = int(live[0])
        source = z.sources[self._source]
        own = int(source[w.Q_STRIDE])
        every = self._pages // gcd(self._pages, own) if own else 1
        is_regular = source[w.Q_KIND] == w.AFFINE and not z.m[w.S_MAPPED]
        is_regular = is_regular and (not source[w.Q_WRITES] or source[w.Q_PLACED])
        if is_regular and source[w.Q_GROUPS] >= LEAST_PERIODS * every:
            z.m[w.S_CHECK_EVERY] = every

    def checkpoint(self, z: State, until_ps: int) -> int:
        """At one of the places: add whole periods if the state is known. Pages that were added."""
        form = self._form(z)
        mark = _Mark(int(z.m[w.S_NOW]), int(z.sources[self._source, w.Q_DONE]), _sums(z))
        known = self._seen.get(form)
        if known is None:
            self._seen[form] = mark
            if len(self._seen) > MOST_FORMS:
                z.m[w.S_CHECK_EVERY] = 0
            return 0
        self._seen[form] = mark
        return self._add(z, known, mark, until_ps)

    def _add(self, z: State, known: _Mark, mark: _Mark, until_ps: int) -> int:
        source = z.sources[self._source]
        groups, period_ps = mark.done - known.done, mark.now_ps - known.now_ps
        left = int(source[w.Q_GROUPS] - 1 - source[w.Q_STARTED])
        times = left // groups
        if period_ps > 0:
            times = min(times, (until_ps - mark.now_ps) // period_ps)
        if times < 1:
            return 0
        _shift_time(z, times * period_ps)
        pages = times * groups * int(source[w.Q_STRIDE])
        self._shift_pages(z, pages)
        z.groups[in_use(z.groups, w.G_NEXT, int(z.m[w.S_FREE_GROUP])), w.G_INDEX] += times * groups
        source[w.Q_STARTED] += times * groups
        source[w.Q_DONE] += times * groups
        _add_sums(z, times * (mark.sums - known.sums))
        self._seen = {}
        return pages

    def _shift_pages(self, z: State, pages: int) -> None:
        """All pages under way lie `pages` further on; the planes are the same."""
        used = in_use(z.pages, w.T_NEXT, int(z.m[w.S_FREE_PAGE]))
        rows = z.pages[used]
        programs = rows[:, w.T_KIND] == w.PROGRAM
        queued = programs & self._is_queued(z, used)
        z.pending[rows[queued, w.T_LPA]] = 0
        place = rows[:, w.T_BLOCK] * self._config.pages_per_block + rows[:, w.T_PAGE]
        place += pages // self._planes
        rows[:, w.T_BLOCK], rows[:, w.T_PAGE] = np.divmod(place, self._config.pages_per_block)
        rows[:, w.T_LPA] += pages
        z.pages[used] = rows
        z.pending[rows[queued, w.T_LPA]] = 1

    def _is_queued(self, z: State, used: Ints) -> NDArray[np.bool_]:
        """Whether a page has been counted as pending: all but those still on their way in."""
        on_way = set()
        for i in range(int(z.m[w.S_HEAP])):
            event = int(z.heap_event[i])
            if event & 15 == w.E_WRITE_IN:
                on_way.add(event >> 4)
        waiting = int(z.m[w.S_WAIT_HEAD])
        while waiting != w.NOBODY:
            on_way.add(waiting)
            waiting = int(z.pages[waiting, w.T_NEXT])
        return np.array([int(p) not in on_way for p in used], dtype=bool)

    def _form(self, z: State) -> bytes:
        """The state in its normal form."""
        now = int(z.m[w.S_NOW])
        source = z.sources[self._source]
        started = int(source[w.Q_STARTED])
        first_lpa = int(source[w.Q_BASE] + started * source[w.Q_STRIDE])
        groups, group_names = _named(
            z.groups, in_use(z.groups, w.G_NEXT, int(z.m[w.S_FREE_GROUP])), (w.G_INDEX,)
        )
        pages, page_names = _named(
            z.pages,
            in_use(z.pages, w.T_NEXT, int(z.m[w.S_FREE_PAGE])),
            (w.T_LPA, w.T_PHASE, w.T_GROUP),
        )
        parts = [
            np.array([started - source[w.Q_DONE], len(groups), len(pages)], dtype=np.int64),
            z.groups[groups, w.G_INDEX] - started,
            np.maximum(z.groups[groups, w.G_END] - now, 0),
            *(z.groups[groups, word] for word in GROUP_WORDS),
            z.pages[pages, w.T_LPA] - first_lpa,
            z.pages[pages, w.T_READY] - now,
            group_names[z.pages[pages, w.T_GROUP]],
            *(z.pages[pages, word] for word in PAGE_WORDS),
            *(page_names[z.pages[pages, word]] for word in LINKS),
            *(page_names[z.units[:, word]] for word in UNIT_PAGES),
            *(z.units[:, word] for word in UNIT_WORDS),
            _while(z.units[:, w.U_STATE] != w.IDLE, z.units[:, w.U_END] - now),
            *(np.maximum(z.channels[:, word] - now, 0) for word in CHANNEL_TIMES),
            *(np.maximum(array - now, 0) for array in (z.lanes, z.cores)),
            np.maximum(z.m[list(FREE_TIMES)] - now, 0),
            z.m[[w.S_PENDING, w.S_BUFFERED]],
            page_names[z.m[[w.S_WAIT_HEAD, w.S_WAIT_TAIL]]],
            *_bus_times(z, now),
            _bus_users(z.channels[:, w.C_PAGE], page_names),
            *_rings(z, page_names),
            *_events(z, now, page_names, group_names),
        ]
        return np.concatenate(parts).tobytes()


def in_use(rows: Ints, column: int, free: int) -> Ints:
    """Indices of the rows of a pool that are not free."""
    from bankwidth.devices.nand.kernel_pool import mark_free

    is_free = np.zeros(len(rows), dtype=np.bool_)
    mark_free(rows, column, free, is_free)
    return np.flatnonzero(~is_free)


def _named(rows: Ints, used: Ints, by: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Used rows in the order of what they are, and each one's place in it (-1: none)."""
    order = used[np.lexsort(tuple(rows[used, column] for column in by))]
    names = np.full(len(rows) + 1, -1, dtype=np.int64)  # NOBODY finds the last
    names[order] = np.arange(len(order))
    return order, names


def _while(condition: NDArray[np.bool_], values: Ints) -> Ints:
    return np.where(condition, values, 0)


def _bus_users(what: Ints, names: Ints) -> Ints:
    """Pages by their names, units (below -1) as they are."""
    return np.where(what >= 0, names[np.maximum(what, 0)], what - 1)


def _bus_times(z: State, now: int) -> list[Ints]:
    """Whether each bus is held, and until when where no event says so."""
    held, free = z.channels[:, w.C_IS_BUSY], z.channels[:, w.C_FREE] - now
    unwatched = held == w.UNWATCHED
    held = np.where(unwatched & (free <= 0), 0, held)
    return [held, np.where(unwatched, np.maximum(free, 0), 0)]


def _rings(z: State, names: Ints) -> list[Ints]:
    parts = []
    for ring, head, number in (
        (z.commands, w.C_COMMAND_HEAD, w.C_COMMANDS),
        (z.transfers, w.C_TRANSFER_HEAD, w.C_TRANSFERS),
    ):
        for c in range(len(ring)):
            length = int(z.channels[c, number])
            at = (int(z.channels[c, head]) + np.arange(length)) % ring.shape[1]
            entries = ring[c, at]
            parts.append(np.array([length], dtype=np.int64))
            parts.append(entries if ring is z.commands else _bus_users(entries, names))
    return parts


def _events(z: State, now: int, page_names: Ints, group_names: Ints) -> list[Ints]:
    """What is going to happen, in order."""
    number = int(z.m[w.S_HEAP])
    times, events = z.heap_ps[:number], z.heap_event[:number]
    order = np.lexsort((z.heap_order[:number], times))
    times, kinds, arguments = times[order] - now, events[order] & 15, events[order] >> 4
    arguments = arguments.copy()
    of_array = kinds == w.E_ARRAY
    units = arguments & 0xFFFFF
    void = of_array & (arguments >> 20 != z.units[np.where(of_array, units, 0), w.U_VERSION])
    arguments[of_array] = np.where(void, -1, units)[of_array]
    of_page, of_group = np.isin(kinds, OF_PAGE), np.isin(kinds, OF_GROUP)
    arguments[of_page] = page_names[arguments[of_page]]
    arguments[of_group] = group_names[arguments[of_group]]
    return [times, kinds, arguments]


def _sums(z: State) -> Ints:
    """All that only ever grows."""
    return np.concatenate(
        [
            z.counts,
            z.waits,
            z.units[:, w.U_BUSY],
            z.channels[:, list(CHANNEL_SUMS)].ravel(),
            z.m[list(SUMS)],
        ]
    )


def _add_sums(z: State, more: Ints) -> None:
    ends = np.cumsum(
        [len(z.counts), len(z.waits), len(z.units), len(z.channels) * len(CHANNEL_SUMS)]
    )
    counts, waits, units, channels, sums = np.split(more, ends)
    z.counts[:] += counts
    z.waits[:] += waits
    z.units[:, w.U_BUSY] += units
    z.channels[:, list(CHANNEL_SUMS)] += channels.reshape(len(z.channels), -1)
    z.m[list(SUMS)] += sums


def _shift_time(z: State, by_ps: int) -> None:
    z.m[[w.S_NOW, w.S_LAST]] += by_ps
    z.m[list(FREE_TIMES)] += by_ps
    z.heap_ps[: z.m[w.S_HEAP]] += by_ps
    z.units[:, [w.U_END, w.U_SINCE]] += by_ps
    z.channels[:, [w.C_FREE, *CHANNEL_TIMES]] += by_ps
    z.pages[:, w.T_READY] += by_ps
    z.groups[:, [w.G_START, w.G_END]] += by_ps
    z.lanes[:] += by_ps
    z.cores[:] += by_ps
