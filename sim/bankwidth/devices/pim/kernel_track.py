"""A program on a channel as a function of the channel's state, and a way to pass over most of it.

A state is a vector: all that may matter for what comes, in ticks relative to now, what no longer
matters clamped, rows relative to the program's first. Channels of equal vectors do the same.

A track is what a program does when no refresh comes: at each boundary between two macros the state
as a vector, the tick, and all counters. A run that meets its track in a state (ticks relative to
the last command) goes on along it, up to the last boundary before the next refresh, in one step.

It issues through kernel.py; nothing here decides about a command.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bankwidth.devices.pim.kernel import (
    CLOSED,
    DONE,
    FRESH,
    NEVER,
    OPEN_ROW,
    P_REFRESH_CK,
    S_ACCESS,
    S_DUE,
    S_FED,
    S_FINISH,
    S_FLOOR,
    S_HITS,
    S_ISSUED,
    S_LAST,
    S_LAST_ROW,
    S_MARK,
    S_MISSES,
    S_MODE_END,
    S_OPEN_BANKS,
    S_OPEN_CK,
    S_OPEN_SINCE,
    S_OWN,
    S_POSITION,
    S_QUEUED,
    S_REFRESH_END,
    S_REPEATS,
    S_ROW_BASE,
    S_RUNNING,
    S_SKIPPED,
    S_START,
    W_TICKS,
    _finish,
    _own_part,
    advance,
)

# The words of a vector behind those of `ready`, `history` and `rows`.
V_LAST, V_LAST_ROW, V_ACCESS, V_FINISH, V_REFRESH_END, V_MODE_END, V_FLOOR, V_MARK = range(8)
NUM_WORDS = 8
FOREIGN = -2  # an open row that is not the program's: FOREIGN - bank
# What a run adds, behind counts and parts.
D_HITS, D_MISSES, D_OPEN_CK, D_SKIPPED = range(4)
NUM_ADDED = 4
# track_words[boundary, ...] before the counters
T_TICK, T_OWN = range(2)
T_COUNTERS = 2


@njit(cache=True)
def _pack_words(
    vector: NDArray[np.int64], now: int, floor: int, state: NDArray[np.int64], at: int
) -> None:
    """The words of the state: times relative to `now`, none before `floor`."""
    vector[at + V_LAST] = max(state[S_LAST], floor - 1) - now
    vector[at + V_LAST_ROW] = max(state[S_LAST_ROW], floor - 1) - now
    vector[at + V_ACCESS] = state[S_ACCESS]
    vector[at + V_FINISH] = max(state[S_FINISH], now) - now
    vector[at + V_REFRESH_END] = max(state[S_REFRESH_END], floor - 1) - now
    vector[at + V_MODE_END] = max(state[S_MODE_END], floor - 1) - now
    vector[at + V_FLOOR] = max(state[S_FLOOR], floor) - now
    vector[at + V_MARK] = max(state[S_MARK], floor - 1) - now


@njit(cache=True)
def pack(
    vector: NDArray[np.int64], now: int, floor: int, windows: NDArray[np.int64],
    state: NDArray[np.int64], ready: NDArray[np.int64], history: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:  # fmt: skip
    """The state of a channel as a vector; nothing can issue before `floor`."""
    at = 0
    for b in range(ready.shape[0]):
        for command in range(ready.shape[1]):
            vector[at] = max(ready[b, command], floor) - now
            at += 1
    for w in range(history.shape[0]):
        for b in range(history.shape[1]):
            for i in range(history.shape[2]):
                vector[at] = max(history[w, b, i], floor - windows[w, W_TICKS]) - now
                at += 1
    for b in range(rows.shape[1]):
        vector[at] = rows[OPEN_ROW, b]
        vector[at + 1] = rows[FRESH, b]
        at += 2
    _pack_words(vector, now, floor, state, at)


@njit(cache=True)
def unpack(
    vector: NDArray[np.int64], now: int, state: NDArray[np.int64],
    ready: NDArray[np.int64], history: NDArray[np.int64], rows: NDArray[np.int64],
) -> None:  # fmt: skip
    """The reverse of `pack`; rows are open since `now`."""
    at = 0
    for b in range(ready.shape[0]):
        for command in range(ready.shape[1]):
            ready[b, command] = vector[at] + now
            at += 1
    for w in range(history.shape[0]):
        for b in range(history.shape[1]):
            for i in range(history.shape[2]):
                history[w, b, i] = vector[at] + now
                at += 1
    state[S_OPEN_BANKS] = 0
    state[S_OPEN_SINCE] = now
    for b in range(rows.shape[1]):
        rows[OPEN_ROW, b] = vector[at]
        rows[FRESH, b] = vector[at + 1]
        state[S_OPEN_BANKS] += vector[at] != CLOSED
        at += 2
    state[S_LAST] = vector[at + V_LAST] + now
    state[S_LAST_ROW] = vector[at + V_LAST_ROW] + now
    state[S_ACCESS] = vector[at + V_ACCESS]
    state[S_FINISH] = vector[at + V_FINISH] + now
    state[S_REFRESH_END] = vector[at + V_REFRESH_END] + now
    state[S_MODE_END] = vector[at + V_MODE_END] + now
    state[S_FLOOR] = vector[at + V_FLOOR] + now
    state[S_MARK] = vector[at + V_MARK] + now


@njit(cache=True)
def open_ck(state: NDArray[np.int64], now: int) -> int:
    """Ticks up to now with a row open."""
    still = now - state[S_OPEN_SINCE] if state[S_OPEN_BANKS] > 0 else 0
    return int(state[S_OPEN_CK] + still)


@njit(cache=True)
def _count(
    into: NDArray[np.int64], now: int, state: NDArray[np.int64], counts: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> None:  # fmt: skip
    """All counters in one row."""
    at = counts.shape[0]
    into[:at] = counts
    into[at : at + parts.shape[0]] = parts
    at += parts.shape[0]
    into[at + D_HITS] = state[S_HITS]
    into[at + D_MISSES] = state[S_MISSES]
    into[at + D_OPEN_CK] = open_ck(state, now)
    into[at + D_SKIPPED] = state[S_SKIPPED]


@njit(cache=True)
def _is_on_track(
    place: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Whether a channel is in the state of a boundary, relative to its last command."""
    now = state[S_LAST] + 1
    at = ready.size
    for b in range(rows.shape[1]):
        if place[at] != rows[OPEN_ROW, b] or place[at + 1] != rows[FRESH, b]:
            return False
        at += 2
    if (
        place[at + V_ACCESS] != state[S_ACCESS]
        or place[at + V_FINISH] != max(state[S_FINISH], now) - now
        or place[at + V_REFRESH_END] != max(state[S_REFRESH_END], now - 1) - now
        or place[at + V_MODE_END] != max(state[S_MODE_END], now - 1) - now
        or place[at + V_FLOOR] != max(state[S_FLOOR], now) - now
        or place[at + V_MARK] != max(state[S_MARK], now - 1) - now
    ):
        return False
    at = 0
    for b in range(ready.shape[0]):
        for command in range(ready.shape[1]):
            if place[at] != max(ready[b, command] - now, 0):
                return False
            at += 1
    return True


@njit(cache=True)
def _ride(
    boundary: int,
    vectors: NDArray[np.int64],
    words: NDArray[np.int64],
    params: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],
    history: NDArray[np.int64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> int:
    """Go along the track to its last boundary before the next refresh; the boundary."""
    shift = state[S_LAST] + 1 - words[boundary, T_TICK]
    last = words.shape[0] - 1
    if params[P_REFRESH_CK] > 0:
        low, high = boundary, last
        while low < high:
            middle = (low + high + 1) // 2
            if words[middle, T_TICK] + shift <= state[S_DUE]:
                low = middle
            else:
                high = middle - 1
        last = low
    if last == boundary:
        return int(boundary)
    now = words[last, T_TICK] + shift
    before = open_ck(state, state[S_LAST] + 1)
    added = words[last, T_COUNTERS:] - words[boundary, T_COUNTERS:]
    unpack(vectors[last], now, state, ready, history, rows)
    num = counts.shape[0]
    counts += added[:num]
    parts += added[num : num + parts.shape[0]]
    at = num + parts.shape[0]
    state[S_HITS] += added[at + D_HITS]
    state[S_MISSES] += added[at + D_MISSES]
    state[S_OPEN_CK] = before + added[at + D_OPEN_CK]
    state[S_SKIPPED] += added[:num].sum()
    state[S_OWN] = words[last, T_OWN]
    return int(last)


@njit(cache=True)
def _step(
    macro: NDArray[np.int64], params: NDArray[np.int64], commands: NDArray[np.int64],
    scopes: NDArray[np.int64], gaps: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    history: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
    counts: NDArray[np.int64], parts: NDArray[np.int64], log: NDArray[np.int64],
) -> int:  # fmt: skip
    """One macro of a program, as part of it: what is owed to its end is taken back."""
    state[S_POSITION], state[S_ISSUED], state[S_REPEATS], state[S_RUNNING] = 0, 0, 1, 1
    status = advance(macro, params, commands, scopes, gaps, windows, in_window, state, ready,
                     history, rows, queue, counts, parts, log, NEVER)  # fmt: skip
    parts[_own_part(state[S_OWN], commands)] -= state[S_FINISH] - state[S_LAST]
    state[S_MARK] = state[S_LAST]
    return int(status)


@njit(cache=True)
def record(
    program: NDArray[np.int64], repeat: int, params: NDArray[np.int64],
    commands: NDArray[np.int64], scopes: NDArray[np.int64], gaps: NDArray[np.int64],
    windows: NDArray[np.int64], in_window: NDArray[np.int64], state: NDArray[np.int64],
    ready: NDArray[np.int64], history: NDArray[np.int64], rows: NDArray[np.int64],
    queue: NDArray[np.int64], counts: NDArray[np.int64], parts: NDArray[np.int64],
    log: NDArray[np.int64], vectors: NDArray[np.int64], words: NDArray[np.int64],
) -> int:  # fmt: skip
    """Lay a program's track from the state given, which is idle; `params` are without refresh."""
    length = program.shape[0]
    for macro in range(length * repeat):
        place = macro % length
        status = _step(program[place : place + 1], params, commands, scopes, gaps, windows,
                       in_window, state, ready, history, rows, queue, counts, parts,
                       log)  # fmt: skip
        if status != DONE:
            return int(status)
        now = state[S_LAST] + 1
        pack(vectors[macro + 1], now, now, windows, state, ready, history, rows)
        words[macro + 1, T_TICK] = now
        words[macro + 1, T_OWN] = state[S_OWN]
        _count(words[macro + 1, T_COUNTERS:], now, state, counts, parts)
    return int(DONE)


@njit(cache=True)
def _follow(
    program: NDArray[np.int64], repeat: int, vectors: NDArray[np.int64],
    words: NDArray[np.int64], params: NDArray[np.int64], commands: NDArray[np.int64],
    scopes: NDArray[np.int64], gaps: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    history: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
    counts: NDArray[np.int64], parts: NDArray[np.int64], log: NDArray[np.int64],
) -> int:  # fmt: skip
    """Run a program macro by macro, along its track wherever it is on it."""
    length = program.shape[0]
    macro = 0
    while macro < length * repeat:
        place = macro % length
        status = _step(program[place : place + 1], params, commands, scopes, gaps, windows,
                       in_window, state, ready, history, rows, queue, counts, parts,
                       log)  # fmt: skip
        if status != DONE:
            return int(status)
        macro += 1
        if _is_on_track(vectors[macro], state, ready, rows):
            macro = _ride(macro, vectors, words, params, state, ready, history, rows, counts, parts)
    _finish(commands, state, parts)
    return int(DONE)


@njit(cache=True)
def run(
    before: NDArray[np.int64],  # vector of the channel, now being 0
    due: int,
    gap: int,  # ticks until the program starts
    program: NDArray[np.int64],
    repeat: int,
    vectors: NDArray[np.int64],  # of the track; none: it has not been laid
    words: NDArray[np.int64],
    params: NDArray[np.int64],
    commands: NDArray[np.int64],
    scopes: NDArray[np.int64],
    gaps: NDArray[np.int64],
    windows: NDArray[np.int64],
    in_window: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],
    history: NDArray[np.int64],
    rows: NDArray[np.int64],
    queue: NDArray[np.int64],
    counts: NDArray[np.int64],
    parts: NDArray[np.int64],
    log: NDArray[np.int64],
    after: NDArray[np.int64],
    added: NDArray[np.int64],
) -> tuple[int, int, int]:
    """(status, ticks, ticks to the next refresh) of a pause and a program.

    `after` becomes the vector that it leaves behind, `added` what it adds to all counters.
    """
    state[:], counts[:], parts[:] = 0, 0, 0
    unpack(before, 0, state, ready, history, rows)
    state[S_DUE] = due
    status = DONE
    if gap > 0:
        advance(program, params, commands, scopes, gaps, windows, in_window, state, ready, history,
                rows, queue, counts, parts, log, gap)  # fmt: skip
    now = gap
    if program.shape[0] > 0 and repeat > 0:
        for word in (S_START, S_MARK, S_FLOOR):
            state[word] = gap
        state[S_QUEUED], state[S_FED], state[S_ROW_BASE] = 0, 0, 0
        if words.shape[0] > 0:
            status = _follow(program, repeat, vectors, words, params, commands, scopes, gaps,
                             windows, in_window, state, ready, history, rows, queue, counts,
                             parts, log)  # fmt: skip
        else:
            state[S_POSITION], state[S_ISSUED], state[S_REPEATS] = 0, 0, repeat
            state[S_RUNNING] = 1
            status = advance(program, params, commands, scopes, gaps, windows, in_window, state,
                             ready, history, rows, queue, counts, parts, log, NEVER)  # fmt: skip
        now = state[S_FINISH]
    left = state[S_DUE] - now if params[P_REFRESH_CK] > 0 else NEVER
    pack(after, now, min(now, now + left), windows, state, ready, history, rows)
    _count(added, now, state, counts, parts)
    return int(status), int(now), int(left)
