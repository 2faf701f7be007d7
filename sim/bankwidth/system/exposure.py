"""Which operator owns each instant of a run, so that the operators' times sum to its latency.

Operators are taken in the order they start; what is fetched ahead starts nothing. Each owns the
time from the latest end before it to its own end; what it did before that was hidden behind others
and is taken off its parts from the front, since they are in the order they happened. Time in which
nothing ran is the next one's wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bankwidth.system.record import PARTS, TaskRecord


@dataclass(slots=True, kw_only=True)
class OperatorTime:
    """Start, end and the owned time of one operator by part, all in ps; parts sum to `owned_ps`."""

    start_ps: int
    end_ps: int
    owned_ps: int
    parts_ps: dict[str, int]


def operator_times(
    groups: Sequence[Sequence[TaskRecord]], starts_ps: Sequence[int] | None = None
) -> list[OperatorTime]:
    """One entry per operator from its tasks' records.

    `starts_ps` is when each starts where that is not its first task's start.
    """
    times = [_own(records) for records in groups]
    starts = starts_ps or [time.start_ps for time in times]
    frontier = 0
    for _, time in sorted(
        zip(starts, times, strict=True), key=lambda pair: (pair[0], pair[1].end_ps)
    ):
        _expose(time, frontier)
        frontier = max(frontier, time.end_ps)
    return times


def _own(records: Sequence[TaskRecord]) -> OperatorTime:
    """An operator's whole time by part; pauses between its tasks count as waiting."""
    merged = dict.fromkeys(PARTS, 0)
    for part, ps in _in_order(records):
        merged[part] += ps
    if len(records) == 1:
        start, end = records[0].start_ps, records[0].end_ps
    else:
        start, end = _span(records)
    return OperatorTime(start_ps=start, end_ps=end, owned_ps=end - start, parts_ps=merged)


def _span(records: Sequence[TaskRecord]) -> tuple[int, int]:
    return min([r.start_ps for r in records]), max([r.end_ps for r in records])


def _in_order(records: Sequence[TaskRecord]) -> list[tuple[str, int]]:
    """Parts of tasks that may run side by side: what lies before an earlier one's end is hidden."""
    if len(records) == 1:
        return records[0].parts
    parts: list[tuple[str, int]] = []
    ordered = sorted(records, key=lambda record: (record.start_ps, record.end_ps))
    now = ordered[0].start_ps
    for record in ordered:
        parts.append(("wait", max(0, record.start_ps - now)))
        parts.extend(_without_front(record.parts, max(0, now - record.start_ps)))
        now = max(now, record.end_ps)
    return parts


def _without_front(parts: Sequence[tuple[str, int]], hidden_ps: int) -> Sequence[tuple[str, int]]:
    if hidden_ps == 0:
        return parts
    left = []
    for part, ps in parts:
        cut = min(hidden_ps, ps)
        hidden_ps -= cut
        left.append((part, ps - cut))
    return left


def _expose(time: OperatorTime, frontier_ps: int) -> None:
    """Cut off what lies before `frontier_ps`, part by part from the front."""
    hidden = max(0, min(frontier_ps, time.end_ps) - time.start_ps)
    for part in PARTS if hidden else ():
        cut = min(hidden, time.parts_ps[part])
        time.parts_ps[part] -= cut
        hidden -= cut
    time.parts_ps["wait"] += max(0, time.start_ps - frontier_ps)
    time.owned_ps = max(0, time.end_ps - frontier_ps)
