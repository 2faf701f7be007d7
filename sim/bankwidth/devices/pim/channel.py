"""The readable face of one channel of computing banks."""

from __future__ import annotations

import copy
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import NO_COMMAND, PimConfig
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SimulationError

# What the ticks of a running program are owed to; they sum to `busy_ck`.
PARTS: Final = ("compute", "load", "drain", "rows", "modes", "refresh")
_LOG_ENTRIES: Final = 1024


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
        from bankwidth.devices.pim import kernel  # numba only when something runs

        self.config = config
        self._kernel = kernel
        num_commands = len(config.names)
        self._params = _params(config, refresh=refresh, skip=skip)
        self._state = np.zeros(kernel.NUM_STATE, dtype=np.int64)
        self._state[kernel.S_LAST] = -1
        self._state[kernel.S_ACCESS] = kernel.ARRAY_ACCESS
        self._state[kernel.S_DUE] = config.refresh_ck
        self._ready = np.zeros((config.banks + 1, num_commands), dtype=np.int64)
        self._rows = np.zeros((2, config.banks), dtype=np.int64)
        self._rows[kernel.OPEN_ROW] = kernel.CLOSED
        self._counts = np.zeros(num_commands, dtype=np.int64)
        self._parts = np.zeros(kernel.NUM_PARTS, dtype=np.int64)
        self._log = np.zeros((_LOG_ENTRIES if log else 0, 5), dtype=np.int64)
        self._macros = np.zeros((0, 4), dtype=np.int64)
        self._now_ck = 0
        self._finish_ck: int | None = None  # of a program whose commands are all issued
        self._is_running = False

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
        self._macros = np.ascontiguousarray(program.macros, dtype=np.int64)
        for index, value in (
            (kernel.S_POSITION, 0),
            (kernel.S_ISSUED, 0),
            (kernel.S_REPEATS, program.repeat),
            (kernel.S_ROW_BASE, first_row),
            (kernel.S_START, self._now_ck),
            (kernel.S_MARK, self._now_ck),
        ):
            self._state[index] = value
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
        for name in ("_state", "_ready", "_rows", "_counts", "_parts", "_log"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def _issue(self, until_ck: int) -> int:
        while True:
            status = self._kernel.advance(
                self._macros,
                self._params,
                self.config.commands,
                self.config.gaps,
                self._state,
                self._ready,
                self._rows,
                self._counts,
                self._parts,
                self._log,
                until_ck,
            )
            if status != self._kernel.LOG_FULL:
                return int(status)
            self._log = np.concatenate([self._log, np.zeros_like(self._log)])


def _params(config: PimConfig, *, refresh: bool, skip: bool) -> NDArray[np.int64]:
    mode = config.with_role("mode", "none")
    roles = (
        config.with_role("activate", "one"),
        config.with_role("activate", "all"),
        config.with_role("precharge", "one"),
        config.with_role("precharge", "all"),
        config.with_role("refresh", "all"),
        NO_COMMAND if mode == NO_COMMAND else mode,
    )
    return np.array([*roles, config.refresh_ck if refresh else 0, int(skip)], dtype=np.int64)
