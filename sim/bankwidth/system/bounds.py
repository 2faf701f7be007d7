"""The lower bound of a run: no resource can do its share of the work faster than its peak."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.mapping.plan import Task
from bankwidth.system.record import TaskRecord


def lower_bound_ps(tasks: Sequence[Task], records: Sequence[TaskRecord]) -> int:
    """The longest of: each unit's work at its peak, each memory's bytes at its peak."""
    work: dict[tuple[str, str], int] = {}
    for task, record in zip(tasks, records, strict=True):
        unit = (task.engine, task.unit)
        work[unit] = work.get(unit, 0) + task.ideal_ps
        for memory, ps in record.memory_ps.items():
            work[memory, ""] = work.get((memory, ""), 0) + ps
    return max(work.values(), default=0)
