"""Wire a machine, run a plan's tasks as their inputs come, and notice when nothing can go on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import simpy

from bankwidth.errors import SimulationError
from bankwidth.mapping.plan import Plan, Task
from bankwidth.system.engine import ahead
from bankwidth.system.line import is_line, run_line
from bankwidth.system.record import TaskRecord
from bankwidth.system.wiring import Wired

Progress = Callable[[int, int], None]
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What happened: one record per task, on a machine whose components hold their counts."""

    plan: Plan
    records: Sequence[TaskRecord]
    wired: Wired
    latency_ps: int

    def skipped_pct(self) -> dict[str, float]:
        """Share of each memory's requests that repeated what was known, where any did."""
        shares = {name: memory.skipped() for name, memory in self.wired.memories.items()}
        return {name: round(100 * part / of, 2) for name, (part, of) in shares.items() if part}


def run_plan(wired: Wired, plan: Plan, progress: Progress | None = None) -> Run:
    """Run every task of a plan to its end.

    Raises SimulationError that names who waits for what when tasks are left that cannot start.
    """
    records = (
        run_line(wired, plan, progress) if is_line(wired, plan) else _loop(wired, plan, progress)
    )
    for memory in wired.memories.values():
        memory.finish()
    latency_ps = max((r.end_ps for r in records), default=0)
    return Run(plan=plan, records=records, wired=wired, latency_ps=latency_ps)


def _loop(wired: Wired, plan: Plan, progress: Progress | None) -> list[TaskRecord]:
    """Every task as a process on the event loop."""
    env = wired.env
    done = [env.event() for _ in plan.tasks]
    records = [TaskRecord(start_ps=0) for _ in plan.tasks]
    for index, task in enumerate(plan.tasks):
        env.process(_run_task(wired, task, records[index], done, index))
    _step(env, records, progress)
    stuck = [index for index, event in enumerate(done) if not event.processed]
    if stuck:
        raise SimulationError(_who_waits(plan.tasks, stuck, done))
    return records


def _run_task(
    wired: Wired, task: Task, record: TaskRecord, done: list[simpy.Event], index: int
) -> Generator[simpy.Event, Any, None]:
    engine = wired.engines[task.engine]
    fetched = None
    if ahead(task):
        early = wired.env.all_of([done[dep] for dep in task.ahead_of])
        fetched = wired.env.process(engine.fetch(task, early))
    if task.deps:
        yield wired.env.all_of([done[dep] for dep in task.deps])
    record.start_ps = int(wired.env.now)
    yield from engine.run(task, record, fetched)
    done[index].succeed()


def _step(env: simpy.Environment, records: Sequence[TaskRecord], progress: Progress | None) -> None:
    """Run to the last event; progress hears every thousand events how many tasks are over."""
    events = finished = 0
    while env.peek() != float("inf"):
        env.step()
        events += 1
        if progress is not None and events % 1000 == 0:
            while finished < len(records) and records[finished].end_ps:
                finished += 1
            progress(finished, len(records))


def _who_waits(tasks: Sequence[Task], stuck: list[int], done: list[simpy.Event]) -> str:
    lines = []
    for index in stuck[:_SHOWN]:
        missing = [d for d in tasks[index].deps if not done[d].processed]
        names = ", ".join(f"task {d} {tasks[d].name!r}" for d in missing) or "its engine"
        lines.append(
            f"task {index} {tasks[index].name!r} on {tasks[index].engine} waits for {names}"
        )
    more = f"; and {len(stuck) - _SHOWN} more" if len(stuck) > _SHOWN else ""
    return f"deadlock, {len(stuck)} of {len(tasks)} tasks cannot go on: {'; '.join(lines)}{more}"
