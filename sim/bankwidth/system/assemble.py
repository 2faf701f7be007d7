"""Records and component counts to the tables of a result."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bankwidth.energy import Ledger, counted_energy_pj, static_energy_pj
from bankwidth.mapping.plan import Task
from bankwidth.operators import Operator, Trace
from bankwidth.results import Result, Slice, Table
from bankwidth.spec import GpuSpec, MachineSpec, PimSpec
from bankwidth.system.bounds import lower_bound_ps
from bankwidth.system.engine_energy import item_energies_pj
from bankwidth.system.exposure import OperatorTime, operator_times
from bankwidth.system.pim_memory import PimMemory
from bankwidth.system.record import PARTS, TaskRecord
from bankwidth.system.run import Run
from bankwidth.system.wiring import Wired
from bankwidth.units import ps_to_ns

BITS = 8
# A DRAM's energy items: these go with its bytes, the others (refresh, standby) with time.
WITH_BYTES = frozenset({"activate", "read", "write", "io"})
COMPUTED = ("compute", "mode")  # energy items of computing banks that are their engine's


def assemble(run: Run, trace: Trace, provenance: dict[str, Any]) -> Result:
    """All tables of one run; `Result.verify` holds for them."""
    wired = run.wired
    ledger = _ledger(run)
    steps = [op for op, _ in trace.expand()]
    groups = _by_operator(run, len(steps))
    times = operator_times([[run.records[i] for i in group] for group in groups])
    operators = _operators_table(run, steps, groups, times, ledger)
    return Result(
        machine=wired.machine.name,
        workload=trace.model,
        phase=trace.phase,
        batch=trace.batch,
        context=trace.context,
        tokens=_tokens(trace),
        latency_ps=run.latency_ps,
        lower_bound_ns=ps_to_ns(lower_bound_ps(run.plan.tasks, run.records)),
        operators=operators,
        components=_components_table(run, ledger),
        commands=_commands_table(wired),
        parts_ns={f"{p}_ns": math.fsum(operators[f"{p}_ns"]) for p in PARTS},
        energy_by_component_pj=ledger.by_component(),
        provenance=provenance,
        slices=_slices(run, steps),
        metrics=_metrics(wired),
        roofs=_roofs(wired, trace),
    )


def _tokens(trace: Trace) -> int:
    """Tokens produced; in a prefill, tokens read."""
    per_sequence = trace.context if trace.phase == "prefill" else trace.output_tokens
    return trace.batch * per_sequence


def _by_operator(run: Run, operators: int) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(operators)]
    for index, task in enumerate(run.plan.tasks):
        groups[task.operator].append(index)
    return groups


# ---- energy


def _ledger(run: Run) -> Ledger:
    """Every component books its items; one that spends nothing books 0."""
    wired = run.wired
    elapsed_ns = ps_to_ns(run.latency_ps)
    ledger = Ledger([*wired.engines, *wired.memories, *(link for link in wired.links)])
    for name in wired.engines:
        ledger.add(name, "static", static_energy_pj(_static_mw(wired.machine, name), elapsed_ns))
    for task in run.plan.tasks:
        ledger.add_all(task.engine, _task_energy_pj(wired.machine, task))
    owners = _owners(wired.machine)
    for name, memory in wired.memories.items():
        for item, pj in memory.energy_pj(elapsed_ns).items():
            ledger.add(owners.get((name, item), name), item, pj)
    for spec in wired.machine.links:
        bits = wired.links[spec.name].moved_bytes * BITS
        ledger.add(spec.name, "bits", bits * spec.energy_pj_per_bit)
    return ledger


def _owners(machine: MachineSpec) -> dict[tuple[str, str], str]:
    """Items that a memory counts and another component spends: what its banks compute."""
    return {
        (spec.memory, item): name
        for name, spec in machine.engines.items()
        if isinstance(spec, PimSpec) and spec.memory is not None
        for item in COMPUTED
    }


def _static_mw(machine: MachineSpec, engine: str) -> float:
    """A PIM engine's standby is its memory's."""
    spec = machine.engines[engine]
    return 0.0 if isinstance(spec, PimSpec) else spec.energy.static_mw


def _task_energy_pj(machine: MachineSpec, task: Task) -> dict[str, float]:
    spec = machine.engines[task.engine]
    if isinstance(spec, PimSpec):
        return {}  # counted by its channels, command by command
    return counted_energy_pj(task.counts, item_energies_pj(spec))


# ---- tables


def _operators_table(
    run: Run,
    steps: Sequence[Operator],
    groups: Sequence[Sequence[int]],
    times: Sequence[OperatorTime],
    ledger: Ledger,
) -> Table:
    tasks, records = run.plan.tasks, run.records
    columns: dict[str, list[Any]] = {
        "index": list(range(len(steps))),
        "name": [op.name for op in steps],
        "kind": [op.kind for op in steps],
        "layer": [op.layer for op in steps],
        "engine": [_longest(tasks, records, group).engine for group in groups],
        "start_ns": [ps_to_ns(t.start_ps) for t in times],
        "end_ns": [ps_to_ns(t.end_ps) for t in times],
        "duration_ns": [ps_to_ns(t.end_ps - t.start_ps) for t in times],
        "time_ns": [ps_to_ns(t.owned_ps) for t in times],
        "bound": [_bound(records, group) for group in groups],
        "lower_bound_ns": [ps_to_ns(sum(records[i].bound_ps for i in g)) for g in groups],
        **{f"{p}_ns": [ps_to_ns(t.parts_ps[p]) for t in times] for p in PARTS},
        "flops": [op.flops for op in steps],
    }
    moved = [_moved(tasks, group) for group in groups]
    columns["read_bytes"] = [sum(m[0].values()) for m in moved]
    columns["write_bytes"] = [sum(m[1].values()) for m in moved]
    for memory in run.wired.memories:
        columns[f"bytes_{memory}"] = [m[0].get(memory, 0) + m[1].get(memory, 0) for m in moved]
    energy = _operator_energy(run, groups, times, columns, ledger)
    columns["energy_pj"] = [math.fsum(parts) for parts in zip(*energy.values(), strict=True)]
    columns |= {f"energy_{component}_pj": pj for component, pj in energy.items()}
    return Table(columns)


def _longest(tasks: Sequence[Task], records: Sequence[TaskRecord], group: Sequence[int]) -> Task:
    return tasks[max(group, key=lambda i: records[i].end_ps - records[i].start_ps)]


def _bound(records: Sequence[TaskRecord], group: Sequence[int]) -> str:
    return max((records[i] for i in group), key=lambda r: r.end_ps - r.start_ps).bound


def _moved(tasks: Sequence[Task], group: Sequence[int]) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes read and written per memory by the tasks of an operator."""
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    for index in group:
        task = tasks[index]
        for t in (*task.loads, *task.stores):
            into = written if t.is_write else read
            into[t.memory] = into.get(t.memory, 0) + t.size_bytes
        if task.program is not None:
            memory = task.program_memory
            read[memory] = read.get(memory, 0) + task.program_read_bytes
            written[memory] = written.get(memory, 0) + task.program_write_bytes
    return read, written


def _operator_energy(
    run: Run,
    groups: Sequence[Sequence[int]],
    times: Sequence[OperatorTime],
    columns: Mapping[str, list[Any]],
    ledger: Ledger,
) -> dict[str, list[float]]:
    """Each component's energy shared out: what moved bytes by bytes, what took time by time."""
    by_time = [float(t.owned_ps) for t in times]
    energy: dict[str, list[float]] = {name: [0.0] * len(times) for name in ledger.components}
    for (component, item), pj in ledger.by_item().items():
        moved = _moved_column(run.wired, component, item)
        if moved is None and component in run.wired.engines and item != "static":
            continue  # booked per task below
        weights = by_time if moved is None else [float(n) for n in columns[moved]]
        _share(energy[component], pj, weights, by_time)
    for row, group in enumerate(groups):
        for index in group:
            task = run.plan.tasks[index]
            spent = _task_energy_pj(run.wired.machine, task)
            energy[task.engine][row] += math.fsum(spent.values())
    return energy


def _moved_column(wired: Wired, component: str, item: str) -> str | None:
    """The operators' column of bytes that an energy item goes with; None for those with time."""
    if component in wired.memories:
        return f"bytes_{component}" if item in WITH_BYTES else None
    if component in wired.links:
        spec = next(s for s in wired.machine.links if s.name == component)
        return next((f"bytes_{end}" for end in spec.ends if end in wired.memories), None)
    engine = wired.machine.engines[component]
    is_computed = isinstance(engine, PimSpec) and item in COMPUTED
    return f"bytes_{engine.memory}" if is_computed and isinstance(engine, PimSpec) else None


def _share(into: list[float], pj: float, weights: list[float], fallback: list[float]) -> None:
    total = math.fsum(weights)
    if total == 0:
        weights, total = fallback, math.fsum(fallback)
    if total == 0:
        weights, total = [1.0] * len(into), float(len(into))
    for row, weight in enumerate(weights):
        into[row] += pj * weight / total


STATIC_ITEMS = frozenset({"static", "background", "refresh"})


def _components_table(run: Run, ledger: Ledger) -> Table:
    wired, total_ps = run.wired, max(1, run.latency_ps)
    rows: list[tuple[Any, ...]] = []
    rows += [(n, "engine", e.busy_ps, 0, 0) for n, e in wired.engines.items()]
    rows += [
        (n, "memory", m.busy_ps(), m.read_bytes, m.write_bytes) for n, m in wired.memories.items()
    ]
    rows += [(n, "link", link.busy_ps, link.moved_bytes, 0) for n, link in wired.links.items()]
    busy = [min(row[2], total_ps) for row in rows]
    items = ledger.by_item()
    static = [
        math.fsum(pj for (c, item), pj in items.items() if c == row[0] and item in STATIC_ITEMS)
        for row in rows
    ]
    whole = ledger.by_component()
    return Table(
        {
            "name": [row[0] for row in rows],
            "kind": [row[1] for row in rows],
            "busy_ns": [ps_to_ns(b) for b in busy],
            "idle_ns": [ps_to_ns(total_ps - b) for b in busy],
            "utilisation": [b / total_ps for b in busy],
            "read_bytes": [row[3] for row in rows],
            "write_bytes": [row[4] for row in rows],
            "energy_dynamic_pj": [whole[row[0]] - s for row, s in zip(rows, static, strict=True)],
            "energy_static_pj": static,
            "energy_pj": [whole[row[0]] for row in rows],
        }
    )


def _commands_table(wired: Wired) -> Table:
    """Counts and energy per command."""
    rows = []
    for name, memory in wired.memories.items():
        spent = memory.command_energy_pj()
        rows += [(name, c, n, spent.get(c)) for c, n in memory.counts().items() if n]
    columns = ("component", "command", "count", "energy_pj")
    return Table({c: [row[i] for row in rows] for i, c in enumerate(columns)})


def _metrics(wired: Wired) -> dict[str, float]:
    hits, total = (
        sum(x) for x in zip(*(m.row_results() for m in wired.memories.values()), strict=True)
    )
    return {"row_hit_rate": hits / total} if total else {}


def _slices(run: Run, steps: Sequence[Operator]) -> tuple[Slice, ...]:
    """Each task on its engine's lane, from when it held the engine, and on its memories' lanes."""
    slices = []
    for task, record in zip(run.plan.tasks, run.records, strict=True):
        held_ps = record.start_ps + sum(ps for part, ps in record.parts[:1] if part == "wait")
        args = {"bound": record.bound, "detail": task.detail}
        kind, duration_ps = steps[task.operator].kind, record.end_ps - held_ps
        slices.append(Slice(task.engine, task.name, held_ps, duration_ps, kind, args))
        for memory, (start_ps, end_ps) in record.served_ps.items():
            slices.append(Slice(memory, task.name, start_ps, end_ps - start_ps, kind))
    return tuple(slices)


def _roofs(wired: Wired, trace: Trace) -> dict[str, dict[str, float]]:
    """Peaks of the tensor cores for the trace's formats, of the memories and of their banks."""
    used = set(trace.dtypes.values())
    peaks = {
        f"{name} {dtype}": tflops
        for name, spec in wired.machine.engines.items()
        if isinstance(spec, GpuSpec)
        for dtype, tflops in spec.tensor_tflops.items()
        if dtype in used
    }
    bandwidth = {name: memory.peak_bytes_per_ns for name, memory in wired.memories.items()}
    for name, memory in wired.memories.items():
        if isinstance(memory, PimMemory):
            bandwidth[f"{name} banks"] = memory.banks_bytes_per_ns
    return {"peaks_tflops": peaks, "bandwidth_bytes_per_ns": bandwidth}
