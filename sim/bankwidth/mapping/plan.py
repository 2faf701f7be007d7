"""A plan: tasks with the streams and the work that an operator became on its engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Final

from bankwidth.devices.csd.program import CsdProgram
from bankwidth.devices.pim.program import PimProgram

Program = PimProgram | CsdProgram  # what a memory that computes is told to do
STREAM: Final = "stream"  # a unit that fetches for tasks to come, as far as there is room
FETCH: Final = "fetch"  # how the names of units begin that do nothing but fetch operators


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Consecutive bytes of a memory, read or written by a task. Addresses are the memory's own.

    With `chunk_bytes` they are pieces of that size, each at a place of its own in a drive. A store
    that is `posted` leaves after the task's end without holding it up. A load that goes
    `ahead` starts as soon as the task before its own one may start.
    """

    memory: str
    address: int
    size_bytes: int
    is_write: bool
    posted: bool = False
    ahead: bool = False
    chunk_bytes: int = 0  # 0: consecutive, as the memory's `access` reads them

    def in_chunks(self, chunk_bytes: int) -> Transfer:
        """The same bytes in pieces."""
        return replace(self, chunk_bytes=chunk_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One piece of work of one engine, with the counts that its energy is made of.

    Memory's time T and compute's time C take (T^p + C^p)^(1/p) together, p being `overlap`: at 1
    nothing overlaps. Stores that are not posted go with the loads, or with the drain that follows
    where there is one.

    Tasks of one unit of an engine run one after the other, different units side by side.
    """

    name: str
    operator: int  # index of the operator in the trace, expanded
    engine: str
    deps: tuple[int, ...]  # indices of tasks
    unit: str = ""
    ahead_of: tuple[int, ...] = ()  # the tasks that loads which go ahead wait for
    issue_ps: int = 0  # from its last dependency on, while its unit may still be at work
    launch_ps: int = 0  # on its unit
    compute_ps: int = 0
    ideal_ps: int = 0  # the compute at the engine's peak
    overlap: float = 1.0
    drain_ps: int = 0  # results on their way out, after loads and compute
    loads: tuple[Transfer, ...] = ()
    stores: tuple[Transfer, ...] = ()
    program: Program | None = None
    program_memory: str = ""
    program_read_bytes: int = 0  # from the rows of the banks that the program runs in
    program_write_bytes: int = 0
    counts: Mapping[str, float] = field(default_factory=dict)  # energy items of the engine
    split_ps: Mapping[str, int] = field(default_factory=dict)  # what the compute was, in words
    detail: str = ""

    def placed(self, operator: int, deps: tuple[int, ...], ahead_of: tuple[int, ...] = ()) -> Task:
        """The same work at a place in a plan; as `dataclasses.replace`, in a tenth of its time."""
        twin = object.__new__(Task)
        for fill, value in zip(_FILL_TASK, _TASK_VALUES(self), strict=True):
            fill(twin, value)
        _FILL_OPERATOR(twin, operator)
        _FILL_DEPS(twin, deps)
        _FILL_AHEAD_OF(twin, ahead_of)
        return twin


_TASK_FIELDS: Final = tuple(each.name for each in fields(Task))
_TASK_VALUES: Final = attrgetter(*_TASK_FIELDS)
# Slots are filled by their descriptors: a frozen class stays frozen for all others.
_FILL_TASK: Final = tuple(vars(Task)[name].__set__ for name in _TASK_FIELDS)
_FILL_OPERATOR, _FILL_DEPS, _FILL_AHEAD_OF = (
    vars(Task)[name].__set__ for name in ("operator", "deps", "ahead_of")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Bytes of a kind of tensor in a memory, from `base` on."""

    memory: str
    base: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks in an order in which each one's dependencies come before it."""

    tasks: tuple[Task, ...]
    placements: Mapping[str, Placement]  # weights, kv, activations
