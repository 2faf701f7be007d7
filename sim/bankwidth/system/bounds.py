"""The lower bound of a run: no resource can do its share of the work faster than its peak."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.mapping.plan import Task
from bankwidth.system.record import TaskRecord


def lower_bound_ps(tasks: Sequence[Task], records: Sequence[TaskRecord]) -> int:
    """The longest of: each engine's work at its peak, each memory's bytes at its peak."""
    work: dict[str, int] = {}
    for task, record in zip(tasks, records, strict=True):
        _add(work, task.engine, task.ideal_ps)
        for memory, ps in record.memory_ps.items():
            _add(work, memory, ps)
    return max(work.values(), default=0)


def _add(work: dict[str, int], name: str, ps: int) -> None:
    work[name] = work.get(name, 0) + ps
