"""`simulate(arch, trace)`: mapping, simulation and results, one after the other."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.pipeline import in_stages, stage_machine
from bankwidth.mapping.shares import share_of
from bankwidth.operators import Trace
from bankwidth.provenance import provenance_of
from bankwidth.results import Result
from bankwidth.spec import MachineSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.run import Progress, run_plan
from bankwidth.system.wiring import wire


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
    arch: MachineSpec, trace: Trace, *, skip: bool = True, progress: Progress | None = None
) -> Result:
    """Run a trace on a machine, command by command; of equal devices that share it, on one.

    `skip=False` simulates every period of repeating traffic one by one; the result is the same.
    Raises MappingError when the trace does not fit, SimulationError when it cannot go on.
    """
    prepare()
    with collector_paused():
        return _simulate(arch, trace, skip, progress)


def _simulate(arch: MachineSpec, trace: Trace, skip: bool, progress: Progress | None) -> Result:
    trace = in_stages(arch, share_of(arch, trace))
    stage = stage_machine(arch)
    plan = make_plan(stage, trace)
    run = run_plan(wire(stage, skip=skip), plan, progress)
    provenance = provenance_of(arch, trace, skip=skip) | {"skipped_pct": run.skipped_pct()}
    result = assemble(run, trace, provenance)
    result.verify()
    return result
