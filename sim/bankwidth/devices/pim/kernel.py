"""One channel of computing banks, command by command.

A program is an array of macro commands in order; each is a column or register command (or an
explicit activate or precharge) repeated `count` times. Before each command the engine issues what
it needs: a mode change, a precharge, an activate. Every command issues at the first tick that the
gap table allows; a refresh that is due goes first, and the row is opened again after it.

Only numbers in and out; the readable face is channel.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# program[:, ...]
COMMAND, COUNT, ROW, BANK = range(4)
# commands[:, ...]
ROLE, BANKS, ACCESS, MOVES, CLOSES, DONE_CK = range(6)
ACTIVATE, PRECHARGE, REFRESH, MODE, COLUMN, REGISTER = range(6)
NO_BANK, ONE_BANK, ALL_BANKS = range(3)
ANY_ACCESS, ARRAY_ACCESS, REGISTER_ACCESS = range(3)
MOVES_NONE, MOVES_IN, MOVES_OUT = range(3)
# params[...]
P_ACT, P_ACT_ALL, P_PRE, P_PRE_ALL, P_REFRESH, P_MODE, P_REFRESH_CK, P_SKIP = range(8)
NUM_PARAMS = 8
# state[...]
(
    S_LAST, S_ACCESS, S_POSITION, S_ISSUED, S_REPEATS, S_ROW_BASE, S_START, S_DUE, S_FINISH, S_MARK,
    S_HITS, S_MISSES, S_OPEN_BANKS, S_OPEN_SINCE, S_OPEN_CK, S_REFRESH_END, S_MODE_END, S_RUNNING,
    S_BUSY, S_LOGGED,
) = range(20)  # fmt: skip
NUM_STATE = 20
# rows[...]
OPEN_ROW, FRESH = range(2)
CLOSED = -1
# parts[...]: what the time of a program is owed to
COMPUTE, LOAD, DRAIN, ROWS, MODES, REFRESHING = range(6)
NUM_PARTS = 6
# status
DONE, AT_LIMIT, LOG_FULL = range(3)


@njit(cache=True)
def earliest_ck(
    command: int,
    bank: int,
    commands: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],  # [bank..., channel; command]
) -> int:
    """First tick at which every gap to earlier commands is kept and the command bus is free."""
    channel = ready.shape[0] - 1
    tick = max(state[S_LAST] + 1, ready[channel, command])
    if commands[command, BANKS] == ONE_BANK:
        tick = max(tick, ready[bank, command])
    elif commands[command, BANKS] == ALL_BANKS:
        for b in range(channel):
            tick = max(tick, ready[b, command])
    return int(tick)


@njit(cache=True)
def _needed_all(command: int, row: int, params: NDArray[np.int64], rows: NDArray[np.int64]) -> int:
    """What a command on all banks needs: a common open row, or all banks closed (row CLOSED)."""
    num_right = 0
    num_closed = 0
    for b in range(rows.shape[1]):
        num_right += rows[OPEN_ROW, b] == row
        num_closed += rows[OPEN_ROW, b] == CLOSED
    if num_right == rows.shape[1]:
        return command
    if num_closed == rows.shape[1]:
        return int(params[P_ACT_ALL])
    return int(params[P_PRE_ALL])


@njit(cache=True)
def _needed(
    command: int, bank: int, row: int, params: NDArray[np.int64], commands: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> int:  # fmt: skip
    """The command itself, or the row command that must come before it."""
    role = commands[command, ROLE]
    if role == REGISTER or role == MODE or role == PRECHARGE:
        return command
    wanted = row if role == COLUMN else CLOSED  # an activate and a refresh want closed banks
    if commands[command, BANKS] == ALL_BANKS:
        return _needed_all(command, wanted, params, rows)
    if rows[OPEN_ROW, bank] == wanted:
        return command
    return int(params[P_ACT]) if rows[OPEN_ROW, bank] == CLOSED else int(params[P_PRE])


@njit(cache=True)
def next_command(
    command: int,
    bank: int,
    row: int,
    params: NDArray[np.int64],
    commands: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[int, int]:
    """The command to issue on the way to `command`, and the first tick at which it may.

    A mode change issues once the command that needs the other mode would be legal: so does the
    AiM controller.
    """
    needed = _needed(command, bank, row, params, commands, rows)
    tick = earliest_ck(needed, bank, commands, state, ready)
    access = commands[needed, ACCESS]
    if params[P_MODE] >= 0 and access != ANY_ACCESS and access != state[S_ACCESS]:
        mode = params[P_MODE]
        return mode, max(tick, earliest_ck(mode, bank, commands, state, ready))
    return needed, tick


@njit(cache=True)
def _cadence_ck(command: int, commands: NDArray[np.int64], gaps: NDArray[np.int64]) -> int:
    """Ticks between repetitions of a command on the same banks."""
    cadence = max(1, gaps[0, command, command])
    if commands[command, BANKS] != NO_BANK:
        cadence = max(cadence, gaps[1, command, command])
    return int(cadence)


@njit(cache=True)
def _make_ready(
    tick: int, command: int, bank: int, commands: NDArray[np.int64], gaps: NDArray[np.int64],
    ready: NDArray[np.int64],
) -> None:  # fmt: skip
    channel = ready.shape[0] - 1
    first, last = 0, channel
    if commands[command, BANKS] == ONE_BANK:
        first, last = bank, bank + 1
    elif commands[command, BANKS] == NO_BANK:
        last = 0
    for after in range(commands.shape[0]):
        ready[channel, after] = max(ready[channel, after], tick + gaps[0, command, after])
        if gaps[1, command, after] > 0:  # most pairs have no row of this scope
            until = tick + gaps[1, command, after]
            for b in range(first, last):
                ready[b, after] = max(ready[b, after], until)


@njit(cache=True)
def _set_row(
    tick: int, bank: int, row: int, state: NDArray[np.int64], rows: NDArray[np.int64]
) -> None:
    was_open = rows[OPEN_ROW, bank] != CLOSED
    is_open = row != CLOSED
    if is_open and not was_open:
        if state[S_OPEN_BANKS] == 0:
            state[S_OPEN_SINCE] = tick
        state[S_OPEN_BANKS] += 1
    elif was_open and not is_open:
        state[S_OPEN_BANKS] -= 1
        if state[S_OPEN_BANKS] == 0:
            state[S_OPEN_CK] += tick - state[S_OPEN_SINCE]
    rows[OPEN_ROW, bank] = row
    rows[FRESH, bank] = is_open


@njit(cache=True)
def _act_on_rows(
    tick: int,
    command: int,
    bank: int,
    row: int,
    count: int,
    commands: NDArray[np.int64],
    state: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> bool:
    """Open, close or access rows; True if it is the first access since a row was opened."""
    role = commands[command, ROLE]
    first, last = bank, bank + 1
    if commands[command, BANKS] == ALL_BANKS:
        first, last = 0, rows.shape[1]
    is_miss = False
    if role == ACTIVATE or role == PRECHARGE:
        for b in range(first, last):
            _set_row(tick, b, row if role == ACTIVATE else CLOSED, state, rows)
    elif role == COLUMN:
        for b in range(first, last):
            is_miss = is_miss or rows[FRESH, b] == 1
            rows[FRESH, b] = 0
            if commands[command, CLOSES]:
                _set_row(tick, b, CLOSED, state, rows)
        state[S_MISSES] += is_miss
        state[S_HITS] += count - is_miss
    elif role == MODE:
        is_array = state[S_ACCESS] == ARRAY_ACCESS
        state[S_ACCESS] = REGISTER_ACCESS if is_array else ARRAY_ACCESS
    return is_miss


@njit(cache=True)
def _own_part(command: int, commands: NDArray[np.int64]) -> int:
    role = commands[command, ROLE]
    if role == ACTIVATE or role == PRECHARGE:
        return ROWS
    if role == MODE:
        return MODES
    if role == REFRESH:
        return REFRESHING
    if commands[command, MOVES] == MOVES_IN:
        return LOAD
    return DRAIN if commands[command, MOVES] == MOVES_OUT else COMPUTE


@njit(cache=True)
def _held_ck(state: NDArray[np.int64], tick: int, end: int) -> int:
    """Ticks of the time not yet accounted for, up to `tick`, that end before `end`."""
    return int(max(0, min(tick, end) - state[S_MARK]))


@njit(cache=True)
def _account(
    tick: int,
    command: int,
    is_miss: bool,
    for_refresh: bool,
    cadence: int,
    commands: NDArray[np.int64],
    state: NDArray[np.int64],
    parts: NDArray[np.int64],
) -> None:
    """Give the time since the last accounted tick to what it was owed to."""
    if tick <= state[S_MARK] or not state[S_RUNNING]:
        return
    refreshing = _held_ck(state, tick, tick if for_refresh else state[S_REFRESH_END])
    parts[REFRESHING] += refreshing
    state[S_MARK] += refreshing
    changing = _held_ck(state, tick, state[S_MODE_END])
    parts[MODES] += changing
    state[S_MARK] += changing
    left = tick - state[S_MARK]
    own = min(left, cadence) if is_miss else left
    parts[_own_part(command, commands)] += own
    parts[ROWS] += left - own
    state[S_MARK] = tick


@njit(cache=True)
def _note(
    tick: int, command: int, bank: int, row: int, for_refresh: bool, state: NDArray[np.int64],
    log: NDArray[np.int64],  # [entry, (tick, command, bank, row, for refresh)]
) -> None:  # fmt: skip
    if log.shape[0] == 0:
        return
    entry = state[S_LOGGED]
    log[entry, 0] = tick
    log[entry, 1] = command
    log[entry, 2] = bank
    log[entry, 3] = row
    log[entry, 4] = for_refresh
    state[S_LOGGED] += 1


@njit(cache=True)
def issue(
    tick: int,
    command: int,
    bank: int,
    row: int,
    count: int,
    for_refresh: bool,
    commands: NDArray[np.int64],
    gaps: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    parts: NDArray[np.int64],
    log: NDArray[np.int64],
) -> None:
    """Issue a command at `tick`, and `count` - 1 more of it at its cadence."""
    cadence = _cadence_ck(command, commands, gaps)
    last = tick + (count - 1) * cadence
    is_miss = _act_on_rows(tick, command, bank, row, count, commands, state, rows)
    _account(tick, command, is_miss, for_refresh, cadence, commands, state, parts)
    _account(last, command, False, for_refresh, cadence, commands, state, parts)
    _make_ready(last, command, bank, commands, gaps, ready)
    _note(tick, command, bank, row, for_refresh, state, log)
    counts[command] += count
    state[S_LAST] = last
    state[S_FINISH] = max(state[S_FINISH], last + commands[command, DONE_CK])
    if commands[command, ROLE] == MODE:
        state[S_MODE_END] = last + gaps[0, command].max()


@njit(cache=True)
def _repetitions(
    tick: int,
    command: int,
    left: int,
    limit: int,
    params: NDArray[np.int64],
    commands: NDArray[np.int64],
    gaps: NDArray[np.int64],
    state: NDArray[np.int64],
    log: NDArray[np.int64],
) -> int:
    """How many of the repetitions left can issue at the cadence before anything comes between."""
    if log.shape[0] > 0 or params[P_SKIP] == 0 or commands[command, CLOSES]:
        return 1
    until = limit
    if params[P_REFRESH_CK] > 0:
        until = min(until, state[S_DUE] - 1)
    return int(min(left, (until - tick) // _cadence_ck(command, commands, gaps) + 1))


@njit(cache=True)
def _step_program(
    count: int, issued: int, length: int, state: NDArray[np.int64], parts: NDArray[np.int64],
    command: int, commands: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Move on in the program; True when it is over and its time is all accounted for."""
    state[S_ISSUED] += issued
    if state[S_ISSUED] < count:
        return False
    state[S_ISSUED] = 0
    state[S_POSITION] += 1
    if state[S_POSITION] < length:
        return False
    state[S_POSITION] = 0
    state[S_REPEATS] -= 1
    if state[S_REPEATS] > 0:
        return False
    state[S_RUNNING] = 0
    parts[_own_part(command, commands)] += state[S_FINISH] - state[S_MARK]
    state[S_BUSY] += state[S_FINISH] - state[S_START]
    return True


@njit(cache=True)
def advance(
    program: NDArray[np.int64],  # [macro, (command, count, row, bank)]
    params: NDArray[np.int64],
    commands: NDArray[np.int64],
    gaps: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
    parts: NDArray[np.int64],
    log: NDArray[np.int64],
    limit: int,
) -> int:
    """Issue all commands due by tick `limit`, up to the end of the program; returns a status.

    Without a program only refreshes issue.
    """
    command, count, row, bank, tick, needed = 0, 0, 0, 0, 0, 0
    while True:
        if log.shape[0] > 0 and state[S_LOGGED] >= log.shape[0]:
            return LOG_FULL
        running = state[S_RUNNING] == 1
        if running:
            macro = program[state[S_POSITION]]
            command, count, bank = macro[COMMAND], macro[COUNT], macro[BANK]
            row = macro[ROW] + state[S_ROW_BASE]
            needed, tick = next_command(command, bank, row, params, commands, state, ready, rows)
            tick = max(tick, state[S_START])
        if params[P_REFRESH_CK] > 0 and (not running or state[S_DUE] <= tick):
            needed, tick = next_command(
                params[P_REFRESH], 0, CLOSED, params, commands, state, ready, rows
            )
            tick = max(tick, state[S_DUE])
            if tick > limit:
                return AT_LIMIT
            issue(tick, needed, 0, CLOSED, 1, True, commands, gaps, state, ready, rows, counts,
                  parts, log)  # fmt: skip
            if needed == params[P_REFRESH]:
                state[S_DUE] += params[P_REFRESH_CK]
                state[S_REFRESH_END] = tick + gaps[:, needed, params[P_ACT_ALL]].max()
            continue
        if not running or tick > limit:
            return AT_LIMIT
        issued = 1
        if needed == command:
            issued = _repetitions(
                tick, command, count - state[S_ISSUED], limit, params, commands, gaps, state, log
            )
        issue(tick, needed, bank, row, issued, False, commands, gaps, state, ready, rows, counts,
              parts, log)  # fmt: skip
        if needed == command and _step_program(
            count, issued, program.shape[0], state, parts, command, commands
        ):
            return DONE
