"""What a standard is: levels, commands and a table of gaps, and how the table becomes integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from bankwidth.devices.dram.commands import NAMES, Command, Level
from bankwidth.errors import SpecError
from bankwidth.spec.dram import TimingCk

T = TypeVar("T", bound=TimingCk)
Commands = tuple[Command, ...]


class Controller(StrEnum):
    """How commands reach the device."""

    ONE_BUS = "one command per tick"
    TWO_BUSES = "a column and a row command per tick"
    HALF_CLOCK = "two buses, ticks of half a clock, precharges also on the falling edge"
    SPLIT_ACTIVATE = "one command per tick, activate in two halves, data clock synchronised"


@dataclass(frozen=True, slots=True)
class Gap(Generic[T]):
    """`after` may follow `before` below the same node of `level` no earlier than `gap` cycles.

    `window` w counts from the w-th last `before`. A `sibling` row binds the node's neighbours below
    the same parent instead of the node itself.
    """

    level: Level
    before: Commands
    after: Commands
    gap: Callable[[T], int]
    window: int = 1
    sibling: bool = False


@dataclass(frozen=True, slots=True)
class Constraint:
    """One resolved row, in ticks from first cycle to first cycle."""

    level: Level
    before: Command
    after: Command
    gap_ticks: int
    window: int
    sibling: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standard(Generic[T]):
    """A DRAM standard as data. `source` covers commands and gaps."""

    name: str
    controller: Controller
    levels: tuple[Level, ...]  # outermost first; rows and columns follow below the last
    commands: Commands  # in the order that numbers them
    refresh_level: Level  # whose banks one all-bank refresh takes
    gaps: tuple[Gap[T], ...]
    source: str
    cycles: dict[Command, int]  # ticks a command occupies its bus, where more than one
    buses: tuple[Commands, ...]  # commands that share wires
    ticks_per_ck: int = 1
    renamed: dict[Command, str] | None = None

    def command_name(self, command: Command) -> str:
        """Spelling of the standard."""
        return (self.renamed or {}).get(command, NAMES[command])

    def length_ticks(self, command: Command) -> int:
        """Ticks that the command occupies its bus."""
        return self.cycles.get(command, 1)


def constraints_of(standard: Standard[T], timing: T) -> tuple[Constraint, ...]:
    """All rows in ticks: command buses first, then the table, adjusted for long commands.

    A gap of the table counts from the last cycle of `before` to the last of `after`; an issue is
    recorded at its first cycle. Raises SpecError for a row whose gap is negative though it has one
    window and no sibling (a timing that cannot be meant).
    """
    ticks = timing.model_copy(update=timing.times(standard.ticks_per_ck))
    rows = [
        _resolved(standard, row, row.gap(ticks), before, after)
        for row in standard.gaps
        for before in row.before
        for after in row.after
    ]
    return (*_bus_constraints(standard), *rows)


def _bus_constraints(standard: Standard[T]) -> list[Constraint]:
    return [
        Constraint(Level.CHANNEL, before, after, standard.length_ticks(before), 1, False)
        for bus in standard.buses
        for before in bus
        if standard.length_ticks(before) > 1
        for after in bus
    ]


def _resolved(
    standard: Standard[T], row: Gap[T], gap_ticks: int, before: Command, after: Command
) -> Constraint:
    if gap_ticks < 0 and not row.sibling:
        names = f"{standard.command_name(before)} -> {standard.command_name(after)}"
        raise SpecError(f"{standard.name} timing: gap {names} per {row.level} is {gap_ticks} ck")
    adjusted = gap_ticks + standard.length_ticks(before) - standard.length_ticks(after)
    return Constraint(row.level, before, after, adjusted, row.window, row.sibling)
