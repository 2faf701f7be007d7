"""A controller that works on one group of commands at a time, up to a barrier.

Columns of the group go in the order in which they become ready, its last one only when the others
are gone. Rows are opened for the group in hand, and for the next one once only the last is left.
A row that the group does not use is closed as soon as nothing else can issue. A refresh that is due
closes rows as soon as they may be closed and waits for a tick with none open, but stops nobody; it
is dropped if it waits too long. At equal ticks: refresh, column, activate, precharge.

It issues through kernel.py and keeps its tables; only the choice of the next command is different.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bankwidth.devices.pim.kernel import (
    ACCESS,
    ANY_ACCESS,
    AT_LIMIT,
    BANK,
    BARRIER,
    CLOSED,
    CLOSER,
    COLUMN,
    COMMAND,
    DONE,
    LOG_FULL,
    NEVER,
    OPEN_ROW,
    OPENED_BY,
    OPENER,
    P_COMPLETE,
    P_QUEUE,
    P_REFRESH,
    P_REFRESH_CK,
    ROLE,
    ROW,
    S_ACCESS,
    S_DUE,
    S_ENTERS,
    S_FED,
    S_FINISH,
    S_FLOOR,
    S_LOGGED,
    S_POSITION,
    S_QUEUED,
    S_REFRESH_END,
    WRONG_ACCESS,
    _all_are,
    _finish,
    _needed,
    _take,
    earliest_ck,
    feed_one,
    issue,
    touches,
)

P_LAPSE_CK = -1  # params[...]: a refresh that waits as long as that is dropped
COLUMNS, ACTIVATES, PRECHARGES, NOTHING = range(4)  # what issues next, in the order of a tie


@njit(cache=True)
def _fits_access(command: int, commands: NDArray[np.int64], state: NDArray[np.int64]) -> bool:
    access = commands[command, ACCESS]
    return bool(access == ANY_ACCESS or access == state[S_ACCESS])


@njit(cache=True)
def _is_last(place: int, queue: NDArray[np.int64], state: NDArray[np.int64]) -> bool:
    """Whether a command is the last of its group."""
    return bool(place + 1 < state[S_QUEUED] and queue[place + 1, COMMAND] == BARRIER)


@njit(cache=True)
def _repeats(place: int, queue: NDArray[np.int64]) -> bool:
    """Whether a command is ready no sooner than the one before it."""
    if place == 0:
        return False
    for word in (COMMAND, ROW, BANK):
        if queue[place, word] != queue[place - 1, word]:
            return False
    return True


@njit(cache=True)
def _next_column(
    params: NDArray[np.int64], commands: NDArray[np.int64], state: NDArray[np.int64],
    ready: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
) -> tuple[int, int]:  # fmt: skip
    """(place, tick) of the command of the group that can issue first; its rows are open."""
    best, best_tick = -1, NEVER
    for i in range(state[S_QUEUED]):
        command, row, bank = queue[i, COMMAND], queue[i, ROW], queue[i, BANK]
        if command == BARRIER or (i > 0 and _is_last(i, queue, state)):
            break
        if _repeats(i, queue) or not _fits_access(command, commands, state):
            continue
        if _needed(command, bank, row, commands, rows) != command:
            continue
        tick = max(earliest_ck(command, bank, params, commands, state, ready), state[S_FLOOR])
        if tick < best_tick:
            best, best_tick = i, tick
    return best, best_tick


@njit(cache=True)
def _next_activate(
    params: NDArray[np.int64], commands: NDArray[np.int64], state: NDArray[np.int64],
    ready: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
) -> tuple[int, int]:  # fmt: skip
    """(place, tick) of the command whose row can be opened first."""
    best, best_tick = -1, NEVER
    for i in range(state[S_QUEUED]):
        command, bank = queue[i, COMMAND], queue[i, BANK]
        if i > 0 and _is_last(i, queue, state):
            break
        if command == BARRIER and i != 1:
            break
        if command == BARRIER or commands[command, ROLE] != COLUMN or _repeats(i, queue):
            continue
        opener = commands[command, OPENER]
        if not _fits_access(opener, commands, state):
            continue
        if not _all_are(opener, bank, CLOSED, commands, rows):
            continue
        tick = earliest_ck(opener, bank, params, commands, state, ready)
        if tick < best_tick:
            best, best_tick = i, tick
    return best, best_tick


@njit(cache=True)
def _is_used(
    bank: int, commands: NDArray[np.int64], state: NDArray[np.int64], rows: NDArray[np.int64],
    queue: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Whether a command of the group uses the row that is open in a bank."""
    for i in range(state[S_QUEUED]):
        command = queue[i, COMMAND]
        if command == BARRIER:
            return False
        if (
            commands[command, ROLE] == COLUMN
            and queue[i, ROW] == rows[OPEN_ROW, bank]
            and touches(command, queue[i, BANK], bank, commands)
        ):
            return True
    return False


@njit(cache=True)
def _next_precharge(
    for_refresh: bool, params: NDArray[np.int64], commands: NDArray[np.int64],
    state: NDArray[np.int64], ready: NDArray[np.int64], rows: NDArray[np.int64],
    queue: NDArray[np.int64],
) -> tuple[int, int]:  # fmt: skip
    """(bank, tick) of the row that can be closed first: any for a refresh, else one not in use."""
    best, best_tick = -1, NEVER
    for b in range(rows.shape[1]):
        if rows[OPEN_ROW, b] == CLOSED:
            continue
        closer = commands[rows[OPENED_BY, b], CLOSER]
        tick = earliest_ck(closer, b, params, commands, state, ready)
        if tick >= best_tick:
            continue
        if for_refresh or not _is_used(b, commands, state, rows, queue):
            best, best_tick = b, tick
    return best, best_tick


@njit(cache=True)
def _choose(
    params: NDArray[np.int64], commands: NDArray[np.int64], state: NDArray[np.int64],
    ready: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
) -> tuple[int, int, int]:  # fmt: skip
    """(what, place or bank, tick) of what issues next, refreshes aside."""
    what = NOTHING
    place, tick = _next_column(params, commands, state, ready, rows, queue)
    if place >= 0:
        what = COLUMNS
    other, other_tick = _next_activate(params, commands, state, ready, rows, queue)
    if other_tick < tick:
        what, place, tick = ACTIVATES, other, other_tick
    other, other_tick = _next_precharge(False, params, commands, state, ready, rows, queue)
    if other_tick < tick:
        what, place, tick = PRECHARGES, other, other_tick
    return what, place, tick


@njit(cache=True)
def _refresh_step(
    tick: int, params: NDArray[np.int64], commands: NDArray[np.int64],
    state: NDArray[np.int64], ready: NDArray[np.int64], rows: NDArray[np.int64],
    queue: NDArray[np.int64],
) -> tuple[int, int, int]:  # fmt: skip
    """(command, bank, tick) of what a refresh needs by `tick`; the command is -1 if nothing.

    A refresh that has waited too long is dropped on the way.
    """
    if params[P_REFRESH_CK] == 0:
        return -1, 0, tick
    while state[S_DUE] <= tick:
        command, bank = params[P_REFRESH], 0
        first, at = _next_precharge(True, params, commands, state, ready, rows, queue)
        if first >= 0:
            command, bank = commands[rows[OPENED_BY, first], CLOSER], first
        else:
            at = earliest_ck(command, 0, params, commands, state, ready)
        at = max(at, state[S_DUE])
        if min(at, tick) < state[S_DUE] + params[P_LAPSE_CK]:
            return (command, bank, at) if at <= tick else (-1, 0, tick)
        state[S_DUE] += params[P_REFRESH_CK]
    return -1, 0, tick


@njit(cache=True)
def _begin_group(
    queue: NDArray[np.int64], params: NDArray[np.int64], state: NDArray[np.int64]
) -> None:
    """Step over the barriers before the next command."""
    while state[S_QUEUED] > 0 and queue[0, COMMAND] == BARRIER:
        if params[P_COMPLETE] == 1:
            state[S_FLOOR] = state[S_FINISH]
        _take(0, queue, state)


@njit(cache=True)
def _enters_before(
    tick: int, program: NDArray[np.int64], queue: NDArray[np.int64], params: NDArray[np.int64],
    state: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Let a command, and the barriers behind it, into the queue if one comes before `tick`.

    There is room for one in every tick, until the queue is full.
    """
    if state[S_FED] == 1 or state[S_QUEUED] >= params[P_QUEUE] or state[S_ENTERS] >= tick:
        return False
    feed_one(program, queue, state)
    while state[S_FED] == 0 and program[state[S_POSITION], COMMAND] == BARRIER:
        feed_one(program, queue, state)
    state[S_ENTERS] += 1
    return True


@njit(cache=True)
def advance(
    program: NDArray[np.int64],  # [macro, (command, count, row, bank)]
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
    limit: int,
) -> int:
    """Issue all commands of a program due by tick `limit`, up to its end; returns a status."""
    while True:
        if log.shape[0] > 0 and state[S_LOGGED] >= log.shape[0]:
            return LOG_FULL
        _begin_group(queue, params, state)
        what, place, tick = _choose(params, commands, state, ready, rows, queue)
        tick = max(tick, state[S_ENTERS])
        if _enters_before(tick, program, queue, params, state):
            continue
        if state[S_QUEUED] == 0:
            _finish(commands, state, parts)
            return DONE
        if what == NOTHING:
            return WRONG_ACCESS
        for_refresh, bank, at = _refresh_step(tick, params, commands, state, ready, rows, queue)
        if min(tick, at) > limit:
            return AT_LIMIT
        row = CLOSED
        if for_refresh >= 0:
            command, tick = for_refresh, at
        elif what == PRECHARGES:
            command, bank = commands[rows[OPENED_BY, place], CLOSER], place
        else:
            command, bank, row = queue[place, COMMAND], queue[place, BANK], queue[place, ROW]
            if what == ACTIVATES:
                command = commands[command, OPENER]
        issue(tick, command, bank, row, 1, for_refresh >= 0, params, commands, scopes, gaps,
              windows, in_window, state, ready, history, rows, counts, parts, log)  # fmt: skip
        state[S_ENTERS] = max(state[S_ENTERS], tick)
        if command == params[P_REFRESH]:
            state[S_DUE] += params[P_REFRESH_CK]
            state[S_REFRESH_END] = tick + gaps[:, command].max()
        elif for_refresh < 0 and what == COLUMNS:
            is_over = state[S_QUEUED] == 1 and state[S_FED] == 1
            _take(place, queue, state)
            if is_over:
                _finish(commands, state, parts)
                return DONE
