"""`simulate(arch, trace)`: mapping, simulation and results, one after the other."""

from __future__ import annotations

from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.operators import Trace
from bankwidth.provenance import provenance_of
from bankwidth.results import Result
from bankwidth.spec import MachineSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.run import Progress, run_plan
from bankwidth.system.wiring import wire


def simulate(
    arch: MachineSpec, trace: Trace, *, skip: bool = True, progress: Progress | None = None
) -> Result:
    """Run a trace on a machine, command by command.

    `skip=False` simulates every period of repeating traffic one by one; the result is the same.
    Raises MappingError when the trace does not fit, SimulationError when it cannot go on.
    """
    prepare()
    plan = make_plan(arch, trace)
    run = run_plan(wire(arch, skip=skip), plan, progress)
    provenance = provenance_of(arch, trace, skip=skip) | {"skipped_pct": run.skipped_pct()}
    result = assemble(run, trace, provenance)
    result.verify()
    return result
