"""What contradicts itself in the timing of a PIM command set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bankwidth.spec.base import Relation

if TYPE_CHECKING:
    from bankwidth.spec.pim import PimGapSpec, PimSpec


def contradictions(spec: PimSpec) -> Iterator[Relation]:
    """Commands with two gaps, and refreshes that leave no time. `spec` is whole and well-formed."""
    yield from _two_gaps(spec.gaps)
    yield from _endless_refresh(spec)


def _two_gaps(gaps: Sequence[PimGapSpec]) -> Iterator[Relation]:
    """Of rows that overlap the largest counts; rows of the very same commands contradict it."""
    known: dict[tuple[frozenset[str], frozenset[str], str], int] = {}
    for index, row in enumerate(gaps):
        commands = (frozenset(row.before), frozenset(row.after), row.scope)
        first = known.setdefault(commands, index)
        if gaps[first].gap != row.gap:
            pair = f"{', '.join(row.before)} -> {', '.join(row.after)}"
            yield (
                ("gaps", index, "gap"),
                f"{pair} is {_told(row)} here, but {_told(gaps[first])} in gaps.{first}",
            )


def _told(row: PimGapSpec) -> str:
    return f"{row.gap.value:g} {'ck' if row.gap.in_cycles else 'ns'}"


def _endless_refresh(spec: PimSpec) -> Iterator[Relation]:
    """Refreshing, opening, using and closing a row must fit twice into the refresh interval."""
    tick_ps = round(1000.0 / spec.clock_ghz)
    interval_ck = round(spec.refresh_interval_ns * 1000.0 / tick_ps)
    ticks = {role: 0 for role in ("refresh", "activate")}
    for row in spec.gaps:
        for name in row.before:
            role = spec.commands[name].role if name in spec.commands else ""
            if role in ticks:
                ticks[role] = max(ticks[role], row.gap.ticks(tick_ps))
    largest = max(row.gap.ticks(tick_ps) for row in spec.gaps)
    needed = ticks["refresh"] + 2 * ticks["activate"] + largest
    if needed * 2 > interval_ck:
        yield (
            ("refresh_interval",),
            f"{interval_ck} ck, but refreshing, opening and closing a row takes {needed} ck; the "
            "interval must be at least twice that",
        )
