"""What every bank was doing when: commands of a replay turned into slices of time, per bank.

The rules are a table: a command puts its banks into a state, some ticks later, for some ticks.
`reading` and `writing` are the ticks in which data of the bank is on the pins, from nCL (nCWL)
after the command on, for one burst. A row is `open` from its activate to its precharge.
Where states of a bank overlap, the later one of `State` counts.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.commands import Command, Level
from bankwidth.devices.dram.config import DramConfig
from bankwidth.errors import UserError
from bankwidth.results import Table

Int64s = NDArray[np.int64]


class State(IntEnum):
    """States of a bank; where two overlap the higher one counts."""

    IDLE = 0  # closed, nothing to do
    OPEN = 1  # a row is open, no data moves
    PRECHARGING = 2
    ACTIVATING = 3
    READING = 4
    WRITING = 5
    REFRESHING = 6


MAX_COMMANDS: Final = 200_000  # inside a window: more cannot be looked at
NO_ROW: Final = -1
FOREVER: Final = 1 << 40  # ticks; banks times this still fit in 64 bits
SHORT_NAMES: Final[dict[Level, str]] = {
    Level.CHANNEL: "ch",
    Level.RANK: "ra",
    Level.PSEUDO_CHANNEL: "pc",
    Level.STACK_ID: "sid",
    Level.BANK_GROUP: "bg",
    Level.BANK: "ba",
}
_ACTIVATE_TIMES: Final = ("rcd", "rcdrd", "rcdwr")  # a standard has the first, or the others
BANK, STATE, START, END, ROW = range(5)  # columns of spans
_WORDS: Final = 5


class Rule(NamedTuple):
    """`command` puts its banks into `state`, `delay_ticks` later, for `length_ticks`."""

    command: Command
    state: State
    delay_ticks: int
    length_ticks: int


def rules_of(config: DramConfig) -> tuple[Rule, ...]:
    """What commands do to their banks. A column command with a precharge does two things.

    Of a split activate the first half counts (nRCD does too), so ACT2 is not among them.
    """
    t, burst = config.times, config.burst_ticks
    to_close_write = t["cwl"] + burst + t["wr"]
    activate = max(t.get(name, 0) for name in _ACTIVATE_TIMES)
    close_all = t.get("rpab", t["rp"])
    # fmt: off
    rules = (
        Rule(Command.ACT,   State.ACTIVATING,  0,              activate),
        Rule(Command.RD,    State.READING,     t["cl"],        burst),
        Rule(Command.RDA,   State.READING,     t["cl"],        burst),
        Rule(Command.WR,    State.WRITING,     t["cwl"],       burst),
        Rule(Command.WRA,   State.WRITING,     t["cwl"],       burst),
        Rule(Command.RDA,   State.PRECHARGING, t["rtp"],       t["rp"]),
        Rule(Command.WRA,   State.PRECHARGING, to_close_write, t["rp"]),
        Rule(Command.PREPB, State.PRECHARGING, 0,              t["rp"]),
        Rule(Command.PREAB, State.PRECHARGING, 0,              close_all),
        Rule(Command.REFAB, State.REFRESHING,  0,              t["rfc"]),
        Rule(Command.REFPB, State.REFRESHING,  0,              t.get("rfcpb", 0)),
    )
    # fmt: on
    return tuple(rule for rule in rules if rule.command in config.commands)


def bank_labels(config: DramConfig, channels: int = 1) -> list[str]:
    """`ch0 pc1 sid0 bg2 ba3` for every bank, the innermost index fastest.

    Levels of which there is one are left out, save the bank itself.
    """
    counts = _counts(config, channels)
    shown = [
        (SHORT_NAMES[level], count > 1 or level is Level.BANK)
        for level, count in zip(config.levels, counts, strict=True)
    ]
    return [
        " ".join(f"{name}{i}" for (name, is_shown), i in zip(shown, place, strict=True) if is_shown)
        for place in product(*map(range, counts))
    ]


def _counts(config: DramConfig, channels: int) -> tuple[int, ...]:
    return channels, *config.level_counts[1:]


class BankHistory:
    """Takes the commands of a replay in order, in parts, and tells a window of it bank by bank.

    Of what was before the window it keeps what still shows in it: a few numbers per bank.
    """

    def __init__(
        self, config: DramConfig, from_tick: int, to_tick: int, *, channels: int = 1
    ) -> None:
        """The window is [from_tick, to_tick). Raises UserError for a window that holds no time."""
        if not 0 <= from_tick < to_tick:
            raise UserError(
                f"window of ticks {from_tick} to {to_tick}: it must start at 0 or later, "
                "and end after its start"
            )
        self._config = config
        self._from, self._to = from_tick, to_tick
        self._counts = np.array(_counts(config, channels), dtype=np.int64)
        self._labels = bank_labels(config, channels)
        self._numbers = {command: number for number, command in enumerate(config.commands)}
        self._before = _no_spans()
        self._inside: list[Int64s] = []
        self._num_inside = 0

    def add(self, commands: Int64s) -> None:
        """The next commands, in the order of their ticks; columns as in `Replay.commands`.

        Raises UserError when the window holds more than MAX_COMMANDS of them.
        """
        commands = commands[commands[:, 0] < self._to]
        if not len(commands):
            return
        self._count_inside(commands[:, 0])
        spans = self._spans(commands)
        is_early = spans[:, START] < self._from
        self._before = _still_showing(np.concatenate([self._before, spans[is_early]]), self._from)
        self._inside.append(spans[~is_early])

    def slices(self) -> Table:
        """Slices of each bank, in order, without overlap or hole over the whole window.

        Columns: bank, state, start_ns, end_ns, and row (absent where none is open).
        """
        spans = np.concatenate([self._before, *self._inside])
        flat = _Flat(_whole(spans), self._from, self._to, len(self._labels))
        bank, state, start, end, row = flat.slices().T
        ns = self._config.tick_ps / 1000
        names = np.array([state.name.lower() for state in State])
        return Table(
            {
                "bank": np.array(self._labels)[bank],
                "state": names[state],
                "start_ns": start * ns,
                "end_ns": end * ns,
                "row": np.where(row == NO_ROW, np.nan, row.astype(np.float64)),
            }
        )

    def _count_inside(self, ticks: Int64s) -> None:
        inside = ticks[ticks >= self._from]
        room = MAX_COMMANDS - self._num_inside
        self._num_inside += len(inside)
        if self._num_inside > MAX_COMMANDS:
            ns = self._config.tick_ps / 1000
            start, end, full = self._from * ns, self._to * ns, int(inside[room]) * ns
            raise UserError(
                f"window of {start:.10g} ns to {end:.10g} ns: it holds more than {MAX_COMMANDS} "
                f"commands, {MAX_COMMANDS} are allowed; choose a narrower one, "
                f"e.g. {start:.10g} ns to {full:.10g} ns"
            )

    def _spans(self, commands: Int64s) -> Int64s:
        """What the commands do to each bank they reach."""
        found = [_no_spans()]
        for rule in rules_of(self._config):
            issued = commands[commands[:, 1] == self._numbers[rule.command]]
            bank, which = self._banks(issued)
            start = issued[which, 0] + rule.delay_ticks
            row = issued[which, 2 + len(self._counts)]
            has_row = rule.state in (State.ACTIVATING, State.READING, State.WRITING)
            spans = np.empty((len(bank), _WORDS), dtype=np.int64)
            spans[:, BANK], spans[:, STATE], spans[:, START] = bank, rule.state, start
            spans[:, END], spans[:, ROW] = start + rule.length_ticks, row if has_row else NO_ROW
            found.append(spans)
        return np.concatenate(found)

    def _banks(self, commands: Int64s) -> tuple[Int64s, NDArray[np.intp]]:
        """(bank, index of the command) for every bank that a command reaches.

        An index of -1 means all below; it stands in the innermost levels, so the banks of a
        command follow each other.
        """
        places = commands[:, 2 : 2 + len(self._counts)]
        below = np.cumprod(self._counts[::-1])[::-1] // self._counts  # banks below one node
        first = np.maximum(places, 0) @ below
        reached = np.where(places < 0, self._counts, 1).prod(axis=1)
        which = np.repeat(np.arange(len(commands)), reached)
        begin = np.cumsum(reached) - reached
        return first[which] + np.arange(len(which)) - begin[which], which


def _no_spans() -> Int64s:
    return np.zeros((0, _WORDS), dtype=np.int64)


def _of(spans: Int64s, *states: State) -> Int64s:
    return spans[np.isin(spans[:, STATE], states)]


def _key(bank: Int64s, tick: Int64s) -> Int64s:
    """Sorts by bank, then by tick."""
    return bank * FOREVER + tick


def _sorted(spans: Int64s) -> Int64s:
    return spans[np.argsort(_key(spans[:, BANK], spans[:, START]), kind="stable")]


def _next_start(spans: Int64s, others: Int64s) -> Int64s:
    """For each span when the next of `others` (sorted) in its bank starts; FOREVER - 1: never."""
    keys = np.append(_key(others[:, BANK], others[:, START]), np.iinfo(np.int64).max)
    found = keys[np.searchsorted(keys, _key(spans[:, BANK], spans[:, START]))]
    next_start: Int64s = np.minimum(found - spans[:, BANK] * FOREVER, FOREVER - 1)
    return next_start


def _ended_by_data(spans: Int64s) -> Int64s:
    """The same with activations cut at the first burst of their bank.

    Of nRCDRD and nRCDWR the rule takes the longer, so a burst can come before it is over.
    """
    is_activate = spans[:, STATE] == State.ACTIVATING
    data = _of(spans, State.READING, State.WRITING)
    first = np.where(is_activate, _next_start(spans, data), FOREVER)
    spans[:, END] = np.minimum(spans[:, END], first)
    return spans


def _still_showing(spans: Int64s, from_tick: int) -> Int64s:
    """Those before the window that matter to it.

    They reach into it, or are a bank's last activate, or the first precharge after that.
    """
    spans = _ended_by_data(_sorted(spans))
    activates, closes = _of(spans, State.ACTIVATING), _of(spans, State.PRECHARGING)
    is_last = np.append(np.diff(activates[:, BANK]) != 0, True)[: len(activates)]
    last = activates[is_last]
    closed = _key(last[:, BANK], _next_start(last, closes))
    key = _key(spans[:, BANK], spans[:, START])
    opened = _key(last[:, BANK], last[:, START])
    is_opening = np.isin(key, opened) & (spans[:, STATE] == State.ACTIVATING)
    is_close = np.isin(key, closed) & (spans[:, STATE] == State.PRECHARGING)
    kept: Int64s = spans[(spans[:, END] > from_tick) | is_opening | is_close]
    return kept


def _whole(spans: Int64s) -> Int64s:
    """Spans with the open rows, and without what has no effect.

    A row is open from its activate to the next precharge of its bank. Precharges of a closed bank
    do nothing.
    """
    spans = _ended_by_data(_sorted(spans))
    activates, closes = _of(spans, State.ACTIVATING), _of(spans, State.PRECHARGING)
    data = _of(spans, State.READING, State.WRITING)
    closed = _next_start(activates, closes)
    opened = activates.copy()
    opened[:, STATE], opened[:, END] = State.OPEN, closed
    is_effective = np.isin(
        _key(closes[:, BANK], closes[:, START]), _key(activates[:, BANK], closed)
    )
    refreshes = _of(spans, State.REFRESHING)
    return np.concatenate([opened, closes[is_effective], activates, data, refreshes])


class _Flat:
    """The windows of all banks, one after the other, as one line of time."""

    def __init__(self, spans: Int64s, from_tick: int, to_tick: int, num_banks: int) -> None:
        self._from, self._length = from_tick, to_tick - from_tick
        self._num_banks = num_banks
        self._spans = self._placed(spans)

    def slices(self) -> Int64s:
        """Columns bank, state, start, end, row: between two edges nothing changes."""
        edges = self._edges()
        state = np.full(len(edges) - 1, State.IDLE, dtype=np.int64)
        row = np.full(len(edges) - 1, NO_ROW, dtype=np.int64)
        for each in State:
            spans = _of(self._spans, each)
            if len(spans):
                which, is_in = _cover(spans, edges[:-1])
                state[is_in], row[is_in] = each, spans[which[is_in], ROW]
        return self._joined(edges, state, row)

    def _placed(self, spans: Int64s) -> Int64s:
        """Spans cut at the window's ends, those inside on the line of time."""
        ends = (self._from, self._from + self._length)
        start, end = np.clip(spans[:, START], *ends), np.clip(spans[:, END], *ends)
        is_inside = start < end
        placed = spans[is_inside]
        shift = placed[:, BANK] * self._length - self._from
        placed[:, START], placed[:, END] = start[is_inside] + shift, end[is_inside] + shift
        return placed[np.argsort(placed[:, START], kind="stable")]

    def _edges(self) -> Int64s:
        borders = np.arange(self._num_banks + 1) * self._length
        return np.unique(np.concatenate([borders, self._spans[:, START], self._spans[:, END]]))

    def _joined(self, edges: Int64s, state: Int64s, row: Int64s) -> Int64s:
        """Neighbours of one bank, state and row as one slice."""
        bank = edges[:-1] // self._length
        is_same = (np.diff(bank) == 0) & (np.diff(state) == 0) & (np.diff(row) == 0)
        first = np.flatnonzero(np.append(True, ~is_same))
        last = np.append(first[1:] - 1, len(state) - 1)
        shift = self._from - bank[first] * self._length
        start, end = edges[first] + shift, edges[last + 1] + shift
        return np.stack([bank[first], state[first], start, end, row[first]], axis=1)


def _cover(spans: Int64s, points: Int64s) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """(span that started last, whether a span holds the point), for each point.

    Spans of one state follow each other, so the one that started last is the one that holds.
    """
    which = np.searchsorted(spans[:, START], points, side="right") - 1
    return which, (which >= 0) & (spans[which, END] > points)
