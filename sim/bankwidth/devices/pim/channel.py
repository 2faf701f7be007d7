"""The readable face of one channel of computing banks."""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import NO_COMMAND, ROLES, PimConfig
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SimulationError
from bankwidth.spec.pim import MAX_QUEUE

# What the ticks of a running program are owed to; they sum to `busy_ck`.
PARTS: Final = ("compute", "load", "drain", "rows", "modes", "refresh")
_LOG_ENTRIES: Final = 1024
PLAIN_QUEUE: Final = 32  # commands that the controller sees at once of plain traffic
_CONTROLLER_WORDS: Final = 6
# Arrays that are a channel's own; a clone gets copies.
_OWN: Final = (
    "_params", "_state", "_ready", "_history", "_queue", "_rows", "_counts", "_parts", "_log",
)  # fmt: skip


class LogEntry(NamedTuple):
    """One command as it was issued; `bank` is -1 when it names none."""

    tick: int
    command: str
    bank: int
    row: int
    for_refresh: bool


class PimChannel:
    """Runs one program at a time, in order; time is in ticks of the channel's own clock.

    `refresh=False` leaves refresh out, `skip=False` issues repeated commands one by one (the same
    result, slower). `log=True` keeps every command, and does not skip either.
    """

    def __init__(
        self, config: PimConfig, *, refresh: bool = True, skip: bool = True, log: bool = False
    ) -> None:
        from bankwidth.devices.pim import kernel, kernel_grouped  # numba only when something runs

        self.config = config
        self._kernel = kernel
        self._grouped = kernel_grouped
        num_commands = len(config.names)
        self._params = _params(config, refresh=refresh, skip=skip)
        self._state = np.zeros(kernel.NUM_STATE, dtype=np.int64)
        self._state[kernel.S_LAST] = -1
        self._state[kernel.S_LAST_ROW] = -1
        self._state[kernel.S_ACCESS] = kernel.FIRST_ACCESS
        self._state[kernel.S_DUE] = config.refresh_ck // config.controller.ranks
        self._ready = np.zeros((config.banks + 1, num_commands), dtype=np.int64)
        num_windows, longest = len(config.windows), int(config.windows[:, 1].max(initial=1))
        self._history = np.full((num_windows, config.banks, longest), -kernel.NEVER, dtype=np.int64)
        self._queue = np.zeros((MAX_QUEUE, 4), dtype=np.int64)
        self._rows = np.zeros((3, config.banks), dtype=np.int64)
        self._rows[kernel.OPEN_ROW] = kernel.CLOSED
        self._counts = np.zeros(num_commands, dtype=np.int64)
        self._parts = np.zeros(kernel.NUM_PARTS, dtype=np.int64)
        self._log = np.zeros((_LOG_ENTRIES if log else 0, 5), dtype=np.int64)
        self._macros = np.zeros((0, 4), dtype=np.int64)
        self._now_ck = 0
        self._finish_ck: int | None = None  # of a program whose commands are all issued
        self._is_running = False
        self._is_grouped = False  # the controller of the program that runs

    @property
    def now_ck(self) -> int:
        return self._now_ck

    @property
    def is_running(self) -> bool:
        return self._is_running

    @property
    def counts(self) -> dict[str, int]:
        """Commands issued, by name."""
        return {name: int(n) for name, n in zip(self.config.names, self._counts, strict=True)}

    @property
    def row_hits(self) -> int:
        """Column commands on a row that an earlier column command had used since it was opened."""
        return int(self._state[self._kernel.S_HITS])

    @property
    def row_misses(self) -> int:
        """Column commands that were the first on their row since it was opened."""
        return int(self._state[self._kernel.S_MISSES])

    @property
    def busy_ck(self) -> int:
        """Ticks from start to finish, over all programs that are over."""
        return int(self._state[self._kernel.S_BUSY])

    @property
    def parts_ck(self) -> dict[str, int]:
        """`busy_ck` by what it is owed to: see PARTS; `rows` is opening and closing rows."""
        return {name: int(n) for name, n in zip(PARTS, self._parts, strict=True)}

    @property
    def refresh_blocked_ck(self) -> int:
        """Ticks of running programs during which refresh held the channel."""
        return int(self._parts[self._kernel.REFRESHING])

    @property
    def open_ck(self) -> int:
        """Ticks with at least one row open, up to now."""
        closed_before = int(self._state[self._kernel.S_OPEN_CK])
        if self._state[self._kernel.S_OPEN_BANKS] == 0:
            return closed_before
        return closed_before + max(0, self._now_ck - int(self._state[self._kernel.S_OPEN_SINCE]))

    @property
    def skipped(self) -> int:
        """Commands that were issued as repetitions of the one before, without being simulated."""
        return int(self._state[self._kernel.S_SKIPPED])

    @property
    def log(self) -> list[LogEntry]:
        """Commands in the order they were issued; empty unless asked for."""
        used = self._log[: self._state[self._kernel.S_LOGGED]]
        names = self.config.names
        return [LogEntry(int(t), names[c], int(b), int(r), bool(f)) for t, c, b, r, f in used]

    def start(self, program: ChannelProgram, *, first_row: int = 0, at_ck: int = 0) -> None:
        """Give the channel its next program, at `at_ck` or now, whichever is later.

        Raises SimulationError while another one runs.
        """
        if self._is_running:
            raise SimulationError(f"a program started at {at_ck} ck while another one was running")
        if at_ck > self._now_ck:
            self.advance(at_ck)
        kernel = self._kernel
        self._macros = _placed(program.macros, first_row, self.config.rows)
        for index, value in (
            (kernel.S_POSITION, 0),
            (kernel.S_ISSUED, 0),
            (kernel.S_REPEATS, program.repeat),
            (kernel.S_ROW_BASE, first_row),
            (kernel.S_START, self._now_ck),
            (kernel.S_MARK, self._now_ck),
            (kernel.S_FLOOR, self._now_ck),
            (kernel.S_QUEUED, 0),
            (kernel.S_FED, 0),
            (kernel.S_ENTERS, self._now_ck),
        ):
            self._state[index] = value
        self._set_controller(program.is_plain)
        self._is_running = True
        is_empty = len(self._macros) == 0 or program.repeat == 0
        self._state[kernel.S_RUNNING] = not is_empty
        self._finish_ck = self._now_ck if is_empty else None

    def advance(self, until_ck: int) -> bool:
        """Run to the end of the program or to `until_ck`, whichever is first; True at the end.

        `now_ck` is then that tick. Raises SimulationError for a time that has passed.
        """
        if until_ck < self._now_ck:
            raise SimulationError(f"advance to {until_ck} ck, but it is {self._now_ck} ck already")
        if self._finish_ck is None and self._issue(until_ck) == self._kernel.DONE:
            self._finish_ck = int(self._state[self._kernel.S_FINISH])
        if not self._is_running or self._finish_ck is None or self._finish_ck > until_ck:
            self._now_ck = until_ck
            return False
        self._now_ck, self._finish_ck, self._is_running = self._finish_ck, None, False
        return True

    def run(self, program: ChannelProgram, *, first_row: int = 0) -> int:
        """Start a program and run it to its end; the ticks it took."""
        start_ck = self._now_ck
        self.start(program, first_row=first_row)
        self.advance(int(np.iinfo(np.int64).max // 4))
        return self._now_ck - start_ck

    def clone(self) -> PimChannel:
        """A channel with the same past that goes its own way from here."""
        twin = copy.copy(self)
        for name in _OWN:
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def _issue(self, until_ck: int) -> int:
        is_grouped = self._is_grouped and self._state[self._kernel.S_RUNNING]
        advance = self._grouped.advance if is_grouped else self._kernel.advance
        while True:
            status = advance(
                self._macros,
                self._params,
                self.config.commands,
                self.config.scopes,
                self.config.gaps,
                self.config.windows,
                self.config.in_window,
                self._state,
                self._ready,
                self._history,
                self._rows,
                self._queue,
                self._counts,
                self._parts,
                self._log,
                until_ck,
            )
            if status == self._kernel.WRONG_ACCESS:
                raise SimulationError(self._wrong_access())
            if status != self._kernel.LOG_FULL:
                return int(status)
            self._log = np.concatenate([self._log, np.zeros_like(self._log)])

    def _set_controller(self, is_plain: bool) -> None:
        """Plain traffic goes through a controller that looks ahead, whatever programs need."""
        kernel, controller = self._kernel, self.config.controller
        self._is_grouped = controller.order == "grouped" and not is_plain
        for index, value in (
            (kernel.P_QUEUE, PLAIN_QUEUE if is_plain else controller.queue),
            (kernel.P_FIRST_READY, is_plain or controller.order == "first_ready"),
            (kernel.P_ROWS_AHEAD, is_plain or controller.rows_ahead),
            (kernel.P_TWO_BUSES, controller.row_and_column),
            (kernel.P_COMPLETE, controller.barrier == "complete"),
            (kernel.P_HITS_FIRST, controller.hits_first and not is_plain),
        ):
            self._params[index] = value

    def _wrong_access(self) -> str:
        """What to say of a program that is in the wrong mode."""
        access = self.config.accesses[self._state[self._kernel.S_ACCESS]]
        names = {name for i, name in enumerate(self.config.names) if self._cannot_issue(i)}
        used = [self.config.names[c] for c in self._macros[:, 0] if c >= 0]
        wrong = next((name for name in used if name in names), used[0])
        return f"{wrong} cannot issue in {access} access, and no command enters the one it needs"

    def _cannot_issue(self, command: int) -> bool:
        needed = int(self.config.codes("access")[command])
        is_other = needed not in (0, self._state[self._kernel.S_ACCESS])
        return is_other and self._params[self._kernel.P_ENTER + needed] < 0


def _placed(macros: NDArray[np.int64], first_row: int, rows: int) -> NDArray[np.int64]:
    """Macros whose negative rows are told by their end: those stay where the program moves."""
    placed = np.array(macros, dtype=np.int64)
    row = placed[:, 2]
    placed[:, 2] = np.where(row < 0, rows + row - first_row, row)
    return placed


def _params(config: PimConfig, *, refresh: bool, skip: bool) -> NDArray[np.int64]:
    """Settings of the kernel; those of the controller are filled in when a program starts."""
    fixed = (config.with_role("refresh", "all"), config.refresh_ck if refresh else 0, int(skip))
    entering = [_entering(config, access) for access in range(len(config.accesses))]
    lapse_ck = config.refresh_ck // config.controller.ranks
    return np.array([*fixed, *[0] * _CONTROLLER_WORDS, *entering, lapse_ck], dtype=np.int64)


def _entering(config: PimConfig, access: int) -> int:
    """The command of role mode that leads to an access; without `enters` it toggles."""
    is_mode = config.codes("role") == ROLES.index("mode")
    enters = config.codes("enters")
    able = np.flatnonzero(is_mode & ((enters == access) | (enters == 0)))
    return int(able[0]) if access and len(able) else NO_COMMAND
