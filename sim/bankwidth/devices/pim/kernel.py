"""One channel of computing banks, command by command.

A program is an array of macro commands in order; each is a column or register command (or an
explicit activate or precharge) repeated `count` times, or a barrier. Before each command the engine
issues what it needs: a mode change, a precharge, an activate. Every command issues at the first
tick that the tables allow; a refresh that is due goes first, and the row is opened again after it.

Two controllers share everything else: `_advance_in_order` sees one command at a time and passes
over repetitions in one step; `_advance_queued` sees the next commands of a queue, opens rows ahead,
and takes the oldest command that is ready.

Only numbers in and out; the readable face is channel.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# program[:, ...]
COMMAND, COUNT, ROW, BANK = range(4)
BARRIER = -2  # in the place of a command
# commands[:, ...]
ROLE, BANKS, ACCESS, MOVES, CLOSES, DONE_CK, PICKS, ENTERS, OPENER, CLOSER = range(10)
ACTIVATE, PRECHARGE, REFRESH, MODE, COLUMN, REGISTER = range(6)
NO_BANK, ONE_BANK, ALL_BANKS, SOME_BANKS = range(4)
ANY_ACCESS, FIRST_ACCESS = range(2)
MOVES_NONE, MOVES_IN, MOVES_OUT = range(3)
# windows[:, ...]
W_SCOPE, W_COUNT, W_TICKS = range(3)
# params[...], then per access the command that enters it
(
    P_REFRESH, P_REFRESH_CK, P_SKIP, P_QUEUE, P_FIRST_READY, P_ROWS_AHEAD, P_TWO_BUSES, P_COMPLETE,
    P_HITS_FIRST,
) = range(9)  # fmt: skip
P_ENTER = 9
# state[...]
(
    S_LAST, S_ACCESS, S_POSITION, S_ISSUED, S_REPEATS, S_ROW_BASE, S_START, S_DUE, S_FINISH, S_MARK,
    S_HITS, S_MISSES, S_OPEN_BANKS, S_OPEN_SINCE, S_OPEN_CK, S_REFRESH_END, S_MODE_END, S_RUNNING,
    S_BUSY, S_LOGGED, S_FLOOR, S_LAST_ROW, S_QUEUED, S_FED, S_SKIPPED, S_OWN,
    S_ENTERS,
) = range(27)  # fmt: skip
NUM_STATE = 27
# rows[...]
OPEN_ROW, FRESH, OPENED_BY = range(3)  # OPENED_BY: the activate, while a row is open
CLOSED = -1
# parts[...]: what the time of a program is owed to
COMPUTE, LOAD, DRAIN, ROWS, MODES, REFRESHING = range(6)
NUM_PARTS = 6
# status
DONE, AT_LIMIT, LOG_FULL, WRONG_ACCESS = range(4)
NEVER = 1 << 60


@njit(cache=True)
def touches(command: int, bank: int, other: int, commands: NDArray[np.int64]) -> bool:
    """Whether a command addressed to `bank` touches bank `other`."""
    picks = commands[command, PICKS]
    return bool((bank & picks) == (other & picks))


@njit(cache=True)
def first_bank(command: int, bank: int, commands: NDArray[np.int64]) -> int:
    """Where a loop over the banks that a command touches begins..."""
    return bank if commands[command, BANKS] == ONE_BANK else 0


@njit(cache=True)
def last_bank(command: int, bank: int, banks: int, commands: NDArray[np.int64]) -> int:
    """... and where it ends."""
    kind = commands[command, BANKS]
    if kind == NO_BANK:
        return 0
    return bank + 1 if kind == ONE_BANK else banks


@njit(cache=True)
def _all_bits(banks: int) -> int:
    """All bits that a bank's number may have."""
    bits = 1
    while bits < banks:
        bits <<= 1
    return bits - 1


@njit(cache=True)
def rest_of(command: int, banks: int, commands: NDArray[np.int64]) -> int:
    """Bits of a bank's number that a command's address leaves open.

    With `banks` in all, the banks that it touches are `start | part` for every `part` of these
    bits, see `next_part`; a number that no bank has is left out.
    """
    if commands[command, BANKS] == ONE_BANK:
        return 0
    return int(_all_bits(banks) & ~commands[command, PICKS])


@njit(cache=True)
def start_of(command: int, bank: int, commands: NDArray[np.int64]) -> int:
    """The lowest bank that a command touches."""
    kind = commands[command, BANKS]
    if kind == ONE_BANK:
        return bank
    return int(bank & commands[command, PICKS]) if kind == SOME_BANKS else 0


@njit(cache=True)
def next_part(part: int, rest: int) -> int:
    """The part of the bits `rest` that follows; 0 after the last."""
    return (part - rest) & rest


@njit(cache=True)
def earliest_ck(
    command: int,
    bank: int,
    params: NDArray[np.int64],
    commands: NDArray[np.int64],
    state: NDArray[np.int64],
    ready: NDArray[np.int64],  # [bank..., channel; command]
) -> int:
    """First tick at which every gap to earlier commands is kept and the command bus is free."""
    banks = ready.shape[0] - 1
    role = commands[command, ROLE]
    is_column = role == COLUMN or role == REGISTER
    last = state[S_LAST] if is_column or params[P_TWO_BUSES] == 0 else state[S_LAST_ROW]
    tick = max(last + 1, ready[banks, command])
    if commands[command, BANKS] == NO_BANK:
        return int(tick)
    if commands[command, BANKS] == ALL_BANKS:
        for b in range(banks):
            tick = max(tick, ready[b, command])
        return int(tick)
    start, rest, part = start_of(command, bank, commands), rest_of(command, banks, commands), 0
    while True:
        b = start | part
        if b < banks and ready[b, command] > tick:
            tick = ready[b, command]
        part = next_part(part, rest)
        if part == 0:
            return int(tick)


@njit(cache=True)
def _all_are(
    command: int, bank: int, row: int, commands: NDArray[np.int64], rows: NDArray[np.int64]
) -> bool:
    """Whether `row` is open, or nothing if it is CLOSED, in all banks that a command touches."""
    banks = rows.shape[1]
    if commands[command, BANKS] == NO_BANK:
        return True
    if commands[command, BANKS] == ALL_BANKS:
        for b in range(banks):
            if rows[OPEN_ROW, b] != row:
                return False
        return True
    start, rest, part = start_of(command, bank, commands), rest_of(command, banks, commands), 0
    while True:
        b = start | part
        if b < banks and rows[OPEN_ROW, b] != row:
            return False
        part = next_part(part, rest)
        if part == 0:
            return True


@njit(cache=True)
def _needed(
    command: int, bank: int, row: int, commands: NDArray[np.int64], rows: NDArray[np.int64]
) -> int:
    """The command itself, or the row command that must come before it.

    A column command needs its row open; an activate and a refresh need closed banks.
    """
    role = commands[command, ROLE]
    if role == REGISTER or role == MODE or role == PRECHARGE:
        return command
    if _all_are(command, bank, row if role == COLUMN else CLOSED, commands, rows):
        return command
    if role == COLUMN:
        opener = commands[command, OPENER]
        if _all_are(opener, bank, CLOSED, commands, rows):
            return int(opener)
    return int(commands[command, CLOSER])


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
    AiM controller. The command is -1 where nothing enters the mode.
    """
    needed = _needed(command, bank, row, commands, rows)
    tick = earliest_ck(needed, bank, params, commands, state, ready)
    access = commands[needed, ACCESS]
    if access != ANY_ACCESS and access != state[S_ACCESS]:
        mode = params[P_ENTER + access]
        if mode < 0:
            return -1, tick
        return int(mode), max(tick, earliest_ck(mode, bank, params, commands, state, ready))
    return needed, tick


@njit(cache=True)
def _cadence_ck(command: int, commands: NDArray[np.int64], gaps: NDArray[np.int64]) -> int:
    """Ticks between repetitions of a command on the same banks."""
    cadence = max(1, gaps[0, command, command])
    if commands[command, BANKS] != NO_BANK:
        for scope in range(1, gaps.shape[0]):
            cadence = max(cadence, gaps[scope, command, command])
    return int(cadence)


@njit(cache=True)
def _make_ready(
    tick: int, command: int, bank: int, commands: NDArray[np.int64], scopes: NDArray[np.int64],
    gaps: NDArray[np.int64], ready: NDArray[np.int64],
) -> None:  # fmt: skip
    """Raise the first tick of every command that must wait for this one."""
    banks = ready.shape[0] - 1
    for after in range(commands.shape[0]):
        ready[banks, after] = max(ready[banks, after], tick + gaps[0, command, after])
    if commands[command, BANKS] == NO_BANK:
        return
    picks = commands[command, PICKS]
    is_one = commands[command, BANKS] == ONE_BANK
    for scope in range(1, gaps.shape[0]):
        common = scopes[scope] & picks  # what tells the instances apart that it touches
        is_own = is_one and scope == 1
        start = bank if is_own else bank & common
        rest = 0 if is_own else _all_bits(banks) & ~common
        for after in range(commands.shape[0]):
            gap = gaps[scope, command, after]
            if gap == 0:  # most pairs have no row of this scope
                continue
            part = 0
            while True:
                b = start | part
                if b < banks:
                    ready[b, after] = max(ready[b, after], tick + gap)
                part = next_part(part, rest)
                if part == 0:
                    break


@njit(cache=True)
def _note_windows(
    tick: int, command: int, bank: int, commands: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], history: NDArray[np.int64],  # [window, instance, newest first]
    ready: NDArray[np.int64],
) -> None:  # fmt: skip
    """The command that is `count` back in a window tells when the next one may issue."""
    banks = ready.shape[0] - 1
    for w in range(windows.shape[0]):
        if in_window[w, command] == 0:
            continue
        scope, count = windows[w, W_SCOPE], windows[w, W_COUNT]
        common = scope & commands[command, PICKS]
        for b in range(banks):
            if (b & common) != (bank & common):
                continue
            if (b & ~scope) == 0:  # the first bank of an instance stands for it
                for i in range(count - 1, 0, -1):
                    history[w, b, i] = history[w, b, i - 1]
                history[w, b, 0] = tick
            until = history[w, b & scope, count - 1] + windows[w, W_TICKS]
            for after in range(commands.shape[0]):
                if in_window[w, after] == 1:
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
    banks = rows.shape[1]
    first, last = first_bank(command, bank, commands), last_bank(command, bank, banks, commands)
    is_miss = False
    if role == ACTIVATE or role == PRECHARGE:
        for b in range(first, last):
            if touches(command, bank, b, commands):
                _set_row(tick, b, row if role == ACTIVATE else CLOSED, state, rows)
                rows[OPENED_BY, b] = command
    elif role == COLUMN:
        for b in range(first, last):
            if touches(command, bank, b, commands):
                is_miss = is_miss or rows[FRESH, b] == 1
                rows[FRESH, b] = 0
                if commands[command, CLOSES]:
                    _set_row(tick, b, CLOSED, state, rows)
        state[S_MISSES] += is_miss
        state[S_HITS] += count - is_miss
    if commands[command, ENTERS] != ANY_ACCESS:
        state[S_ACCESS] = commands[command, ENTERS]
    elif role == MODE:
        state[S_ACCESS] = FIRST_ACCESS + 1 if state[S_ACCESS] == FIRST_ACCESS else FIRST_ACCESS
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
    _make_ready(last, command, bank, commands, scopes, gaps, ready)
    if windows.shape[0] > 0:
        _note_windows(last, command, bank, commands, windows, in_window, history, ready)
    _note(tick, command, bank, row, for_refresh, state, log)
    if not for_refresh:
        state[S_OWN] = command
    counts[command] += count
    state[S_SKIPPED] += count - 1
    role = commands[command, ROLE]
    if params[P_TWO_BUSES] == 1 and role != COLUMN and role != REGISTER:
        state[S_LAST_ROW] = last
    else:
        state[S_LAST] = last
    state[S_FINISH] = max(state[S_FINISH], last + commands[command, DONE_CK])
    if role == MODE:
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
def _finish(
    commands: NDArray[np.int64], state: NDArray[np.int64], parts: NDArray[np.int64]
) -> None:
    """The program is over; what is left of its time is owed to its last command."""
    state[S_RUNNING] = 0
    state[S_FINISH] = max(state[S_FINISH], state[S_MARK])
    parts[_own_part(state[S_OWN], commands)] += state[S_FINISH] - state[S_MARK]
    state[S_MARK] = state[S_FINISH]
    state[S_BUSY] += state[S_FINISH] - state[S_START]


@njit(cache=True)
def _step_position(length: int, state: NDArray[np.int64]) -> bool:
    """Move on to the next macro; True behind the last repetition's last."""
    state[S_ISSUED] = 0
    state[S_POSITION] += 1
    if state[S_POSITION] == length:
        state[S_POSITION] = 0
        state[S_REPEATS] -= 1
    return bool(state[S_REPEATS] == 0)


@njit(cache=True)
def _pass_barriers(
    program: NDArray[np.int64], params: NDArray[np.int64], state: NDArray[np.int64]
) -> bool:
    """Step over barriers that are next in line; True if nothing is left of the program."""
    while program[state[S_POSITION], COMMAND] == BARRIER:
        if params[P_COMPLETE] == 1:
            state[S_FLOOR] = state[S_FINISH]
        if _step_position(program.shape[0], state):
            return True
    return False


@njit(cache=True)
def feed_one(
    program: NDArray[np.int64], queue: NDArray[np.int64], state: NDArray[np.int64]
) -> None:
    """Put the command that follows, or a barrier, at the end of the queue."""
    macro = program[state[S_POSITION]]
    place = state[S_QUEUED]
    queue[place, COMMAND] = macro[COMMAND]
    queue[place, ROW] = macro[ROW] + state[S_ROW_BASE]
    queue[place, BANK] = macro[BANK]
    state[S_QUEUED] += 1
    state[S_ISSUED] += 1
    if macro[COMMAND] == BARRIER or state[S_ISSUED] >= macro[COUNT]:
        state[S_FED] = int(_step_position(program.shape[0], state))


@njit(cache=True)
def _feed(
    program: NDArray[np.int64], queue: NDArray[np.int64], params: NDArray[np.int64],
    state: NDArray[np.int64],
) -> None:  # fmt: skip
    """Fill the queue with the commands that follow, as long as it has room."""
    while state[S_QUEUED] < params[P_QUEUE] and state[S_FED] == 0:
        feed_one(program, queue, state)


@njit(cache=True)
def _take(place: int, queue: NDArray[np.int64], state: NDArray[np.int64]) -> None:
    """Remove a command from the queue."""
    for i in range(place, state[S_QUEUED] - 1):
        for word in range(queue.shape[1]):
            queue[i, word] = queue[i + 1, word]
    state[S_QUEUED] -= 1


@njit(cache=True)
def _is_wanted(
    place: int, command: int, bank: int, commands: NDArray[np.int64], rows: NDArray[np.int64],
    queue: NDArray[np.int64], queued: int,
) -> bool:  # fmt: skip
    """Whether a command of the queue, other than that at `place`, uses a row that would be closed.

    The oldest command may close any row: it must not wait for those behind it.
    """
    if place == 0:
        return False
    for i in range(queued):
        other = queue[i, COMMAND]
        if other == BARRIER or commands[other, ROLE] != COLUMN:
            continue
        if not _all_are(other, queue[i, BANK], queue[i, ROW], commands, rows):
            continue
        for b in range(rows.shape[1]):
            if touches(command, bank, b, commands) and touches(other, queue[i, BANK], b, commands):
                return True
    return False


@njit(cache=True)
def _waits_for_hits(
    place: int, commands: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
    queued: int,
) -> bool:  # fmt: skip
    """Whether a column command of the queue, addressed to the same bank, can use an open row.

    The address of a command to all banks is bank 0. The oldest command waits for none.
    """
    if place == 0 or commands[queue[place, COMMAND], BANKS] == NO_BANK:
        return False
    for i in range(queued):
        other, bank = queue[i, COMMAND], queue[i, BANK]
        if other == BARRIER or commands[other, ROLE] != COLUMN:
            continue
        if max(bank, 0) == max(queue[place, BANK], 0):
            if _all_are(other, bank, queue[i, ROW], commands, rows):
                return True
    return False


@njit(cache=True)
def _choose(
    params: NDArray[np.int64], commands: NDArray[np.int64], state: NDArray[np.int64],
    ready: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
) -> tuple[int, int, int]:  # fmt: skip
    """(place in the queue, command, tick) of what issues next: the oldest of the first to be ready.

    The command is -1 where one needs a mode that nothing enters.
    """
    best, best_command, best_tick = -1, -1, NEVER
    is_behind = False  # a barrier, or in order another column command
    soonest = min(state[S_LAST], state[S_LAST_ROW] if params[P_TWO_BUSES] == 1 else NEVER) + 1
    soonest = max(soonest, state[S_START])
    for i in range(state[S_QUEUED]):
        command, row, bank = queue[i, COMMAND], queue[i, ROW], queue[i, BANK]
        if command == BARRIER:
            is_behind = True
            continue
        is_same = i > 0 and command == queue[i - 1, COMMAND] and bank == queue[i - 1, BANK]
        if is_same and row == queue[i - 1, ROW]:
            continue  # ready no sooner than the one before it
        needed, tick = next_command(command, bank, row, params, commands, state, ready, rows)
        tick = max(tick, state[S_START])
        if needed < 0 or commands[needed, ROLE] == MODE:
            if i == 0:
                return i, needed, max(tick, state[S_FLOOR])
            continue  # only the oldest changes the mode
        role = commands[needed, ROLE]
        is_row = role == ACTIVATE or role == PRECHARGE
        may_go = not is_behind or (is_row and params[P_ROWS_AHEAD] == 1)
        is_fence = params[P_FIRST_READY] == 0 or commands[command, ENTERS] != ANY_ACCESS
        is_behind = is_behind or is_fence
        if not is_row:
            tick = max(tick, state[S_FLOOR])
        if tick >= best_tick or not may_go:
            continue
        if role == PRECHARGE and _is_wanted(
            i, needed, bank, commands, rows, queue, state[S_QUEUED]
        ):
            continue
        if params[P_HITS_FIRST] == 1 and role == REGISTER:
            if _waits_for_hits(i, commands, rows, queue, state[S_QUEUED]):
                continue
        best, best_command, best_tick = i, needed, tick
        if tick <= soonest:
            break
    return best, best_command, best_tick


@njit(cache=True)
def _refresh_first(
    tick: int, limit: int, params: NDArray[np.int64], commands: NDArray[np.int64],
    scopes: NDArray[np.int64], gaps: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    history: NDArray[np.int64], rows: NDArray[np.int64], counts: NDArray[np.int64],
    parts: NDArray[np.int64], log: NDArray[np.int64],
) -> int:  # fmt: skip
    """Issue what a refresh due by `tick` needs, or it: 1; 0 if none is due, -1 at the limit."""
    if params[P_REFRESH_CK] == 0 or state[S_DUE] > tick:
        return 0
    refresh = params[P_REFRESH]
    needed, at = next_command(refresh, 0, CLOSED, params, commands, state, ready, rows)
    at = max(at, state[S_DUE])
    if at > limit:
        return -1
    issue(at, needed, 0, CLOSED, 1, True, params, commands, scopes, gaps, windows, in_window,
          state, ready, history, rows, counts, parts, log)  # fmt: skip
    if needed == refresh:
        state[S_DUE] += params[P_REFRESH_CK]
        state[S_REFRESH_END] = at + gaps[:, refresh].max()
    return 1


@njit(cache=True)
def _goes_before_refresh(
    tick: int, needed: int, params: NDArray[np.int64], commands: NDArray[np.int64],
    state: NDArray[np.int64], ready: NDArray[np.int64], rows: NDArray[np.int64],
) -> bool:  # fmt: skip
    """Whether a command on a column bus of its own issues while a refresh that is due must wait."""
    if needed < 0 or params[P_TWO_BUSES] == 0 or params[P_REFRESH_CK] == 0:
        return False
    role = commands[needed, ROLE]
    if (role != COLUMN and role != REGISTER) or state[S_DUE] > tick:
        return False
    refresh = params[P_REFRESH]
    _, at = next_command(refresh, 0, CLOSED, params, commands, state, ready, rows)
    return bool(tick < max(at, state[S_DUE]))


@njit(cache=True)
def _advance_queued(
    program: NDArray[np.int64], params: NDArray[np.int64], commands: NDArray[np.int64],
    scopes: NDArray[np.int64], gaps: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    history: NDArray[np.int64], rows: NDArray[np.int64], queue: NDArray[np.int64],
    counts: NDArray[np.int64], parts: NDArray[np.int64], log: NDArray[np.int64], limit: int,
) -> int:  # fmt: skip
    """As `advance`, out of a queue."""
    while True:
        if log.shape[0] > 0 and state[S_LOGGED] >= log.shape[0]:
            return LOG_FULL
        _feed(program, queue, params, state)
        while state[S_QUEUED] > 0 and queue[0, COMMAND] == BARRIER:
            if params[P_COMPLETE] == 1:
                state[S_FLOOR] = state[S_FINISH]
            _take(0, queue, state)
            _feed(program, queue, params, state)
        if state[S_QUEUED] == 0:
            _finish(commands, state, parts)
            return DONE
        place, needed, tick = _choose(params, commands, state, ready, rows, queue)
        tick = max(tick, state[S_START])
        status = 0
        if not _goes_before_refresh(tick, needed, params, commands, state, ready, rows):
            status = _refresh_first(tick, limit, params, commands, scopes, gaps, windows, in_window,
                                    state, ready, history, rows, counts, parts, log)  # fmt: skip
        if status == 1:
            continue
        if status < 0 or tick > limit:
            return AT_LIMIT
        if needed < 0:
            return WRONG_ACCESS
        command, row, bank = queue[place, COMMAND], queue[place, ROW], queue[place, BANK]
        issue(tick, needed, bank, row, 1, False, params, commands, scopes, gaps, windows, in_window,
              state, ready, history, rows, counts, parts, log)  # fmt: skip
        if needed == command:
            is_last = state[S_QUEUED] == 1 and state[S_FED] == 1
            _take(place, queue, state)
            if is_last:
                _finish(commands, state, parts)
                return DONE


@njit(cache=True)
def _advance_in_order(
    program: NDArray[np.int64], params: NDArray[np.int64], commands: NDArray[np.int64],
    scopes: NDArray[np.int64], gaps: NDArray[np.int64], windows: NDArray[np.int64],
    in_window: NDArray[np.int64], state: NDArray[np.int64], ready: NDArray[np.int64],
    history: NDArray[np.int64], rows: NDArray[np.int64], counts: NDArray[np.int64],
    parts: NDArray[np.int64], log: NDArray[np.int64], limit: int,
) -> int:  # fmt: skip
    """As `advance`, one command after the other."""
    while True:
        if log.shape[0] > 0 and state[S_LOGGED] >= log.shape[0]:
            return LOG_FULL
        if _pass_barriers(program, params, state):
            _finish(commands, state, parts)
            return DONE
        macro = program[state[S_POSITION]]
        command, bank, row = macro[COMMAND], macro[BANK], macro[ROW] + state[S_ROW_BASE]
        needed, tick = next_command(command, bank, row, params, commands, state, ready, rows)
        tick = max(tick, state[S_START], state[S_FLOOR])
        status = _refresh_first(tick, limit, params, commands, scopes, gaps, windows, in_window,
                                state, ready, history, rows, counts, parts, log)  # fmt: skip
        if status == 1:
            continue
        if status < 0 or tick > limit:
            return AT_LIMIT
        if needed < 0:
            return WRONG_ACCESS
        count = 1
        if needed == command:
            left = macro[COUNT] - state[S_ISSUED]
            count = _repetitions(tick, command, left, limit, params, commands, gaps, state, log)
        issue(tick, needed, bank, row, count, False, params, commands, scopes, gaps, windows,
              in_window, state, ready, history, rows, counts, parts, log)  # fmt: skip
        if needed == command:
            state[S_ISSUED] += count
            if state[S_ISSUED] == macro[COUNT] and _step_position(program.shape[0], state):
                _finish(commands, state, parts)
                return DONE


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
    """Issue all commands due by tick `limit`, up to the end of the program; returns a status.

    Without a program only refreshes issue.
    """
    if state[S_RUNNING] == 0:
        while log.shape[0] == 0 or state[S_LOGGED] < log.shape[0]:
            if _refresh_first(NEVER, limit, params, commands, scopes, gaps, windows, in_window,
                              state, ready, history, rows, counts, parts, log) != 1:  # fmt: skip
                return AT_LIMIT
        return LOG_FULL
    if params[P_QUEUE] > 1:
        return _advance_queued(program, params, commands, scopes, gaps, windows, in_window, state,
                               ready, history, rows, queue, counts, parts, log, limit)  # fmt: skip
    return _advance_in_order(program, params, commands, scopes, gaps, windows, in_window, state,
                             ready, history, rows, counts, parts, log, limit)  # fmt: skip
