"""Plans in which one task follows another: run without the event loop, with the same result.

Where every task waits for the one before it and all bytes move in computing banks, nothing ever
contends, so that each time follows from the last one. A run that generates a thousand tokens has
some 400,000 tasks; the event loop would take most of its time. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Callable

from bankwidth.mapping.plan import Plan, Task, Transfer
from bankwidth.system.engine import (
    Engine,
    moved_with_compute,
    note_body,
    note_compute,
    note_program,
    together_ps,
)
from bankwidth.system.memory import Served
from bankwidth.system.pim_memory import PimMemory
from bankwidth.system.record import TaskRecord
from bankwidth.system.wiring import Wired

TASKS_BETWEEN_REPORTS = 1000


def is_line(wired: Wired, plan: Plan) -> bool:
    """Whether no two tasks of a plan can be under way at once, and all memories compute."""
    computing = {n for n, memory in wired.memories.items() if isinstance(memory, PimMemory)}
    before: Task | None = None
    for index, task in enumerate(plan.tasks):
        if not _follows(task, before, index) or not _is_plain(task, computing):
            return False
        before = task
    return True


def _is_plain(task: Task, computing: set[str]) -> bool:
    """Nothing runs ahead of the task, or on after its end."""
    if task.program is not None:
        return task.program_memory in computing and not task.issue_ps
    if task.drain_ps or task.issue_ps:
        return False
    if not task.loads and not task.stores:
        return True
    return all(
        t.memory in computing and not t.posted and not t.ahead for t in (*task.loads, *task.stores)
    )


def _follows(task: Task, before: Task | None, index: int) -> bool:
    """Whether a task waits for the one before it, or for its turn behind it."""
    if task.deps and max(task.deps) >= index:
        return False
    if before is None or index - 1 in task.deps:
        return True
    return (task.engine, task.unit, task.deps) == (before.engine, before.unit, before.deps)


def run_line(
    wired: Wired, plan: Plan, progress: Callable[[int, int], None] | None = None
) -> list[TaskRecord]:
    """Records of all tasks of a plan for which `is_line` holds."""
    records: list[TaskRecord] = []
    free_ps = 0  # when the task before ended
    for index, task in enumerate(plan.tasks):
        record = TaskRecord(start_ps=_ready_ps(task, records))
        free_ps = _run(wired, task, record, free_ps)
        records.append(record)
        if progress is not None and index % TASKS_BETWEEN_REPORTS == 0:
            progress(index, len(plan.tasks))
    if free_ps > 0:
        wired.env.run(until=free_ps)
    return records


def _ready_ps(task: Task, records: list[TaskRecord]) -> int:
    """When all that a task waits for is over."""
    if len(task.deps) == 1:
        return records[task.deps[0]].end_ps
    return max([records[dep].end_ps for dep in task.deps], default=0)


def _run(wired: Wired, task: Task, record: TaskRecord, free_ps: int) -> int:
    """Run one task from when the one before has ended; its own end."""
    engine = wired.engines[task.engine]
    held_ps = max(record.start_ps, free_ps)
    start_ps = held_ps + task.launch_ps
    record.parts = [("wait", held_ps - record.start_ps), ("launch", task.launch_ps)]
    if task.program is not None:
        memory = wired.memories[task.program_memory]
        assert isinstance(memory, PimMemory)
        served = memory.serve(task.program, start_ps)
        note_program(task, record, memory, served, start_ps)
        end_ps = served.end_ps
    elif not task.loads and not task.stores:
        end_ps = start_ps + task.compute_ps
        note_compute(task, record)
    else:
        end_ps = _run_body(wired, engine, task, record, start_ps)
    record.end_ps = end_ps
    engine.busy_ps += end_ps - held_ps
    return end_ps


def _run_body(wired: Wired, engine: Engine, task: Task, record: TaskRecord, start_ps: int) -> int:
    """Loads, compute and stores; the end."""
    moves = [_move(wired, engine, transfer, start_ps) for transfer in moved_with_compute(task)]
    moved_ps = max([end_ps for _, end_ps in moves], default=start_ps) - start_ps
    end_ps = start_ps + together_ps(moved_ps, task.compute_ps, task.overlap)
    note_body(task, record, wired.memories, [served for served, _ in moves], start_ps, end_ps)
    return end_ps


def _move(wired: Wired, engine: Engine, transfer: Transfer, now_ps: int) -> tuple[Served, int]:
    """As `Engine` moves bytes; what the memory did, and when they have arrived."""
    memory = wired.memories[transfer.memory]
    assert isinstance(memory, PimMemory)
    link = engine.links.get(transfer.memory)
    served = memory.carry(transfer.address, transfer.size_bytes, now_ps, is_write=transfer.is_write)
    if link is None:
        return served, served.end_ps
    sent_ps = link.serialise(transfer.size_bytes, now_ps)
    return served, max(sent_ps, served.end_ps) + link.latency_ps
