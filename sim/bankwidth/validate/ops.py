"""Each row of an operator table as a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bankwidth.errors import MappingError, TraceError
from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.operators import Block, Operator, Trace, read_table
from bankwidth.results import Result, Table
from bankwidth.spec import MachineSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.run import Progress, run_plan
from bankwidth.system.wiring import wire


def trace_of_operator(op: Operator) -> Trace:
    """A trace of one operator; memory must hold what it reads and writes."""
    roles = {"weight": 0, "kv": 0, "activation": 0}
    for tensor in (*op.inputs, *op.outputs):
        roles[tensor.role] += tensor.size_bytes
    return Trace(
        model=op.name,
        phase="operator",
        batch=1,
        context=1,
        output_tokens=0,
        dtypes={},
        blocks=(Block(name="operator", repeat=1, operators=(op,)),),
        weight_bytes=roles["weight"],
        kv_bytes=roles["kv"],
        activation_bytes=roles["activation"],
    )


def simulate_operator(machine: MachineSpec, op: Operator) -> Result:
    """One operator on an idle machine, its memory traffic served off stream curves."""
    trace = trace_of_operator(op)
    run = run_plan(wire(machine, curves=True), make_plan(machine, trace))
    return assemble(run, trace, {})


def run_ops(machine: MachineSpec, path: Path | str, *, progress: Progress | None = None) -> Table:
    """Latency, bound and energy of each row; rows of equal shape are simulated once.

    Raises TraceError with `file:line` for a row that the machine cannot run.
    """
    prepare()
    rows = read_table(path)
    known: dict[Operator, dict[str, Any]] = {}
    figures = []
    for done, (line, _, op, measured_s) in enumerate(rows):
        if op not in known:
            known[op] = _figures(machine, op, f"{path}:{line}")
        figures.append({"line": line, **known[op], "measured_s": measured_s})
        if progress is not None and done % 100 == 0:
            progress(done, len(rows))
    names = figures[0] if figures else {}
    return Table({name: [figure[name] for figure in figures] for name in names})


def _figures(machine: MachineSpec, op: Operator, where: str) -> dict[str, Any]:
    try:
        result = simulate_operator(machine, op)
    except MappingError as error:
        raise TraceError(f"{where}: {error}") from error
    return {
        "operator": op.name,
        "kind": op.kind,
        "latency_s": result.latency_ns * 1e-9,
        "lower_bound_s": result.lower_bound_ns * 1e-9,
        "bound": str(result.operators["bound"][0]),
        "energy_pj": result.energy_pj,
    }
