"""Every row of every table binds to the tick, in traces that are legal apart from it.

For each row a trace is built in which the row alone decides when the last command may go: rows are
opened long before, and what the states of the banks demand in between comes as early as it may.
With the exact gap the checker is silent; one tick less (on half clocks: the last tick before it on
which the command could go) it names the row, or one that ends its wait at the same tick.

Rows that cannot bind are not left out: why they cannot is computed from the table, and how many
there are of each kind is written down below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import pytest

from bankwidth.devices.dram import DramConfig, config_of
from bankwidth.devices.dram.checker import EVERY, Issued, Violation, first_violation, violations
from bankwidth.devices.dram.commands import ALL_BANK, Command
from bankwidth.devices.dram.table import Constraint, Controller
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

ROOT = Path(__file__).parents[3]
FOLDERS = (ROOT / "validation" / "dram" / "devices", ROOT / "arch" / "devices" / "dram")
FILES = {path.stem: path for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))}
Load = Callable[[str], DramConfig]
Place = tuple[int, ...]
Trace = list[Issued]
Step = tuple[Command, Place]
FAR = 1 << 15  # ticks: longer than every gap
ACT, ACT2, PREPB, PREAB = Command.ACT, Command.ACT2, Command.PREPB, Command.PREAB
RD, RDA, WR, WRA, REFAB = Command.RD, Command.RDA, Command.WR, Command.WRA, Command.REFAB
COLUMNS, CLOSING = (RD, WR, RDA, WRA), (PREPB, PREAB, RDA, WRA)
# Rows that never bind in the golden configurations, by what makes them so.
NO_GAP, NO_SIBLING, IMPLIED, WINDOW = "no gap", "no sibling", "implied", "window"
NEVER: dict[str, dict[str, int]] = {
    "DDR4": {NO_SIBLING: 12},
    "DDR4_2R": {NO_GAP: 4},  # write to read of another rank: nCWL + nBL + nCS - nCL is 0
    # the bus is taken for two ticks: with one rank, other rows of the same pairs are longer
    "DDR5": {NO_SIBLING: 12, IMPLIED: 25},
    "DDR5_2R": {IMPLIED: 16},
    "LPDDR5": {NO_GAP: 4, NO_SIBLING: 12},  # nCAS is 0
    "LPDDR5_2R": {NO_GAP: 4},
    # four activates or refreshes take longer than nFAW anyway; columns wait for an activate first
    "GDDR6": {WINDOW: 4, IMPLIED: 4},
    "HBM2": {WINDOW: 1},  # 4 nRRDS is more than nFAW
    "HBM3": {},
}


@cache
def config_named(name: str) -> DramConfig:
    """A golden configuration or a shipped device."""
    spec = load_device(FILES[name])
    assert isinstance(spec, DramSpec)
    return config_of(spec)


# ---------------------------------------------------------------------------- traces
@dataclass(frozen=True)
class Scribe:
    """Writes traces of one configuration."""

    config: DramConfig

    def name(self, command: Command) -> str:
        return self.config.command_names[self.config.commands.index(command)]

    def issued(self, command: Command, place: Place, tick: int) -> Issued:
        """A command; an all-bank one goes to everything below the refresh level."""
        if command in ALL_BANK:
            depth = self.config.levels.index(self.config.refresh_level) + 1
            place = place[:depth] + (EVERY,) * (len(place) - depth)
        return Issued(tick, self.name(command), place)

    def after(self, trace: Trace, command: Command, place: Place, tick: int) -> Trace:
        """The trace with a command, and with its second half or the CAS that it needs."""
        more = [self.issued(command, place, tick)]
        if self.config.controller is Controller.SPLIT_ACTIVATE:
            if command is ACT:
                more.append(self.issued(ACT2, place, tick + 1))
            if command in COLUMNS and self._needs_cas([*trace, *more]):
                cas = Command.CAS_RD if command in (RD, RDA) else Command.CAS_WR
                more.insert(0, self.issued(cas, place, tick - 1))
        return trace + more

    def _needs_cas(self, trace: Trace) -> bool:
        found = self.problem(trace)
        return found is not None and "data clock" in found.problem

    def problem(self, trace: Trace) -> Violation | None:
        return first_violation(trace, self.config)

    def from_tick(self, command: Command, tick: int) -> int:
        """The first tick of its kind: on half clocks all but precharges go on odd ones."""
        is_half = self.config.controller is Controller.HALF_CLOCK
        return tick | 1 if is_half and command not in (PREPB, PREAB) else tick

    def before_tick(self, command: Command, tick: int) -> int:
        """The last tick of its kind before another."""
        return self.from_tick(command, tick - 2) if self.from_tick(command, 0) else tick - 1

    def soon(self, trace: Trace, command: Command, place: Place) -> Trace | None:
        """The trace with a command as early as it may go; None when its bank is in the way."""
        tick = self.from_tick(command, trace[-1].tick)
        for _ in range(20):
            longer = self.after(trace, command, place, tick)
            found = self.problem(longer)
            if found is None:
                return longer
            if "needs its bank" in found.problem:
                return None
            due = tick + 1
            if found.rule is not None and found.before is not None:
                due = found.before.tick + found.rule.gap_ticks
            tick = self.from_tick(command, max(tick + 1, due))
        return None


def places(config: DramConfig, row: Constraint) -> Iterator[tuple[list[Place], Place]]:
    """Banks of the commands before and of the one after, as the row binds them."""
    counts, depth = config.level_counts, config.levels.index(row.level)
    zero = (0,) * len(counts)
    others = [tuple(int(i == at) for i in range(len(zero))) for at in range(len(zero))]
    if row.window > 1:  # different bank groups first
        ranges = [range(count if i > depth else 1) for i, count in enumerate(counts)]
        banks = [bank[::-1] for bank in product(*ranges[::-1])]
        yield banks[: row.window], banks[row.window]
    elif row.sibling:
        if counts[depth] > 1:
            yield [zero], others[depth]
    else:
        for at in range(depth + 1, len(zero)):
            if counts[at] > 1:
                yield [zero], others[at]
        yield [zero], zero


def bridges(p: Place, q: Place) -> Iterator[tuple[Step, ...]]:
    """What the states of the banks may demand between two commands."""
    yield ()
    for place in dict.fromkeys((p, q)):
        yield ((ACT, place),)
        for closing in CLOSING:
            yield ((closing, place),)
            yield (closing, place), (ACT, q)


def scripts(scribe: Scribe, row: Constraint) -> Iterator[tuple[Trace, int, Place]]:
    """Legal traces without the last command; the tick it waits from, and its place."""
    for befores, q in places(scribe.config, row):
        for opened in ((), tuple(befores), (q,), (*befores, q)):
            if len(set(opened)) < len(opened):
                continue
            trace: Trace = []
            for i, bank in enumerate(opened):
                trace = scribe.after(trace, ACT, bank, FAR * (i + 1) + 1)
            for first in {scribe.from_tick(row.before, FAR * 9 + i) for i in (1, 2)}:
                for done in bridged(scribe, trace, row.before, befores, q, first):
                    yield done, first, q


def bridged(
    scribe: Scribe, trace: Trace, before: Command, befores: list[Place], q: Place, first: int
) -> Iterator[Trace]:
    """The commands before, the first at a given tick, and each bridge that is legal after them."""
    start = scribe.after(trace, before, befores[0], first)
    if scribe.problem(start) is not None:
        return
    for steps in bridges(befores[-1], q):
        done: Trace | None = start
        for command, place in (*((before, bank) for bank in befores[1:]), *steps):
            done = scribe.soon(done, command, place) if done is not None else None
        if done is not None:
            yield done


def planted(scribe: Scribe, row: Constraint) -> tuple[Trace, Trace, int] | None:
    """A trace that breaks a row by one tick, the same without breaking it, and the tick between."""
    for trace, first, q in scripts(scribe, row):
        due = first + row.gap_ticks
        exact = scribe.from_tick(row.after, due)
        short = scribe.before_tick(row.after, due)
        if short < trace[-1].tick:
            continue
        good = scribe.after(trace, row.after, q, exact)
        bad = scribe.after(trace, row.after, q, short)
        if scribe.problem(good) is None and scribe.problem(bad) is not None:
            return bad, good, due
    return None


# ---------------------------------------------------------------------------- rows that never bind
def why_never(config: DramConfig, row: Constraint) -> str | None:
    """Why other rows always wait at least a tick longer; None if they do not."""
    if row.gap_ticks <= 0:
        return NO_GAP
    if row.sibling and config.level_counts[config.levels.index(row.level)] == 1:
        return NO_SIBLING
    waits = [waited(config, row, befores, q) for befores, q in places(config, row)]
    if min(waits) > row.gap_ticks:
        return WINDOW if row.window > 1 else IMPLIED
    return None


def waited(config: DramConfig, row: Constraint, befores: list[Place], q: Place) -> int:
    """Least ticks from the first command before to the one after, by all rows but windows."""
    steps = [direct(config, row.before, row.before, a, b) for a, b in pairwise(befores)]
    last = befores[-1]
    others = replace(config, constraints=tuple(r for r in config.constraints if r != row))
    waits = [direct(others, row.before, row.after, last, q)]
    scope = config.levels.index(config.refresh_level) + 1
    if row.after is REFAB and row.before in (RD, WR) and last[:scope] == q[:scope]:
        waits.append(min(through(config, row, last, closing) for closing in (PREPB, PREAB)))
    if row.before is REFAB and row.after in COLUMNS:
        waits.append(through(config, row, q, ACT))
    return sum(steps) + max(waits)


def through(config: DramConfig, row: Constraint, bank: Place, middle: Command) -> int:
    """Least ticks when a command must come between."""
    first = direct(config, row.before, middle, bank, bank)
    return first + direct(config, middle, row.after, bank, bank)


def direct(config: DramConfig, before: Command, after: Command, p: Place, q: Place) -> int:
    """The longest gap of a row of one window between two commands to banks p and q."""
    return max(
        (
            row.gap_ticks
            for row in config.constraints
            if (row.before, row.after, row.window) == (before, after, 1)
            and binds(row, config.levels.index(row.level), p, q)
        ),
        default=0,
    )


def binds(row: Constraint, depth: int, p: Place, q: Place) -> bool:
    is_same = p[: depth + 1] == q[: depth + 1]
    return p[:depth] == q[:depth] and not is_same if row.sibling else is_same


# ---------------------------------------------------------------------------- tests
def test_all_golden_and_shipped_devices_are_here(golden_config: Load) -> None:
    assert set(NEVER) <= set(FILES)
    assert len(FILES) >= len(NEVER) + 8
    assert config_named("DDR4").constraints == golden_config("DDR4").constraints


@pytest.mark.parametrize("name", NEVER)
def test_rows_that_never_bind_are_known(name: str) -> None:
    config = config_named(name)
    reasons = {row: why_never(config, row) for row in config.constraints}
    never = {row: reason for row, reason in reasons.items() if reason is not None}
    assert Counter(never.values()) == NEVER[name]
    scribe = Scribe(config)
    assert [row for row in never if planted(scribe, row) is not None] == []


@pytest.mark.parametrize("name", FILES)
def test_a_tick_less_than_the_gap_is_found(name: str) -> None:
    scribe = Scribe(config_named(name))
    for row in dict.fromkeys(scribe.config.constraints):
        if why_never(scribe.config, row) is not None:
            continue
        found = planted(scribe, row)
        assert found is not None, row
        bad, good, due = found
        assert scribe.problem(good) is None
        violation = scribe.problem(bad)
        assert violation is not None
        assert violation.rule is not None
        assert violation.before is not None
        assert violation.before.tick + violation.rule.gap_ticks == due, row
        assert violation.command.name == scribe.name(row.after)
        assert scribe.problem(bad[: bad.index(violation.command)]) is None


@pytest.mark.parametrize("name", FILES)
def test_a_table_of_one_row_is_that_row(name: str) -> None:
    """Rows that others imply are watched too; states of banks do not matter here."""
    config = config_named(name)
    for row in dict.fromkeys(config.constraints):
        if why_never(config, row) in (NO_GAP, NO_SIBLING):
            continue
        scribe = Scribe(replace(config, constraints=(row,)))
        befores, q = next(places(config, row))
        trace = [scribe.issued(row.before, bank, 1) for bank in befores]
        for early, expected in ((1, [row]), (0, [])):
            last = scribe.issued(row.after, q, 1 + row.gap_ticks - early)
            found = [violation.rule for violation in violations([*trace, last], scribe.config)]
            assert [rule for rule in found if rule is not None] == expected
