"""Trace and machine to a plan: place the tensors, choose an engine per operator, lower it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.pim import PimLowering
from bankwidth.mapping.placement import place
from bankwidth.mapping.plan import Plan, Task
from bankwidth.operators import Operator, Trace
from bankwidth.spec import MachineSpec


class Lowering(Protocol):
    """What an engine kind does with an operator."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other; their `deps` are filled in by the plan."""


# To add an engine kind: its lowering file, and a line here.
_KINDS: dict[str, Callable[[Any, MachineSpec, Timing], Lowering]] = {
    "gpu": lambda spec, machine, timing: GpuLowering(spec, timing),
    "asic": lambda spec, machine, timing: AsicLowering(spec),
    "pim": lambda spec, machine, timing: PimLowering(spec, machine),
}


def lowerings(machine: MachineSpec, timing: Timing = IN_A_MODEL) -> dict[str, Lowering]:
    """One lowering per engine of the machine."""
    return {
        name: _KINDS[spec.kind](spec, machine, timing) for name, spec in machine.engines.items()
    }


def make_plan(machine: MachineSpec, trace: Trace) -> Plan:
    """Place and lower a whole trace.

    Raises MappingError when the trace does not fit a memory or an operator has no engine.
    """
    placements = place(machine, trace)
    steps = list(trace.expand())
    context = LoweringContext(placements, [step.operator for step in steps])
    engines = lowerings(machine)
    tasks: list[Task] = []
    last_task: list[int] = []  # of each operator
    for index, (op, deps) in enumerate(steps):
        name = choose_engine(machine, engines, op)
        waits = tuple(last_task[dep] for dep in deps)
        tasks.extend(_chain(engines[name].lower(op, index, name, context), waits, len(tasks)))
        last_task.append(len(tasks) - 1)
    return Plan(tasks=tuple(tasks), placements=placements)


def choose_engine(machine: MachineSpec, engines: Mapping[str, Lowering], op: Operator) -> str:
    """The engine that the machine's `run` rules name for an operator's kind, or its default.

    Raises MappingError when that engine cannot run the operator.
    """
    run = machine.mapping.run
    name = run.get(op.kind, run["default"])
    if not engines[name].supports(op):
        able = [other for other, lowering in engines.items() if lowering.supports(op)]
        hint = f"; {', '.join(able)} can: set mapping.run.{op.kind}" if able else ""
        raise MappingError(
            f"{machine.name}: engine {name!r} cannot run {op.kind} {op.name!r}{hint}"
        )
    return name


def _chain(tasks: Iterable[Task], waits: tuple[int, ...], first: int) -> Iterator[Task]:
    """The first task waits for the operator's dependencies, each further one for its forerunner."""
    for offset, task in enumerate(tasks):
        yield replace(task, deps=waits if offset == 0 else (first + offset - 1,))
