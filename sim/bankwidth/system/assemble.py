"""Records and component counts to the tables of a result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.ternary_lut.area_engine import engine_area
from bankwidth.devices.ternary_lut.gates import gates_of
from bankwidth.energy import Ledger, counted_energy_pj, static_energy_pj
from bankwidth.mapping.pipeline import pipeline_tokens
from bankwidth.mapping.plan import FETCH, STREAM, Task
from bankwidth.operators import Operator, Trace
from bankwidth.operators.parallel import sharing_devices
from bankwidth.operators.stages import stages_of
from bankwidth.operators.trace import TOKENS_PER_STEP
from bankwidth.results import Result, Table
from bankwidth.spec import (
    CsdSpec,
    EngineSpec,
    GpuSpec,
    MachineSpec,
    NpuSpec,
    PimSpec,
    PriceSpec,
    RooflineSpec,
    SramLutSpec,
    SsdSpec,
    TernaryLutSpec,
)
from bankwidth.system.bounds import lower_bound_ps
from bankwidth.system.engine_energy import item_energies_pj
from bankwidth.system.exposure import OperatorTime, operator_times
from bankwidth.system.pim_memory import PimMemory
from bankwidth.system.record import PARTS, TaskRecord
from bankwidth.system.run import Run
from bankwidth.system.slices import Slices
from bankwidth.system.wiring import Wired
from bankwidth.units import UNITS, ps_to_ns

BITS = 8
UM2_PER_MM2 = 1e6
# A memory's energy items: these go with its bytes, the others (refresh, standby) with time.
WITH_BYTES = frozenset(
    {"activate", "read", "write", "io", "program", "erase", "bus", "ecc", "pcie", "dram"}
)
COMPUTED = ("compute", "mode")  # energy items of computing banks that are their engine's


def assemble(run: Run, trace: Trace, provenance: dict[str, Any]) -> Result:
    """All tables of one run; `Result.verify` holds for them."""
    wired = run.wired
    spent_pj = _spent_pj(run)
    ledger = _ledger(run, spent_pj)
    steps = list(trace.operators())
    groups = _by_operator(run, len(steps))
    times = operator_times([[run.records[i] for i in group] for group in groups], _starts(run))
    price, devices = wired.machine.price, sharing_devices(trace)
    operators = _operators_table(run, steps, groups, times, ledger, spent_pj)
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
        commands=_commands_table(run),
        parts_ns={f"{p}_ns": math.fsum(operators[f"{p}_ns"]) for p in PARTS},
        energy_by_component_pj=ledger.by_component(),
        provenance=provenance | ({"price": _stated(price)} if price else {}),
        slices=Slices(run, steps),
        metrics=_metrics(wired) | _of_pipeline(run, trace) | _areas(wired.machine),
        roofs=_roofs(wired, trace),
        devices=devices,
        cost_dollars=_cost_dollars(run, trace, devices * math.fsum(ledger.by_component().values())),
    )


def _stated(price: PriceSpec) -> dict[str, Any]:
    """What a result says of the price that it was made with."""
    given = {
        "offer": price.offer,
        "date": price.date,
        "hourly_dollars": price.hourly_dollars,
        "dollars_per_kwh": price.dollars_per_kwh,
    }
    return {name: value for name, value in given.items() if value is not None}


def _cost_dollars(run: Run, trace: Trace, energy_pj: float) -> float | None:
    """Of all machines for the run. While a token passes a pipeline, others are in its stages.

    The price of a machine of several devices is that of all; a workload may share out over several.
    """
    machine = run.wired.machine
    if machine.price is None:
        return None
    machines = 1 if machine.parallel else sharing_devices(trace) * stages_of(trace)
    at_once = pipeline_tokens(machine, trace)
    time_s = ps_to_ns(run.latency_ps) / UNITS["time"]["s"] / at_once * machines
    return machine.price.run_dollars(time_s, energy_pj / UNITS["energy"]["J"])


def _tokens(trace: Trace) -> float:
    """Tokens produced; in a prefill, tokens read. Speculation expects a part of a token, too."""
    if trace.phase == "prefill":
        return trace.batch * trace.context
    per_step = trace.meta.get(TOKENS_PER_STEP, 1)
    assert isinstance(per_step, int | float)
    return trace.batch * trace.output_tokens * per_step


def _by_operator(run: Run, operators: int) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(operators)]
    for index, task in enumerate(run.plan.tasks):
        groups[task.operator].append(index)
    return groups


def _starts(run: Run) -> list[int] | None:
    """When each operator starts, its streams left out; None where there are none, nor fetches.

    What a fetch operator brings is wanted at its end: until then it is hidden behind others.
    """
    tasks = run.plan.tasks
    if not any([task.unit.startswith((STREAM, FETCH)) for task in tasks]):
        return None
    starts: dict[int, int] = {}
    for task, record in zip(tasks, run.records, strict=True):
        if task.unit != STREAM:
            start_ps = record.end_ps if task.unit.startswith(FETCH) else record.start_ps
            starts[task.operator] = min(starts.get(task.operator, start_ps), start_ps)
    return [starts[operator] for operator in sorted(starts)]


# ---- energy


def _ledger(run: Run, spent_pj: Sequence[Mapping[str, float]]) -> Ledger:
    """Every component books its items; one that spends nothing books 0."""
    wired = run.wired
    elapsed_ns = ps_to_ns(run.latency_ps)
    ledger = Ledger([*wired.engines, *wired.memories, *(link for link in wired.links)])
    for name in wired.engines:
        ledger.add(name, "static", static_energy_pj(_static_mw(wired.machine, name), elapsed_ns))
    _book(ledger, run.plan.tasks, spent_pj)
    owners = _owners(wired.machine)
    for name, memory in wired.memories.items():
        for item, pj in memory.energy_pj(elapsed_ns).items():
            ledger.add(owners.get((name, item), name), item, pj)
    for spec in wired.machine.links:
        bits = wired.links[spec.name].moved_bytes * BITS
        ledger.add(spec.name, "bits", bits * spec.energy_pj_per_bit)
    return ledger


def _book(ledger: Ledger, tasks: Sequence[Task], spent_pj: Sequence[Mapping[str, float]]) -> None:
    """What the tasks spent; those of one kind at once, since they share one mapping."""
    kinds = {id(spent): spent for spent in spent_pj}
    times = Counter(zip([task.engine for task in tasks], map(id, spent_pj), strict=True))
    for (engine, kind), number in times.items():
        ledger.add_all(engine, kinds[kind], number)


def _owners(machine: MachineSpec) -> dict[tuple[str, str], str]:
    """Items that a memory counts and another component spends: what its banks compute."""
    return {
        (spec.memory, item): name
        for name, spec in machine.engines.items()
        if isinstance(spec, PimSpec) and spec.memory is not None
        for item in COMPUTED
    }


def _static_mw(machine: MachineSpec, engine: str) -> float:
    """A PIM engine's standby is its memory's; engines in drives are as many as these."""
    spec = machine.engines[engine]
    if isinstance(spec, CsdSpec):
        drives = machine.memories.get(spec.memory or "")
        return spec.energy.static_mw * (drives.drives if isinstance(drives, SsdSpec) else 1)
    return 0.0 if isinstance(spec, PimSpec) else spec.energy.static_mw


def _spent_pj(run: Run) -> list[Mapping[str, float]]:
    """Energy of each task by item; what banks compute is counted by their channels instead."""
    machine, known = run.wired.machine, dict[tuple[str, int], Mapping[str, float]]()
    table = {
        name: {} if isinstance(spec, PimSpec) else _link_energy_pj(machine) | item_energies_pj(spec)
        for name, spec in machine.engines.items()
    }
    spent = []
    for task in run.plan.tasks:
        key = (task.engine, id(task.counts))  # tasks of one kind share their counts
        if key not in known:
            known[key] = counted_energy_pj(task.counts, table[task.engine])
        spent.append(known[key])
    return spent


def _link_energy_pj(machine: MachineSpec) -> dict[str, float]:
    """Of a bit between equal devices; an engine with links of its own has its own figure."""
    return {"link": machine.parallel.link.energy_pj_per_bit} if machine.parallel else {}


# ---- tables


def _operators_table(
    run: Run,
    steps: Sequence[Operator],
    groups: Sequence[Sequence[int]],
    times: Sequence[OperatorTime],
    ledger: Ledger,
    spent_pj: Sequence[Mapping[str, float]],
) -> Table:
    tasks, records = run.plan.tasks, run.records
    columns: dict[str, Any] = {
        "index": list(range(len(steps))),
        "name": [op.name for op in steps],
        "kind": [op.kind for op in steps],
        "layer": [op.layer for op in steps],
        "engine": [_longest(tasks, records, group).engine for group in groups],
        "start_ns": _ns([t.start_ps for t in times]),
        "end_ns": _ns([t.end_ps for t in times]),
        "duration_ns": _ns([t.end_ps - t.start_ps for t in times]),
        "time_ns": _ns([t.owned_ps for t in times]),
        "bound": [_bound(records, group) for group in groups],
        "lower_bound_ns": _ns([sum([records[i].bound_ps for i in g]) for g in groups]),
        **{f"{p}_ns": _ns([t.parts_ps[p] for t in times]) for p in PARTS},
        "flops": [op.flops for op in steps],
        **_splits(tasks, groups),
    }
    known: dict[Any, tuple[dict[str, int], dict[str, int]]] = {}
    moved = [_moved([tasks[i] for i in group], known) for group in groups]
    columns["read_bytes"] = [sum(m[0].values()) for m in moved]
    columns["write_bytes"] = [sum(m[1].values()) for m in moved]
    for memory in run.wired.memories:
        columns[f"bytes_{memory}"] = [m[0].get(memory, 0) + m[1].get(memory, 0) for m in moved]
    energy = _operator_energy(run, groups, times, columns, ledger, spent_pj)
    columns["energy_pj"] = [math.fsum(parts) for parts in zip(*energy.values(), strict=True)]
    columns |= {f"energy_{component}_pj": pj for component, pj in energy.items()}
    return Table(columns)


def _splits(
    tasks: Sequence[Task], groups: Sequence[Sequence[int]]
) -> dict[str, NDArray[np.float64]]:
    """What engines say of their compute in words of their own: a column for each word."""
    words = dict.fromkeys(word for task in tasks if task.split_ps for word in task.split_ps)
    return {
        f"split_{word}_ns": _ns([sum([tasks[i].split_ps.get(word, 0) for i in g]) for g in groups])
        for word in words
    }


def _ns(times_ps: list[int]) -> NDArray[np.float64]:
    """As `ps_to_ns`, of a whole column."""
    return np.array(times_ps, dtype=np.int64) / 1000.0


def _longest(tasks: Sequence[Task], records: Sequence[TaskRecord], group: Sequence[int]) -> Task:
    if len(group) == 1:
        return tasks[group[0]]
    return tasks[max(group, key=lambda i: records[i].end_ps - records[i].start_ps)]


def _bound(records: Sequence[TaskRecord], group: Sequence[int]) -> str:
    if len(group) == 1:
        return records[group[0]].bound
    return max((records[i] for i in group), key=lambda r: r.end_ps - r.start_ps).bound


def _moved(
    tasks: Sequence[Task], known: dict[Any, tuple[dict[str, int], dict[str, int]]]
) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes read and written per memory by the tasks of an operator; equal ones are one object."""
    key = tuple([(id(t.loads), id(t.stores), *_program_bytes(t)) for t in tasks])
    if key not in known:
        known[key] = _count_moved(tasks)
    return known[key]


def _program_bytes(task: Task) -> tuple[str, int, int]:
    return task.program_memory, task.program_read_bytes, task.program_write_bytes


def _count_moved(tasks: Sequence[Task]) -> tuple[dict[str, int], dict[str, int]]:
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    for task in tasks:
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
    columns: Mapping[str, Any],
    ledger: Ledger,
    spent_pj: Sequence[Mapping[str, float]],
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
    tasks, sums_pj = run.plan.tasks, _sums_pj(spent_pj)
    for row, group in enumerate(groups):
        for index in group:
            if spent_pj[index]:
                energy[tasks[index].engine][row] += sums_pj[id(spent_pj[index])]
    return energy


def _sums_pj(spent_pj: Sequence[Mapping[str, float]]) -> dict[int, float]:
    """Energy of all items of each mapping, by its identity."""
    kinds = {id(spent): spent for spent in spent_pj}
    return {kind: math.fsum(spent.values()) for kind, spent in kinds.items()}


def _moved_column(wired: Wired, component: str, item: str) -> str | None:
    """The operators' column of bytes that an energy item goes with; None for those with time."""
    if component in wired.memories:
        return f"bytes_{component}" if item in WITH_BYTES else None
    if component in wired.links:
        return _column_of_link(wired, component)
    engine = wired.machine.engines[component]
    is_computed = isinstance(engine, PimSpec) and item in COMPUTED
    return f"bytes_{engine.memory}" if is_computed and isinstance(engine, PimSpec) else None


def _column_of_link(wired: Wired, link: str) -> str | None:
    """Bytes of the one memory that the link leads to; None for a link to several."""
    spec = next(s for s in wired.machine.links if s.name == link)
    joined = [end for end in spec.ends if end in wired.memories]
    behind = [
        name
        for name in wired.memories
        for engine in wired.engines.values()
        if wired.links[link] in engine.path_to(name).links
    ]
    reached = joined or list(dict.fromkeys(behind))
    return f"bytes_{reached[0]}" if joined or len(reached) == 1 else None


def _share(into: list[float], pj: float, weights: list[float], fallback: list[float]) -> None:
    if pj == 0:
        return
    total = math.fsum(weights)
    if total == 0:
        weights, total = fallback, math.fsum(fallback)
    if total == 0:
        weights, total = [1.0] * len(into), float(len(into))
    into[:] = [has + pj * weight / total for has, weight in zip(into, weights, strict=True)]


STATIC_ITEMS = frozenset({"static", "background", "refresh", "die_idle", "controller"})


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


def _commands_table(run: Run) -> Table:
    """Counts and energy per command; of compute SRAM by what cycles, rows and bits are for."""
    wired = run.wired
    rows = _array_commands(run)
    for name, memory in wired.memories.items():
        spent = memory.command_energy_pj()
        rows += [(name, c, n, spent.get(c)) for c, n in memory.counts().items() if n]
    columns = ("component", "command", "count", "energy_pj")
    return Table({c: [row[i] for row in rows] for i, c in enumerate(columns)})


def _array_commands(run: Run) -> list[tuple[str, str, int, float | None]]:
    """Of arrays that compute beside a cache."""
    machine = run.wired.machine
    rows: list[tuple[str, str, int, float | None]] = []
    for name, spec in machine.engines.items():
        if isinstance(spec, SramLutSpec):
            counts: Counter[str] = Counter()
            for task in run.plan.tasks:
                if task.engine == name:
                    counts.update({item: round(n) for item, n in task.counts.items()})
            each_pj = item_energies_pj(spec)
            rows += [(name, item, n, n * each_pj[item]) for item, n in counts.items() if n]
    return rows


def _metrics(wired: Wired) -> dict[str, float]:
    hits, total = (
        sum(x) for x in zip(*(m.row_results() for m in wired.memories.values()), strict=True)
    )
    return {"row_hit_rate": hits / total} if total else {}


def _areas(machine: MachineSpec) -> dict[str, float]:
    """Of cores whose library of cells is named."""
    areas_um2 = [
        engine_area(spec, gates_of(spec.cells)).total_um2
        for spec in machine.engines.values()
        if isinstance(spec, TernaryLutSpec) and spec.cells
    ]
    return {"core_area_mm2": math.fsum(areas_um2) / UM2_PER_MM2} if areas_um2 else {}


def _of_pipeline(run: Run, trace: Trace) -> dict[str, float]:
    """Tokens of all stages, while each has one under way."""
    if stages_of(trace) == 1 or not run.latency_ps:
        return {}
    rate = _tokens(trace) * 1e12 / run.latency_ps
    return {"all_stages_tokens_per_s": rate * pipeline_tokens(run.wired.machine, trace)}


def _roofs(wired: Wired, trace: Trace) -> dict[str, dict[str, float]]:
    """Peaks of the tensor cores for the trace's formats, of the memories and of their banks."""
    used = set(trace.dtypes.values())
    peaks = {
        f"{name} {dtype}": tflops
        for name, spec in wired.machine.engines.items()
        for dtype, tflops in _matrix_tflops(spec).items()
        if dtype in used
    }
    bandwidth = {name: memory.peak_bytes_per_ns for name, memory in wired.memories.items()}
    for name, memory in wired.memories.items():
        if isinstance(memory, PimMemory):
            bandwidth[f"{name} banks"] = memory.banks_bytes_per_ns
    return {"peaks_tflops": peaks, "bandwidth_bytes_per_ns": bandwidth}


def _matrix_tflops(spec: EngineSpec) -> Mapping[str, float]:
    if isinstance(spec, GpuSpec):
        return spec.tensor_tflops
    if isinstance(spec, NpuSpec):
        return {"bf16": 2 * spec.peak_macs_per_ns / 1000.0}
    return spec.matrix_tflops if isinstance(spec, RooflineSpec) else {}
