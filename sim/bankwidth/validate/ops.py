"""Each row of an operator table as a run of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bankwidth.errors import MappingError, TraceError
from bankwidth.kernel_cache import prepare
from bankwidth.mapping.build import make_plan
from bankwidth.operators import Block, Operator, TableRow, Trace, read_table
from bankwidth.results import Result, Table
from bankwidth.spec import MachineSpec
from bankwidth.system.assemble import assemble
from bankwidth.system.run import Progress, run_plan
from bankwidth.system.wiring import wire

PROGRESS_ROWS: Final = 100  # rows between two reports of progress


def trace_of_operator(op: Operator) -> Trace:
    """A trace of one operator; memory must hold what it reads and writes."""
    roles = {"weight": 0, "kv": 0, "activation": 0, "far": 0}
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
        far_bytes=roles["far"],
    )


def simulate_operator(machine: MachineSpec, op: Operator) -> Result:
    """One operator on an idle machine, its memory traffic served off stream curves."""
    trace = trace_of_operator(op)
    run = run_plan(wire(machine, curves=True), make_plan(machine, trace))
    return assemble(run, trace, {})


class OperatorFigures(NamedTuple):
    """What a run of one operator gives."""

    latency_s: float
    lower_bound_s: float
    bound: str
    energy_pj: float


def run_ops(machine: MachineSpec, path: Path | str, *, progress: Progress | None = None) -> Table:
    """Latency, bound and energy of each row; rows of equal shape are simulated once.

    Raises TraceError with `file:line` for a row that the machine cannot run.
    """
    rows = read_table(path)
    prepare()
    known: dict[Operator, OperatorFigures] = {}
    figures = []
    for done, row in enumerate(rows):
        if row.operator not in known:
            known[row.operator] = _figures(machine, row.operator, f"{path}:{row.line}")
        figures.append(known[row.operator])
        if progress is not None and done % PROGRESS_ROWS == 0:
            progress(done, len(rows))
    return _table(rows, figures)


def _figures(machine: MachineSpec, op: Operator, where: str) -> OperatorFigures:
    try:
        result = simulate_operator(machine, op)
    except MappingError as error:
        raise TraceError(f"{where}: {error}") from error
    return OperatorFigures(
        latency_s=result.latency_ns * 1e-9,
        lower_bound_s=result.lower_bound_ns * 1e-9,
        bound=str(result.operators["bound"][0]),
        energy_pj=result.energy_pj,
    )


def _table(rows: Sequence[TableRow], figures: Sequence[OperatorFigures]) -> Table:
    """No columns where there are no rows."""
    if not rows:
        return Table({})
    return Table(
        {
            "line": [row.line for row in rows],
            "operator": [row.operator.name for row in rows],
            "kind": [row.operator.kind for row in rows],
            "latency_s": [found.latency_s for found in figures],
            "lower_bound_s": [found.lower_bound_s for found in figures],
            "bound": [found.bound for found in figures],
            "energy_pj": [found.energy_pj for found in figures],
            "measured_s": [row.latency_s for row in rows],
        }
    )
