"""Which operator owns each instant of a run, so that the operators' times sum to its latency.

Operators are taken in the order they start. Each owns the time from the latest end before it to its
own end; what it did before that was hidden behind others and is taken off its parts from the front,
since they are in the order they happened. Time in which nothing ran is the next one's wait.
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


def operator_times(groups: Sequence[Sequence[TaskRecord]]) -> list[OperatorTime]:
    """One entry per operator from its tasks' records, which are in the order they ran."""
    times = [_own(records) for records in groups]
    frontier = 0
    for time in sorted(times, key=lambda t: (t.start_ps, t.end_ps)):
        _expose(time, frontier)
        frontier = max(frontier, time.end_ps)
    return times


def _own(records: Sequence[TaskRecord]) -> OperatorTime:
    """An operator's whole time by part; pauses between its tasks count as waiting."""
    parts = _in_order(records)
    merged = dict.fromkeys(PARTS, 0)
    for part, ps in parts:
        merged[part] += ps
    start, end = records[0].start_ps, records[-1].end_ps
    return OperatorTime(start_ps=start, end_ps=end, owned_ps=end - start, parts_ps=merged)


def _in_order(records: Sequence[TaskRecord]) -> list[tuple[str, int]]:
    parts: list[tuple[str, int]] = []
    now = records[0].start_ps
    for record in records:
        parts.append(("wait", record.start_ps - now))
        parts.extend(record.parts)
        now = record.end_ps
    return parts


def _expose(time: OperatorTime, frontier_ps: int) -> None:
    """Cut off what lies before `frontier_ps`, part by part from the front."""
    hidden = max(0, min(frontier_ps, time.end_ps) - time.start_ps)
    for part in PARTS:
        cut = min(hidden, time.parts_ps[part])
        time.parts_ps[part] -= cut
        hidden -= cut
    time.parts_ps["wait"] += max(0, time.start_ps - frontier_ps)
    time.owned_ps = max(0, time.end_ps - frontier_ps)
