"""The timeline of a run: what each engine and each memory did when, made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, overload

from bankwidth.devices.pim.program import PimProgram
from bankwidth.mapping.plan import Task
from bankwidth.operators import Operator
from bankwidth.results import Slice
from bankwidth.system.memory import ComputingMemory
from bankwidth.system.pim_memory import PimMemory
from bankwidth.system.run import Run


class Slices(Sequence[Slice]):
    """A tuple in all but name; most runs are never looked at this closely."""

    def __init__(self, run: Run, steps: Sequence[Operator]) -> None:
        self._run, self._steps = run, steps

    @cached_property
    def _made(self) -> tuple[Slice, ...]:
        return slices_of(self._run, self._steps)

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> Slice: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Slice, ...]: ...
    def __getitem__(self, index: int | slice) -> Slice | tuple[Slice, ...]:
        return self._made[index]

    def __iter__(self) -> Iterator[Slice]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._made == tuple(other)

    def __hash__(self) -> int:
        return hash(self._made)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Copied and stored as what it stands for."""
        return tuple, (list(self._made),)


def slices_of(run: Run, steps: Sequence[Operator]) -> tuple[Slice, ...]:
    """Each task on its engine's lane, from when it held the engine, and on its memories' lanes."""
    slices = []
    for task, record in zip(run.plan.tasks, run.records, strict=True):
        held_ps = record.start_ps + sum(ps for part, ps in record.parts[:1] if part == "wait")
        args = {"bound": record.bound, "detail": task.detail}
        kind, duration_ps = steps[task.operator].kind, record.end_ps - held_ps
        track = f"{task.engine}/{task.unit}" if task.unit else task.engine
        slices.append(Slice(track, task.name, held_ps, duration_ps, kind, args))
        for memory, (start_ps, end_ps) in record.served_ps.items():
            lane, told = _memory_lane(run, memory, task)
            slices.append(Slice(lane, task.name, start_ps, end_ps - start_ps, kind, told))
    return tuple(slices)


def _memory_lane(run: Run, memory: str, task: Task) -> tuple[str, dict[str, Any]]:
    """Where memories compute, programs and plain traffic lie apart; PIM's tell their commands."""
    if not isinstance(run.wired.memories[memory], ComputingMemory):
        return memory, {}
    if task.program is None or task.program_memory != memory:
        plain = "commands" if isinstance(run.wired.memories[memory], PimMemory) else "transfers"
        return f"{memory}/plain {plain}", {}
    if isinstance(task.program, PimProgram):
        return f"{memory}/PIM commands", {**task.program.counts}
    return f"{memory}/programs", {}
