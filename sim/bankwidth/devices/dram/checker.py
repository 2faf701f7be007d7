"""A slow, simple check that a list of commands keeps every rule of a timing table.

It shares nothing with the engine: it looks back over the commands that were issued, rule by rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.table import Constraint

EVERY = -1  # index of a command that goes to all nodes of a level


@dataclass(frozen=True, slots=True)
class Issued:
    """A command at a tick; one index per level, channel to bank."""

    tick: int
    name: str
    place: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    """Two commands that are closer than a rule allows."""

    rule: Constraint
    before: Issued
    after: Issued

    def __str__(self) -> str:
        rule, apart = self.rule, self.after.tick - self.before.tick
        return (
            f"tick {self.after.tick}: {self.after.name} {self.after.place} is {apart} ticks after "
            f"{self.before.name} {self.before.place}, at least {rule.gap_ticks} per {rule.level}"
        )


def _meets(a: int, b: int) -> bool:
    return a == b or EVERY in (a, b)


def _is_bound(rule: Constraint, depth: int, before: Issued, after: Issued) -> bool:
    """Whether both commands go below the same node of the rule's level (or below siblings)."""
    same_above = all(map(_meets, before.place[:depth], after.place[:depth]))
    if rule.sibling:
        return same_above and not _meets(before.place[depth], after.place[depth])
    return same_above and _meets(before.place[depth], after.place[depth])


def first_violation(commands: Iterable[Issued], config: DramConfig) -> Violation | None:
    """The first command that comes too early, with the rule it breaks; None if there is none."""
    names = dict(zip(config.commands, config.command_names, strict=True))
    rules: dict[str, list[Constraint]] = {}
    for rule in config.constraints:
        rules.setdefault(names[rule.after], []).append(rule)
    longest = max(rule.gap_ticks for rule in config.constraints)
    past: list[Issued] = []  # most recent first
    for command in commands:
        past = [old for old in past if command.tick - old.tick < longest]
        for rule in rules.get(command.name, []):
            depth = config.levels.index(rule.level)
            bound = [
                old
                for old in past
                if old.name == names[rule.before] and _is_bound(rule, depth, old, command)
            ]
            if len(bound) >= rule.window:
                old = bound[rule.window - 1]
                if command.tick - old.tick < rule.gap_ticks:
                    return Violation(rule, old, command)
        past.insert(0, command)
    return None
