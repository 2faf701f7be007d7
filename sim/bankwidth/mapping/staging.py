"""Weights on their way to compute SRAM: fetched ahead, as far as the slices have room for them.

Products name what goes `ahead`; here each such load becomes a task of its own, on a unit that does
nothing else. They follow one another in the order of the products, each as soon as the products
before have freed the room that it needs: two pieces that fit together are a double buffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bankwidth.mapping.plan import STREAM, Task


@dataclass(slots=True)
class _Room:
    """Of one engine: pieces that are there or on their way, and the last one fetched."""

    capacity_bytes: int
    held_bytes: int = 0
    pieces: deque[tuple[int, int]] = field(default_factory=deque)  # bytes, task that uses them
    last: tuple[int, ...] = ()

    def make(self, size_bytes: int) -> tuple[int, ...]:
        """The task after which there is room; none where there is."""
        freed: tuple[int, ...] = ()
        while self.pieces and self.held_bytes + size_bytes > self.capacity_bytes:
            held, user = self.pieces.popleft()
            self.held_bytes -= held
            freed = (user,)
        return freed


def with_streams(tasks: Sequence[Task], staging_bytes: Mapping[str, int]) -> list[Task]:
    """Loads that go ahead as tasks of their own; `staging_bytes` is the room of each engine."""
    rooms = {engine: _Room(size) for engine, size in staging_bytes.items()}
    plan: list[Task] = []
    now: dict[int, int] = {}  # where a task is in the new plan
    for index, task in enumerate(tasks):
        deps = tuple([now[dep] for dep in task.deps])
        early = tuple([now[dep] for dep in task.ahead_of])
        room = rooms.get(task.engine)
        if room is not None and any([load.ahead for load in task.loads]):
            stream = _stream(task, room)
            room.last = (len(plan),)
            deps += room.last
            plan.append(stream)
            size = sum([load.size_bytes for load in stream.loads])
            room.pieces.append((size, len(plan)))
            room.held_bytes += size
            task = replace(task, loads=tuple([load for load in task.loads if not load.ahead]))
        now[index] = len(plan)
        plan.append(task.placed(task.operator, deps, early))
    return plan


def _stream(task: Task, room: _Room) -> Task:
    loads = tuple([replace(load, ahead=False) for load in task.loads if load.ahead])
    size = sum([load.size_bytes for load in loads])
    return Task(
        name=f"{task.name}.{STREAM}",
        operator=task.operator,
        engine=task.engine,
        unit=STREAM,
        deps=(*room.last, *room.make(size)),
        loads=loads,
        detail=f"{size} bytes into the slices",
    )
