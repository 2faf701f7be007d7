"""What programs do to channels, remembered: equal programs on equal channels are run once.

What a program does depends on the state of its channel relative to now (clocks that still hold
something up, open rows, the access) and on when the next refresh is due. Such states come again and
again: layers of a model run the same programs on rows of their own. `RememberedChannels` looks the
outcome up, and follows a program's track (kernel_track.py) where it has to run. `SteppedChannels`
runs every command. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PARTS, PimChannel
from bankwidth.devices.pim.config import BARRIER, PimConfig
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SimulationError

Words = NDArray[np.int64]

MOST_OUTCOMES: Final = 200_000  # about 120 MB
MOST_BOUNDARIES: Final = 8_192  # of a track, each about 3 kB
TRACK_FROM: Final = 2  # runs of a program after which its track is laid
FEWEST_MACROS: Final = 8  # of a program with a track
ALL_CLOSED: Final = (-1,)
ROW, COMMAND = 2, 0  # columns of a program's macros
_NO_WORDS: Final[Words] = np.zeros((0, 0), dtype=np.int64)


class Totals:
    """Counters of several channels, or what a program added to those of one."""

    def __init__(self, config: PimConfig, words: Words) -> None:
        commands, parts = len(config.names), len(PARTS)
        numbers = [int(n) for n in words]
        self.counts = dict(zip(config.names, numbers[:commands], strict=True))
        self.parts_ck = dict(zip(PARTS, numbers[commands : commands + parts], strict=True))
        self.row_hits, self.row_misses, self.open_ck, self.skipped = numbers[commands + parts :]


@dataclass(slots=True, eq=False)
class Outcome:
    """What a pause and a program take, in ticks, and what they add to a channel's counters."""

    ticks: int
    parts_ck: dict[str, int]
    added: Words
    times: int = 0  # looked up, once for each channel, since the totals were last asked for
    core: int = 0
    due_ck: int = 0
    rows: tuple[int, ...] = ALL_CLOSED


class Channels(Protocol):
    """Runs programs on channels that are told apart by their states only."""

    def idle(self) -> Hashable:
        """The state at tick 0."""

    def run(
        self, state: Any, program: ChannelProgram, first_row: int, gap_ck: int, channels: int
    ) -> tuple[Hashable, Outcome]:
        """`channels` channels of a state wait `gap_ck` ticks and run a program; their next state.

        Raises SimulationError for a program that cannot go on.
        """

    def totals(self) -> Totals:
        """Over all channels and programs; `skipped` counts commands that were not simulated."""


def channels_of(config: PimConfig, *, skip: bool = True, refresh: bool = True) -> Channels:
    """Remembering ones, unless told not to or where the controller keeps more than they know."""
    if skip and config.controller.order in ("in_order", "first_ready"):
        return RememberedChannels(config, refresh=refresh)
    return SteppedChannels(config, refresh=refresh, skip=skip)


# ---- every command ------------------------------------------------------------------------------


class SteppedChannels:
    """Each state is a channel; nothing is remembered."""

    def __init__(self, config: PimConfig, *, refresh: bool = True, skip: bool = False) -> None:
        self._first = PimChannel(config, refresh=refresh, skip=skip)
        self._total = np.zeros(len(_counters(self._first)), dtype=np.int64)

    def idle(self) -> PimChannel:
        """A channel at tick 0."""
        return self._first.clone()

    def run(
        self, state: PimChannel, program: ChannelProgram, first_row: int, gap_ck: int, channels: int
    ) -> tuple[PimChannel, Outcome]:
        """As `Channels.run`."""
        channel, begun_ck = state.clone(), state.now_ck
        channel.start(program, first_row=first_row, at_ck=begun_ck + gap_ck)
        channel.advance(int(np.iinfo(np.int64).max // 4))
        added = _counters(channel) - _counters(state)
        self._total += added * channels
        ticks, parts_ck = channel.now_ck - begun_ck, Totals(channel.config, added).parts_ck
        return channel, Outcome(ticks=ticks, parts_ck=parts_ck, added=added)

    def totals(self) -> Totals:
        """As `Channels.totals`."""
        return Totals(self._first.config, self._total)


def _counters(channel: PimChannel) -> Words:
    counters = (*channel.counts.values(), *channel.parts_ck.values())
    more = (channel.row_hits, channel.row_misses, channel.open_ck, channel.skipped)
    return np.array([*counters, *more], dtype=np.int64)


# ---- remembered ---------------------------------------------------------------------------------


class State(NamedTuple):
    """A channel at the end of a program: its vector by number, and what the vector leaves out."""

    core: int
    due_ck: int  # ticks to the next refresh
    rows: tuple[int, ...]  # open in each bank; one number where all are the same


@dataclass(slots=True, eq=False)
class _Known:
    """A program by its contents; rows count from `first_row` of the one that it was made of."""

    index: int
    macros: Words
    repeat: int
    params: Words
    params_at_rest: Words  # without refresh
    may_have_track: bool
    runs: int = 0
    track: tuple[Words, Words] = field(default_factory=lambda: (_NO_WORDS, _NO_WORDS))


class _Placed(NamedTuple):
    """A program as it was handed over; `of` is kept so that its id stays its own."""

    known: _Known
    first_row: int
    rows: int
    of: ChannelProgram


class RememberedChannels:
    """States are vectors with a number; the outcome of each program on each of them is kept."""

    def __init__(self, config: PimConfig, *, refresh: bool = True) -> None:
        from bankwidth.devices.pim import kernel, kernel_track  # numba only when something runs

        self._config = config
        self._track_kernel, self._kernel = kernel_track, kernel
        self._resting = PimChannel(config, refresh=False)
        self._running = PimChannel(config, refresh=refresh)
        self._programs: dict[int, _Placed] = {}
        self._known: dict[Hashable, _Known] = {}
        self._outcomes: dict[Hashable, Outcome] = {}
        self._looked_up: list[Outcome] = []  # since the totals were last asked for
        self._cores: list[Words] = []
        self._numbers: dict[bytes, int] = {}
        channel = self._running
        history, banks = channel._history, config.banks
        self._rows_at = channel._ready.size + history.size
        self._after = np.zeros(self._rows_at + 2 * banks + kernel_track.NUM_WORDS, dtype=np.int64)
        counters = len(config.names) + len(PARTS) + kernel_track.NUM_ADDED
        self._added = np.zeros(counters, dtype=np.int64)
        self._total = np.zeros(counters, dtype=np.int64)
        self._tables = (
            config.commands, config.scopes, config.gaps, config.windows, config.in_window,
            channel._state, channel._ready, history, channel._rows, channel._queue,
            channel._counts, channel._parts, channel._log,
        )  # fmt: skip
        self._foreign = np.array([kernel_track.FOREIGN - b for b in range(banks)], dtype=np.int64)
        self._first = self._at_rest(channel, refresh=refresh)

    def idle(self) -> State:
        """All rows closed, nothing in the way."""
        return self._first

    def run(
        self, state: State, program: ChannelProgram, first_row: int, gap_ck: int, channels: int
    ) -> tuple[State, Outcome]:
        """As `Channels.run`."""
        placed = self._programs.get(id(program)) or self._place(program)
        first_row += placed.first_row
        rows = self._in_sight(state.rows, first_row, first_row + placed.rows)
        key = (placed.known.index, state.core, state.due_ck, gap_ck, rows)
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._simulate(placed.known, state, rows, gap_ck)
            self._total += outcome.added * channels
            if len(self._outcomes) < MOST_OUTCOMES:
                self._outcomes[key] = outcome
        else:
            if not outcome.times:
                self._looked_up.append(outcome)
            outcome.times += channels
        left = outcome.rows
        if len(left) == 1:  # most often: all banks alike
            open_rows: tuple[int, ...] = (
                ALL_CLOSED if left == ALL_CLOSED else (left[0] + first_row,)
            )
        else:
            open_rows = self._absolute(left, state, first_row)
        return State(outcome.core, outcome.due_ck, open_rows), outcome

    def totals(self) -> Totals:
        """As `Channels.totals`."""
        commands = len(self._config.names)
        for outcome in self._looked_up:
            self._total += outcome.added * outcome.times
            passed = outcome.added[:commands].sum() - outcome.added[-1]
            self._total[-1] += passed * outcome.times
            outcome.times = 0
        self._looked_up.clear()
        return Totals(self._config, self._total)

    # -- programs

    def _place(self, program: ChannelProgram) -> _Placed:
        macros = np.ascontiguousarray(program.macros, dtype=np.int64)
        is_command = macros[:, COMMAND] != BARRIER
        rows = macros[is_command, ROW]
        first = int(rows.min(initial=0 if len(rows) == 0 else rows[0]))
        moved = macros.copy()
        moved[is_command, ROW] -= first
        key = (moved.tobytes(), program.repeat, program.is_plain)
        if key not in self._known:
            self._known[key] = self._know(moved, program)
        span = int(rows.max() - first + 1) if len(rows) else 0
        placed = _Placed(self._known[key], first, span, program)
        self._programs[id(program)] = placed
        return placed

    def _know(self, macros: Words, program: ChannelProgram) -> _Known:
        return _Known(
            index=len(self._known),
            macros=macros,
            repeat=program.repeat,
            params=_params(self._running, program),
            params_at_rest=_params(self._resting, program),
            may_have_track=self._may_have_track(macros, program),
        )

    def _may_have_track(self, macros: Words, program: ChannelProgram) -> bool:
        """Where the state at a boundary is the channel's alone: no queue, window or barrier."""
        controller = self._config.controller
        return (
            FEWEST_MACROS <= len(macros) * program.repeat <= MOST_BOUNDARIES
            and not program.is_plain
            and controller.queue == 1
            and not controller.row_and_column
            and len(self._config.windows) == 0
            and not (macros[:, COMMAND] == BARRIER).any()
        )

    # -- running

    def _simulate(
        self, known: _Known, state: State, rows: tuple[int, ...] | None, gap_ck: int
    ) -> Outcome:
        known.runs += 1
        if known.runs == TRACK_FROM and known.may_have_track:
            known.track = self._lay_track(known)
        before = self._cores[state.core]
        if rows is not None:
            before = before.copy()
            before[self._rows_at : self._rows_at + 2 * len(rows) : 2] = rows
        status, ticks, due_ck = self._track_kernel.run(
            before, state.due_ck, gap_ck, known.macros, known.repeat, *known.track, known.params,
            *self._tables, self._after, self._added,
        )  # fmt: skip
        if status != self._kernel.DONE:
            raise SimulationError(self._why(known))
        commands = len(self._config.names)
        parts_ck = dict(zip(PARTS, self._added[commands:].tolist(), strict=False))
        core, left = self._intern()
        return Outcome(
            ticks=ticks,
            parts_ck=parts_ck,
            added=self._added.copy(),
            core=core,
            due_ck=due_ck,
            rows=left,
        )

    def _lay_track(self, known: _Known) -> tuple[Words, Words]:
        """What the program does from rest on, without refresh."""
        boundaries = len(known.macros) * known.repeat + 1
        vectors = np.zeros((boundaries, len(self._after)), dtype=np.int64)
        words = np.zeros(
            (boundaries, self._track_kernel.T_COUNTERS + len(self._added)), dtype=np.int64
        )
        self._set_scratch(self._cores[self._first.core])
        status = self._track_kernel.record(
            known.macros, known.repeat, known.params_at_rest, *self._tables, vectors, words
        )
        if status != self._kernel.DONE:
            raise SimulationError(self._why(known))
        return vectors, words

    def _set_scratch(self, vector: Words) -> None:
        channel = self._running
        for words in (channel._state, channel._counts, channel._parts):
            words[:] = 0
        self._track_kernel.unpack(
            vector, 0, channel._state, channel._ready, channel._history, channel._rows
        )

    def _why(self, known: _Known) -> str:
        self._running._macros = known.macros
        return self._running._wrong_access()

    # -- states

    def _at_rest(self, channel: PimChannel, *, refresh: bool) -> State:
        self._track_kernel.pack(
            self._after, 0, 0, self._config.windows, channel._state, channel._ready,
            channel._history, channel._rows,
        )  # fmt: skip
        due_ck = self._config.refresh_ck if refresh else self._kernel.NEVER
        return State(self._intern()[0], due_ck, ALL_CLOSED)

    def _intern(self) -> tuple[int, tuple[int, ...]]:
        """Number of the vector left by a run, and the rows that it left open."""
        rows = self._after[self._rows_at : self._rows_at + 2 * self._config.banks : 2]
        left = tuple(rows.tolist())
        rows[:] = np.where(rows == self._kernel.CLOSED, rows, self._foreign)
        key = self._after.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self._cores)
            self._cores.append(self._after.copy())
        return self._numbers[key], _short(left)

    def _in_sight(self, rows: tuple[int, ...], first: int, last: int) -> tuple[int, ...] | None:
        """Open rows as a program sees them, from its own first on; None if none is its own."""
        for row in rows:
            if first <= row < last:
                break
        else:
            return None
        closed, foreign = self._kernel.CLOSED, self._track_kernel.FOREIGN
        return tuple(
            row - first if first <= row < last else closed if row == closed else foreign - bank
            for bank, row in enumerate(self._each(rows))
        )

    def _absolute(self, left: tuple[int, ...], before: State, first: int) -> tuple[int, ...]:
        """Rows that are open behind a program; those that it did not touch are as before."""
        closed, old = self._kernel.CLOSED, self._each(before.rows)
        return _short(
            tuple(
                row + first if row > closed else closed if row == closed else old[bank]
                for bank, row in enumerate(left)
            )
        )

    def _each(self, rows: tuple[int, ...]) -> tuple[int, ...]:
        return rows * self._config.banks if len(rows) == 1 else rows


def _short(rows: tuple[int, ...]) -> tuple[int, ...]:
    """One number where all banks are alike; rows of others (below CLOSED) never are."""
    return rows[:1] if rows.count(rows[0]) == len(rows) and rows[0] >= -1 else rows


def _params(channel: PimChannel, program: ChannelProgram) -> Words:
    """Settings of the kernel for a program."""
    channel._set_controller(program.is_plain)
    return channel._params.copy()
