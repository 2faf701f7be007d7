"""Tensors away from the engine: which part of them is served from where.

A region may have a second memory: one that keeps what was read from it last (a page cache), or one
that takes what it has no room for (swap space). A decode step goes through all weights and all keys
and values in turn. Where the least recently used part has to leave, what does not fit as a whole is
therefore never there when it is wanted again; where a part is pinned, that part is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bankwidth.mapping.plan import Placement, Task, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Offloaded(Placement):
    """A region that is staged elsewhere, shared with another memory or read in part.

    `group_bytes` are what a decode step goes through besides keys and values, in the same memory.
    """

    other: Placement | None = None  # the page cache, or what takes the overflow
    is_cache: bool = False  # whether `other` is the faster of both
    room_bytes: int = 0  # in the faster one
    keeps: Literal["lru", "pinned"] = "lru"
    group_bytes: int = 0
    with_kv: bool = False  # whether keys and values belong to the group
    staged: bool = False  # copied to where activations are, ahead; stores are not waited for
    read_share: float = 1.0  # of keys and values, what a decode step reads

    def served(self, size_bytes: int, cached_bytes: int) -> list[tuple[Placement, int]]:
        """Where `size_bytes` of it come from while `cached_bytes` of keys and values are stored."""
        if self.other is None:
            return [(self, size_bytes)]
        fast, slow = (self.other, self) if self.is_cache else (self, self.other)
        hit_bytes = int(size_bytes * self.hit_share(cached_bytes))
        parts: list[tuple[Placement, int]] = [(fast, hit_bytes), (slow, size_bytes - hit_bytes)]
        return [(place, part) for place, part in parts if part]

    def hit_share(self, cached_bytes: int) -> float:
        """The part of the region that the faster memory has when it is wanted."""
        wanted = self.group_bytes + (cached_bytes if self.with_kv else 0)
        if wanted <= self.room_bytes:
            return 1.0
        return 0.0 if self.keeps == "lru" else max(0, self.room_bytes) / wanted


def with_copies(tasks: Sequence[Task]) -> list[Task]:
    """What is staged as tasks of its own, beside those that compute; one at a time per memory.

    There are two buffers for each operator's like: a copy waits until its like two layers before
    has been used, and for the copies before it out of the same memory.
    """
    plan: list[Task] = []
    now: dict[int, int] = {}  # where a task is in the new plan
    used: dict[str, list[int]] = {}  # tasks of a name that had copies
    for index, task in enumerate(tasks):
        deps = tuple([now[dep] for dep in task.deps])
        early = tuple([now[dep] for dep in task.ahead_of])
        staged = [load for load in task.loads if load.ahead]
        if staged:
            likes = used.setdefault(task.name, [])
            copies = _copies(task, staged, tuple(likes[-2:-1]))
            deps += tuple(range(len(plan), len(plan) + len(copies)))
            plan += copies
            likes.append(len(plan))
            task = replace(task, loads=tuple(load for load in task.loads if not load.ahead))
        now[index] = len(plan)
        plan.append(task.placed(task.operator, deps, early))
    return plan


def _copies(task: Task, staged: Sequence[Transfer], deps: tuple[int, ...]) -> list[Task]:
    """A copy out of each memory, by a unit of the engine that does nothing else."""
    return [
        Task(
            name=f"{task.name}.copy",
            operator=task.operator,
            engine=task.engine,
            unit=f"copy from {memory}",
            deps=deps,
            loads=tuple(replace(load, ahead=False) for load in staged if load.memory == memory),
            detail=f"from {memory}",
        )
        for memory in dict.fromkeys(load.memory for load in staged)
    ]
