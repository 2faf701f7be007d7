"""`simulate(arch, trace)`: mapping, simulation and results, one after the other."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.pipeline import in_stages, stage_machine
from bankwidth.mapping.recompute import with_recomputation
from bankwidth.mapping.shares import share_of
from bankwidth.operators import Trace
from bankwidth.provenance import provenance_of
from bankwidth.results import Result
from bankwidth.spec import MachineSpec, NpuSpec, PimSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.run import Progress, run_plan
from bankwidth.system.wiring import memory_model, wire


@contextmanager
def collector_paused() -> Iterator[None]:
    """A run makes millions of objects and keeps nearly all: looking for garbage takes a third."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def simulate(
    arch: MachineSpec,
    trace: Trace,
    *,
    skip: bool = True,
    exact_memory: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Run a trace on a machine, command by command; of equal devices that share it, on one.

    `skip=False` simulates every period of repeating traffic one by one; the result is the same.
    A run of several decode steps remembers what transfers take of plain DRAM, and adds refreshes
    where they fall due (system/remembered_memory.py): its time is within 0.5 % of that of
    `exact_memory=True`. Raises MappingError when the trace does not fit, SimulationError when it
    cannot go on.
    """
    prepare()
    with collector_paused():
        return _simulate(arch, trace, skip, exact_memory, progress)


def _simulate(
    arch: MachineSpec, trace: Trace, skip: bool, exact_memory: bool, progress: Progress | None
) -> Result:
    trace = with_recomputation(arch, in_stages(arch, share_of(arch, trace)))
    stage = stage_machine(arch)
    plan = make_plan(stage, trace)
    remembered = not exact_memory and _may_remember(stage, trace)
    run = run_plan(wire(stage, skip=skip, remembered=remembered), plan, progress)
    provenance = provenance_of(arch, trace, skip=skip, memory_model=memory_model(run.wired))
    result = assemble(run, trace, provenance | {"skipped_pct": run.skipped_pct()})
    result.verify()
    return result


def _may_remember(machine: MachineSpec, trace: Trace) -> bool:
    """Whether there are many steps, and engines whose loads and stores do not race each other."""
    racing = any(isinstance(spec, PimSpec | NpuSpec) for spec in machine.engines.values())
    return trace.phase == "generate" and trace.output_tokens > 1 and not racing
