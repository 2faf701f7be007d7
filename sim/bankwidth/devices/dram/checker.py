"""A slow, simple check that a list of commands keeps every rule of a standard.

It shares nothing with the engine but the table of gaps: it looks back over the commands that were
issued, rule by rule, and names the first that breaks one. Beside the gaps it knows:

* addresses: one bank, or all banks of a rank, pseudo-channel or channel;
* command buses: one command at a time on each, for as long as it takes;
* banks: closed, half activated or open; columns only of the open row;
* HBM3 clock edges: what may go on a falling edge, and beside what;
* LPDDR5: the second activate in time, and columns only while the data clock runs;
* data pins: bursts of a rank or pseudo-channel do not overlap;
* refreshes: none is more than one interval late, if the policy is given.

Ranks of a channel share its pins, but bursts of different ranks are not compared: the reference's
gap from a read to a write of another rank (nBL + nCS) lets them overlap, and the tables are its.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Final, Protocol

from bankwidth.devices.dram.commands import ALL_BANK, Command, Level
from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.policies import Refresh, choice_of
from bankwidth.devices.dram.standards import STANDARDS
from bankwidth.devices.dram.table import Constraint, Controller
from bankwidth.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVERY: Final = -1  # index of a command that goes to all nodes of a level
NO_ROW: Final = -1  # not known, or none
READS: Final = frozenset({Command.RD, Command.RDA})
COLUMNS: Final = frozenset({Command.RD, Command.WR, Command.RDA, Command.WRA})
SYNCHRONISES: Final = {Command.CAS_RD: "read", Command.CAS_WR: "write"}
PRECHARGES: Final = frozenset({Command.PREPB, Command.PREAB})
REFRESHES: Final = frozenset({Command.REFAB, Command.REFPB})

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Issued:
    """A command at a tick; one index per level, channel to bank; and its row where it is known."""

    tick: int
    name: str
    place: Place
    row: int = NO_ROW

    def __str__(self) -> str:
        return f"{self.name} {self.place}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A command that breaks a rule; for a gap also its row of the table and the command before."""

    command: Issued
    problem: str  # in words that follow the command
    rule: Constraint | None = None
    before: Issued | None = None

    def __str__(self) -> str:
        return f"tick {self.command.tick}: {self.command} {self.problem}"


def first_violation(
    commands: Iterable[Issued], config: DramConfig, *, refresh: str = Refresh.NONE
) -> Violation | None:
    """The first command that breaks a rule, with the rule; None if there is none.

    `refresh` is the policy that the commands should follow; without one, nobody asks for refreshes.
    Of several channels each is checked by itself.
    """
    return next(violations(commands, config, refresh=refresh), None)


def violations(
    commands: Iterable[Issued], config: DramConfig, *, refresh: str = Refresh.NONE
) -> Iterator[Violation]:
    """Every rule that every command breaks, as if the broken ones had been legal.

    Raises SpecError for a refresh that does not exist or that the standard lacks.
    """
    rules: dict[int, list[_Rule]] = {}
    last: dict[int, Issued] = {}
    for issued in commands:
        problem = address_problem(issued, config)
        if problem is not None:
            yield Violation(issued, problem)
            continue
        channel = issued.place[0]
        before = last.setdefault(channel, issued)
        if issued.tick < before.tick:
            yield Violation(issued, f"is listed after {before} of tick {before.tick}")
            continue
        last[channel] = issued
        if channel not in rules:
            rules[channel] = rules_of(config, choice_of(Refresh, "refresh", refresh))
        for rule in rules[channel]:
            yield from rule.broken_by(issued)
        for rule in rules[channel]:
            rule.note(issued)


def issued_of(commands: NDArray[np.int64], config: DramConfig) -> Iterator[Issued]:
    """The commands that a replay noted: [command, tick id levels... row ...]."""
    row = 2 + len(config.levels)
    for words in commands.tolist():
        yield Issued(words[0], config.command_names[words[1]], tuple(words[2:row]), words[row])


# ---------------------------------------------------------------------------- rules
class _Rule(Protocol):
    """Sees the commands of one channel in order."""

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        """What is wrong with a command, after all that were noted."""
        ...

    def note(self, issued: Issued) -> None:
        """The command has been issued."""
        ...


def rules_of(config: DramConfig, refresh: Refresh) -> list[_Rule]:
    """The rules of one channel at tick 0, the table of gaps first."""
    rules: list[_Rule] = [_Gaps(config), _Buses(config), _Banks(config), _DataPins(config)]
    if config.controller is Controller.HALF_CLOCK:
        rules.append(_Edges(config))
    if config.controller is Controller.SPLIT_ACTIVATE:
        rules += [_SecondActivate(config), _DataClock(config)]
    if refresh is not Refresh.NONE:
        rules.append(_Refreshes(config, refresh))
    return rules


def commands_of(config: DramConfig) -> dict[str, Command]:
    """The commands of a configuration by the names of its standard."""
    return dict(zip(config.command_names, config.commands, strict=True))


def address_problem(issued: Issued, config: DramConfig) -> str | None:
    """What is wrong with a command's name or place, whatever came before."""
    command = commands_of(config).get(issued.name)
    if command is None:
        known = ", ".join(config.command_names)
        hint = did_you_mean(issued.name, config.command_names)
        return f"is no command of {config.standard}, allowed: {known}{hint}"
    if len(issued.place) != len(config.levels):
        return f"must have {len(config.levels)} indices: {', '.join(config.levels)}"
    reach = config.levels.index(config.refresh_level) if command in ALL_BANK else len(issued.place)
    for depth, (level, index) in enumerate(zip(config.levels, issued.place, strict=True)):
        most = config.level_counts[depth] - 1
        if depth > reach and index != EVERY:
            return f"goes to all banks below {config.refresh_level}: {level} must be {EVERY}"
        if depth <= reach and (index < 0 or (depth > 0 and index > most)):
            return f"must have a {level} of 0 to {most if depth else 'the last channel'}"
    return None


def _meets(a: int, b: int) -> bool:
    return a == b or EVERY in (a, b)


def _is_bound(rule: Constraint, depth: int, before: Issued, after: Issued) -> bool:
    """Whether both commands go below the same node of the rule's level (or below siblings)."""
    same_above = all(map(_meets, before.place[:depth], after.place[:depth]))
    is_same = _meets(before.place[depth], after.place[depth])
    return same_above and is_same is not rule.sibling


class _Gaps:
    """The rows of the table."""

    def __init__(self, config: DramConfig) -> None:
        self._levels = config.levels
        self._names = dict(zip(config.commands, config.command_names, strict=True))
        self._rows: dict[str, list[Constraint]] = {name: [] for name in config.command_names}
        self._longest = dict.fromkeys(config.command_names, 0)
        for row in config.constraints:
            before = self._names[row.before]
            self._rows[self._names[row.after]].append(row)
            self._longest[before] = max(self._longest[before], row.gap_ticks)
        # per command, most recent first, as far back as any row looks
        self._past: dict[str, deque[Issued]] = {name: deque() for name in config.command_names}

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        for row in self._rows[issued.name]:
            depth = self._levels.index(row.level)
            near = [
                old
                for old in self._past[self._names[row.before]]
                if issued.tick - old.tick < row.gap_ticks and _is_bound(row, depth, old, issued)
            ]
            if len(near) >= row.window:
                old = near[row.window - 1]
                yield Violation(issued, _gap_words(row, old, issued), row, old)

    def note(self, issued: Issued) -> None:
        past = self._past[issued.name]
        past.appendleft(issued)
        while issued.tick - past[-1].tick > self._longest[issued.name]:
            past.pop()


def _gap_words(row: Constraint, before: Issued, after: Issued) -> str:
    which = f"the {row.window}th last " if row.window > 1 else ""
    scope = f"to another {row.level}" if row.sibling else f"per {row.level}"
    apart = after.tick - before.tick
    return f"is {apart} ticks after {which}{before}, at least {row.gap_ticks} {scope}"


class _Buses:
    """A bus carries one command at a time."""

    def __init__(self, config: DramConfig) -> None:
        standard = STANDARDS[config.standard]
        self._buses = [
            {standard.command_name(command): standard.length_ticks(command) for command in bus}
            for bus in standard.buses
        ]
        self._last: list[Issued | None] = [None] * len(self._buses)

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        last = self._last[self._bus_of(issued)]
        if last is None:
            return
        until = last.tick + self._buses[self._bus_of(issued)][last.name]
        if issued.tick < until:
            yield Violation(
                issued, f"finds its command bus taken by {last} until tick {until}", before=last
            )

    def note(self, issued: Issued) -> None:
        self._last[self._bus_of(issued)] = issued

    def _bus_of(self, issued: Issued) -> int:
        return next(i for i, bus in enumerate(self._buses) if issued.name in bus)


# ---------------------------------------------------------------------------- banks
class State(StrEnum):
    """What a bank is."""

    CLOSED = "closed"
    HALF = "half activated"
    OPEN = "open"


CLOSED, HALF, OPEN = State.CLOSED, State.HALF, State.OPEN
# States that a command may find its banks in. A precharge of a closed bank does nothing.
NEEDS: Final[dict[Command, tuple[State, ...]]] = {
    Command.ACT: (CLOSED,),
    Command.ACT2: (HALF,),
    Command.PREPB: (CLOSED, OPEN),
    Command.PREAB: (CLOSED, OPEN),
    Command.CAS_RD: (OPEN,),
    Command.CAS_WR: (OPEN,),
    Command.RD: (OPEN,),
    Command.WR: (OPEN,),
    Command.RDA: (OPEN,),
    Command.WRA: (OPEN,),
    Command.REFAB: (CLOSED,),
    Command.REFPB: (CLOSED,),
    Command.RFMAB: (CLOSED,),
    Command.RFMPB: (CLOSED,),
}
# The state it leaves them in, where that is another.
LEAVES: Final[dict[Command, State]] = {
    Command.ACT: OPEN,
    Command.ACT2: OPEN,
    Command.PREPB: CLOSED,
    Command.PREAB: CLOSED,
    Command.RDA: CLOSED,
    Command.WRA: CLOSED,
}


class _Banks:
    """Every command finds its banks, and its row, as it needs them."""

    def __init__(self, config: DramConfig) -> None:
        self._commands = commands_of(config)
        self._leaves = dict(LEAVES)
        if config.controller is Controller.SPLIT_ACTIVATE:
            self._leaves[Command.ACT] = HALF
        below = product(*(range(count) for count in config.level_counts[1:]))
        self._state: dict[Place, State] = dict.fromkeys(below, CLOSED)
        self._by: dict[Place, Issued] = {}  # what brought the bank into its state

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        needs = NEEDS[self._commands[issued.name]]
        for bank in self._reached(issued):
            if self._state[bank] not in needs:
                yield Violation(issued, self._words(bank, needs), before=self._by.get(bank))
                return
            by = self._by.get(bank)
            if CLOSED not in needs and by is not None and _differ(issued.row, by.row):
                problem = f"is for row {issued.row}, open is row {by.row}"
                yield Violation(issued, problem, before=by)

    def note(self, issued: Issued) -> None:
        state = self._leaves.get(self._commands[issued.name])
        if state is not None:
            for bank in self._reached(issued):
                self._state[bank] = state
                self._by[bank] = issued

    def _reached(self, issued: Issued) -> list[Place]:
        below = issued.place[1:]
        if below in self._state:
            return [below]
        return [bank for bank in self._state if all(map(_meets, bank, below))]

    def _words(self, bank: Place, needs: Sequence[State]) -> str:
        by = self._by.get(bank)
        since = f" since {by} of tick {by.tick}" if by is not None else " from the start"
        return f"needs its bank {' or '.join(needs)}, it is {self._state[bank]}{since}"


def _differ(a: int, b: int) -> bool:
    return NO_ROW not in (a, b) and a != b


# ---------------------------------------------------------------------------- HBM3: clock edges
class _Edges:
    """Ticks are half clocks: rising edges are odd. On falling ones only precharges may go.

    A precharge shares a clock with the row command of the rising edge (of an activate, with its
    last half). Then no bank may be in both.
    """

    def __init__(self, config: DramConfig) -> None:
        self._commands = commands_of(config)
        self._activate_ticks = STANDARDS[config.standard].length_ticks(Command.ACT)
        self._last: Issued | None = None  # row command

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        if issued.tick % 2:
            return
        if self._commands[issued.name] not in PRECHARGES:
            yield Violation(issued, "is on a falling edge, where only precharges may go")
            return
        last = self._last
        shares_clock = last is not None and issued.tick == last.tick + self._edge_ticks(last)
        if last is not None and shares_clock and all(map(_meets, last.place, issued.place)):
            problem = f"is on the falling edge beside {last} of tick {last.tick}"
            yield Violation(issued, problem, before=last)

    def note(self, issued: Issued) -> None:
        if self._commands[issued.name] not in COLUMNS:
            self._last = issued

    def _edge_ticks(self, issued: Issued) -> int:
        """From a rising edge to the falling one that the command shares its clock with."""
        return self._activate_ticks if self._commands[issued.name] is Command.ACT else 1


# ---------------------------------------------------------------------------- LPDDR5
class _SecondActivate:
    """The second half of an activate comes in time, and before the next activate begins."""

    def __init__(self, config: DramConfig) -> None:
        self._commands = commands_of(config)
        self._aad_ticks = config.times["aad"]
        self._half: Issued | None = None

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        half = self._half
        if half is None:
            return
        apart = issued.tick - half.tick
        if apart > self._aad_ticks:
            yield Violation(
                issued,
                f"is {apart} ticks after {half}, whose ACT2 must follow within {self._aad_ticks}",
                before=half,
            )
        elif self._commands[issued.name] is Command.ACT:
            yield Violation(issued, f"comes before the ACT2 of {half}", before=half)

    def note(self, issued: Issued) -> None:
        command = self._commands[issued.name]
        if command is Command.ACT:
            self._half = issued
        elif command is Command.ACT2:
            self._half = None


class _DataClock:
    """A column command needs the data clock: still running, or started by a CAS just before it."""

    def __init__(self, config: DramConfig) -> None:
        self._commands = commands_of(config)
        times = config.times
        tail = times["bl_min"] + times["wckpst"]
        self._runs_on = {"read": times["cl"] + tail, "write": times["cwl"] + tail}
        self._until = 0
        self._cas: Issued | None = None

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        direction = self._direction(issued)
        cas = self._cas
        if cas is not None:
            owed = SYNCHRONISES[self._commands[cas.name]]
            if direction != owed or issued.place != cas.place:
                yield Violation(issued, f"comes between {cas} and its {owed}", before=cas)
        elif direction is not None and issued.tick >= self._until:
            yield Violation(
                issued, f"needs the data clock, which stops at tick {self._until}: no CAS before it"
            )

    def note(self, issued: Issued) -> None:
        self._cas = issued if self._commands[issued.name] in SYNCHRONISES else None
        direction = self._direction(issued)
        if direction is not None:
            self._until = max(self._until, issued.tick + self._runs_on[direction])

    def _direction(self, issued: Issued) -> str | None:
        command = self._commands[issued.name]
        if command not in COLUMNS:
            return None
        return "read" if command in READS else "write"


# ---------------------------------------------------------------------------- data and refreshes
class _DataPins:
    """The pins of a rank or pseudo-channel (of the channel, if it has neither) carry one burst."""

    def __init__(self, config: DramConfig) -> None:
        self._commands = commands_of(config)
        has_own_pins = config.levels[1] in (Level.RANK, Level.PSEUDO_CHANNEL)
        self._depth = 2 if has_own_pins else 1
        self._read_ticks, self._write_ticks = config.times["cl"], config.times["cwl"]
        self._burst_ticks = config.burst_ticks
        self._bursts: list[tuple[int, Issued]] = []  # first tick of the data

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        if self._commands[issued.name] not in COLUMNS:
            return
        start = self._start(issued)
        for other_start, other in self._bursts:
            same_pins = other.place[: self._depth] == issued.place[: self._depth]
            if same_pins and abs(start - other_start) < self._burst_ticks:
                problem = f"has data from tick {start} on, {other} has from tick {other_start} on"
                yield Violation(issued, f"{problem}, a burst takes {self._burst_ticks}")
                return

    def note(self, issued: Issued) -> None:
        if self._commands[issued.name] in COLUMNS:
            now = issued.tick - self._burst_ticks
            self._bursts = [burst for burst in self._bursts if burst[0] > now]
            self._bursts.append((self._start(issued), issued))

    def _start(self, issued: Issued) -> int:
        is_read = self._commands[issued.name] in READS
        return issued.tick + (self._read_ticks if is_read else self._write_ticks)


class _Refreshes:
    """Every bank is refreshed once in each period; the last one that was due may be on its way."""

    def __init__(self, config: DramConfig, refresh: Refresh) -> None:
        self._commands = commands_of(config)
        self._period_ticks = _refresh_period_ticks(config, refresh)
        below = product(*(range(count) for count in config.level_counts[1:]))
        self._count: dict[Place, int] = dict.fromkeys(below, 0)

    def broken_by(self, issued: Issued) -> Iterator[Violation]:
        due = issued.tick // self._period_ticks
        bank = min(self._count, key=self._count.__getitem__)
        if self._count[bank] < due - 1:
            yield Violation(
                issued,
                f"comes when bank {bank} has been refreshed {self._count[bank]} times, "
                f"due are {due} (one every {self._period_ticks} ticks)",
            )

    def note(self, issued: Issued) -> None:
        if self._commands[issued.name] in REFRESHES:
            for bank in self._count:
                if all(map(_meets, bank, issued.place[1:])):
                    self._count[bank] += 1


def _refresh_period_ticks(config: DramConfig, refresh: Refresh) -> int:
    """Ticks in which every bank has its turn."""
    if refresh is Refresh.ALL_BANK:
        return config.times["refi"]
    is_paired = refresh is Refresh.PER_BANK_PAIRS
    if "refipb" not in config.times:
        raise SpecError(f"{config.name}: {config.standard} has no refresh {refresh.value!r}")
    at_once = config.num_refresh_scopes if is_paired else 1
    return config.times["refipb"] * config.num_banks // at_once
