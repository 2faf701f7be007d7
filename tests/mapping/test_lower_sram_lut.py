"""Products in compute SRAM, from the operator to the tasks and through a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import lowerings, make_plan
from bankwidth.mapping.lower_sram_lut import SramLutLowering
from bankwidth.mapping.plan import STREAM
from bankwidth.operators import Matmul, Trace, make_trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, SramLutSpec, load_device, load_machine, load_workload


def sail(**options: Any) -> MachineSpec:
    machine = load_machine("sail")
    chosen = machine.mapping.sram_lut.model_copy(update=options)
    mapping = machine.mapping.model_copy(update={"sram_lut": chosen})
    return machine.model_copy(update={"mapping": mapping})


def with_arrays(machine: MachineSpec, **changes: Any) -> MachineSpec:
    lut = machine.engines["lut"].model_copy(update=changes)
    return machine.model_copy(update={"engines": {**machine.engines, "lut": lut}})


def trace(weights: str = "int4", batch: int = 2) -> Trace:
    model = load_workload("llama-3.2-1b")
    return make_trace(model, phase="decode", batch=batch, context=64, weight_dtype=weights)


def run(machine: MachineSpec, **kinds: Any) -> Result:
    return simulate(machine, trace(**kinds))


def test_every_weight_goes_through_the_slices_once() -> None:
    steps = trace()
    plan = make_plan(sail(), steps)
    streamed = sum(t.size_bytes for task in plan.tasks if task.unit == STREAM for t in task.loads)
    products = [op for op in steps.operators() if isinstance(op, Matmul)]
    assert streamed == sum(op.inputs[1].size_bytes for op in products)
    assert all(not task.loads for task in plan.tasks if task.unit == "arrays")


def test_a_product_larger_than_half_the_room_goes_in_pieces() -> None:
    small = with_arrays(sail(), staging_bytes=2**16)
    pieces = [task for task in make_plan(small, trace()).tasks if task.unit == "arrays"]
    whole = [task for task in make_plan(sail(), trace()).tasks if task.unit == "arrays"]
    assert len(pieces) > len(whole)
    largest = max(
        t.size_bytes for task in make_plan(small, trace()).tasks if task.unit == STREAM
        for t in task.loads
    )  # fmt: skip
    assert largest <= 2**16 * 32 // 2


def test_pieces_of_a_product_lie_one_behind_the_other() -> None:
    small = with_arrays(sail(), staging_bytes=2**16)
    loads: dict[int, list[tuple[int, int]]] = {}
    for task in make_plan(small, trace()).tasks:
        if task.unit == STREAM:
            loads.setdefault(task.operator, []).extend(
                (t.address, t.size_bytes) for t in task.loads
            )
    assert max(len(parts) for parts in loads.values()) > 1
    for parts in loads.values():
        ends = [address + size for address, size in parts]
        assert [address for address, _ in parts[1:]] == ends[:-1]


@pytest.mark.parametrize("weights", ["int1", "int2", "int5", "int8", "ternary"])
def test_every_precision_runs_and_its_figures_hold(weights: str) -> None:
    result = run(sail(), weights=weights)  # Result.verify is part of the run
    assert result.latency_ps > 0
    split = sum(
        float(np.sum(result.operators[f"split_{word}_ns"]))
        for word in ("build", "lookup", "stream", "reduce", "convert", "read", "clear")
    )
    assert split > 0
    commands = dict(zip(result.commands["command"], result.commands["count"], strict=True))
    assert min(commands[word] for word in ("build", "lookup", "convert", "bus", "staging")) > 0


def test_fewer_bits_are_faster() -> None:
    times = [run(sail(), weights=f"int{bits}").latency_ps for bits in (8, 4, 2)]
    assert times == sorted(times, reverse=True)


def test_fewer_bits_never_keep_the_arrays_longer() -> None:
    times = []
    for bits in range(2, 9):
        tasks = make_plan(sail(), trace(f"int{bits}", batch=8)).tasks
        times.append(sum(task.compute_ps for task in tasks if task.unit == "arrays"))
    assert times == sorted(times)


@pytest.mark.parametrize("algorithm", ["weight_tables", "activation_tables", "multiply"])
def test_all_algorithms_run(algorithm: str) -> None:
    assert run(sail(algorithm=algorithm)).latency_ps > 0


@pytest.mark.parametrize("device", ["sram_lut/sail-ccb", "sram_lut/sail-lut"])
def test_other_styles_of_arrays_run(device: str) -> None:
    machine, spec = sail(convert="host", algorithm="multiply"), load_device(device)
    engines: Any = {**machine.engines, "lut": spec}
    other = run(machine.model_copy(update={"engines": engines})).latency_ps
    assert other != run(machine).latency_ps


def test_the_host_converts_where_it_is_told_to() -> None:
    plan = make_plan(sail(convert="host"), trace())
    names = [task.name for task in plan.tasks if task.engine == "cpu"]
    assert any(name.endswith("dequantise") for name in names)
    assert all(not task.split_ps["convert"] for task in plan.tasks if task.unit == "arrays")


def test_activations_are_quantised_before_the_first_piece() -> None:
    machine, steps = sail(), trace()
    spec = machine.engines["lut"]
    assert isinstance(spec, SramLutSpec)
    lowering = lowerings(machine)["lut"]
    assert isinstance(lowering, SramLutLowering)
    op = next(op for op in steps.operators() if isinstance(op, Matmul))
    first = next(task for task in make_plan(machine, steps).tasks if task.unit == "arrays")
    cycles = lowering.outcome(op, lowering.pieces(op)[0].outputs).cycles
    whole = cycles + lowering.quantising(op).cycles
    assert first.compute_ps == pytest.approx(whole / spec.clock_ghz * 1000, abs=2)
    assert sum(first.split_ps.values()) == pytest.approx(first.compute_ps, abs=20)


def test_weights_fetched_ahead_do_not_take_the_time_of_what_the_host_does() -> None:
    result = run(sail())
    own = {name: 0.0 for name in ("norm1", "attention", "silu_mul")}
    for name, time_ns in zip(result.operators["name"], result.operators["time_ns"], strict=True):
        if name in own:
            own[name] += time_ns
    assert min(own.values()) > 0


def test_long_inputs_are_left_to_the_host() -> None:
    engines = {task.engine for task in make_plan(sail(most_rows=1), trace(batch=2)).tasks}
    assert engines == {"cpu"}


def test_twice_the_arrays_never_slow_a_run() -> None:
    times = []
    for arrays in (1, 2, 4, 8):
        machine = with_arrays(sail(), arrays_per_bank=arrays)
        times.append(run(machine, batch=16).latency_ps)
    assert times == sorted(times, reverse=True)
    assert times[0] > times[-1]


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ("bf16", {}, "weights of bf16: is no integer, .* use --weight-dtype int4"),
        ("q4_0", {}, "weights of q4_0: has a scale for each block, .* --weight-dtype int4"),
        ("int4", {"group": 8}, "groups of 8 do not fit: a table of 256 entries needs 1729 rows"),
        ("int4", {"accumulator_width": 12}, "need accumulators of 23 bits"),
        ("int8", {"activation_width": 16}, "sums of 35 bits, arrays convert up to 32"),
    ],
)
def test_what_does_not_fit_is_told(weights: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        make_plan(sail(**options), trace(weights))


def test_arrays_need_an_engine_of_another_kind_beside_them() -> None:
    machine = sail()
    rules = machine.mapping.model_copy(update={"run": {"default": "lut"}})
    with pytest.raises(MappingError, match="computing arrays need an engine of another kind"):
        make_plan(machine.model_copy(update={"mapping": rules}), trace())
