"""Weights in flash: what is read, what stays, what is computed. Flash is a slow DRAM here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.flash_weights import kept, predictor_of, products_of
from bankwidth.mapping.plan import Task
from bankwidth.operators import Matmul, Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.spec.flash_mapping import FlashMappingSpec

MODEL = "opt-125m"
HIDDEN, WIDTH, LAYERS, BYTES = 768, 3072, 12, 4
FFN_BYTES = LAYERS * 2 * HIDDEN * WIDTH * BYTES
NEURONS = {"active": 0.1, "growth": 0.5, "window": 4}
HELD, NEW = round(WIDTH * 0.2), round(WIDTH * 0.1 * (5**0.5 - 2))


@pytest.fixture(scope="module")
def plain() -> MachineSpec:
    """A host with a second memory, faster to simulate than a drive."""
    machine = load_machine("xeon-gold-6154")
    drive = machine.memories["ddr4"].model_copy(update={"capacity_bytes": 10**9})
    link = machine.links[0].model_copy(update={"name": "flash-link", "ends": ["cpu", "flash"]})
    return machine.model_copy(
        update={
            "memories": {**machine.memories, "flash": drive},
            "links": [*machine.links, link],
        }
    )


@pytest.fixture(scope="module")
def trace() -> Trace:
    return decode()


def decode(batch: int = 1, **shape: Any) -> Trace:
    return make_trace(
        load_workload(MODEL),
        batch=batch,
        context=16,
        weight_dtype="fp32",
        activation_dtype="fp32",
        kv_dtype="fp32",
        **shape,
    )


def with_flash(machine: MachineSpec, capacity: int | None = None, **flash: Any) -> MachineSpec:
    spec = FlashMappingSpec.model_validate({"memory": "flash", **flash})
    mapping = machine.mapping.model_copy(update={"flash": spec})
    memories = dict(machine.memories)
    if capacity is not None:
        memories["ddr4"] = memories["ddr4"].model_copy(update={"capacity_bytes": capacity})
    return machine.model_copy(update={"mapping": mapping, "memories": memories})


def sparse(machine: MachineSpec, **neurons: Any) -> MachineSpec:
    return with_flash(machine, resident="attention", neurons=NEURONS | neurons)


def tasks_of(machine: MachineSpec, trace: Trace) -> list[Task]:
    return list(make_plan(machine, trace).tasks)


def from_flash(tasks: list[Task]) -> int:
    return sum(t.size_bytes for task in tasks for t in task.loads if t.memory == "flash")


def products(trace: Trace) -> int:
    return sum(op.k * op.n * BYTES for op, _ in products_of(trace))


def test_a_machine_without_flash_keeps_all_weights(plain: MachineSpec, trace: Trace) -> None:
    assert kept(plain, trace) is trace


def test_nothing_resident_reads_every_product_once_and_keeps_one(
    plain: MachineSpec, trace: Trace
) -> None:
    machine = with_flash(plain, resident="nothing")
    assert from_flash(tasks_of(machine, trace)) == products(trace)
    largest = max(op.k * op.n * BYTES for op, _ in products_of(trace))
    left = trace.weight_bytes - products(trace)  # positions, norms and biases
    assert kept(machine, trace).weight_bytes == left + largest


def test_what_fits_stays_and_the_rest_is_read(plain: MachineSpec, trace: Trace) -> None:
    capacity = trace.weight_bytes * 2 // 3
    machine = with_flash(plain, capacity, resident="fitting")
    room = kept(machine, trace).weight_bytes
    assert room == capacity - trace.kv_bytes - trace.activation_bytes
    largest = max(op.k * op.n * BYTES for op, _ in products_of(trace))
    share = from_flash(tasks_of(machine, trace)) / products(trace)
    resident = (1.0 - share) * products(trace) + trace.weight_bytes - products(trace)
    assert resident + share * largest == pytest.approx(room, rel=1e-6)  # with room to read into


def test_a_model_that_fits_reads_nothing(plain: MachineSpec, trace: Trace) -> None:
    machine = with_flash(plain, resident="fitting")
    assert from_flash(tasks_of(machine, trace)) == 0
    assert kept(machine, trace).weight_bytes == trace.weight_bytes


def test_a_model_too_large_is_refused_without_flash_and_runs_with_it(
    plain: MachineSpec, trace: Trace
) -> None:
    capacity = trace.weight_bytes * 2 // 3
    small = with_flash(plain, capacity, resident="attention", neurons=NEURONS)
    without = small.model_copy(update={"mapping": small.mapping.model_copy(update={"flash": None})})
    with pytest.raises(MappingError, match="does not fit"):
        make_plan(without, trace)
    assert from_flash(tasks_of(small, trace)) > 0


def test_a_drive_too_small_is_refused(plain: MachineSpec, trace: Trace) -> None:
    machine = with_flash(plain, resident="nothing")
    tiny = machine.memories["flash"].model_copy(update={"capacity_bytes": 10**6})
    machine = machine.model_copy(update={"memories": {**machine.memories, "flash": tiny}})
    with pytest.raises(MappingError, match=r"mapping\.flash.*larger drive"):
        make_plan(machine, trace)


def test_new_neurons_are_read_in_pieces_and_computed_with_those_held(
    plain: MachineSpec, trace: Trace
) -> None:
    tasks = tasks_of(sparse(plain, bundled=True), trace)
    reads = [task for task in tasks if task.name == "fc1.read"]
    assert len(reads) == LAYERS
    (load,) = reads[0].loads
    assert load.size_bytes == NEW * 2 * HIDDEN * BYTES
    assert load.chunk_bytes == 2 * HIDDEN * BYTES
    by_name = {task.name: task for task in tasks}
    flops = 2 * HIDDEN * HELD
    assert by_name["fc1"].counts["matrix fp32"] == by_name["fc2"].counts["matrix fp32"] == flops


def test_rows_apart_are_twice_as_many_pieces(plain: MachineSpec, trace: Trace) -> None:
    apart, together = (
        next(t for t in tasks_of(sparse(plain, bundled=b), trace) if t.name == "fc1.read").loads[0]
        for b in (False, True)
    )
    assert apart.size_bytes == together.size_bytes
    assert 2 * apart.chunk_bytes == together.chunk_bytes


def test_new_rows_are_put_and_rows_at_the_end_fill_the_gaps(
    plain: MachineSpec, trace: Trace
) -> None:
    by_name = {task.name: task for task in tasks_of(sparse(plain), trace)}
    moved = round(NEW * (1 - NEW / HELD))  # as many leave, of which some are at the end
    for name, rows in (("fc1.drop", moved), ("fc1.insert", NEW)):
        copied = by_name[name].counts["cache"] / 8
        assert copied == 2 * rows * 2 * HIDDEN * BYTES  # read and written


def test_without_a_window_all_rows_are_new_and_none_moves(plain: MachineSpec, trace: Trace) -> None:
    tasks = tasks_of(sparse(plain, window=0), trace)
    assert not any(task.name == "fc1.drop" for task in tasks)
    (load,) = next(task for task in tasks if task.name == "fc1.read").loads
    assert load.size_bytes == round(WIDTH * 0.1) * 2 * HIDDEN * BYTES


def test_memory_holds_attention_window_and_predictors(plain: MachineSpec, trace: Trace) -> None:
    machine = sparse(plain)
    held = FFN_BYTES * HELD // WIDTH
    others = trace.weight_bytes - FFN_BYTES
    assert kept(machine, trace).weight_bytes == pytest.approx(others + held, rel=1e-3)
    flash = machine.mapping.flash
    assert flash is not None
    ranks = [{"layers": 10, "rank": 16}, {"layers": 2, "rank": 64}]
    machine = with_flash(plain, resident="attention", neurons=NEURONS, predictor=ranks)
    thin = (10 * 16 + 2 * 64) * (HIDDEN + WIDTH) * BYTES
    assert kept(machine, trace).weight_bytes == pytest.approx(others + held + thin, rel=1e-3)


def test_the_predictor_is_two_thin_products(plain: MachineSpec, trace: Trace) -> None:
    machine = with_flash(
        plain, resident="attention", neurons=NEURONS, predictor=[{"layers": 12, "rank": 16}]
    )
    tasks = tasks_of(machine, trace)
    names = [task.name for task in tasks if task.name.startswith("fc1")][:6]
    assert names == [
        "fc1.predict_in", "fc1.predict_out", "fc1.read", "fc1.drop", "fc1.insert", "fc1",
    ]  # fmt: skip
    flash = machine.mapping.flash
    up = next(op for op, part in products_of(trace) if part == "up")
    assert flash is not None
    assert isinstance(up, Matmul)
    shapes = [(op.n, op.k) for op in predictor_of(flash, up)]
    assert shapes == [(16, HIDDEN), (WIDTH, 16)]


def test_a_prompt_reads_feed_forward_parts_whole(plain: MachineSpec) -> None:
    trace = decode(phase="prefill", prompt=128)
    tasks = tasks_of(sparse(plain), trace)
    assert from_flash(tasks) == FFN_BYTES
    assert not any(task.name == "fc1.insert" for task in tasks)


def test_more_sequences_use_more_neurons(plain: MachineSpec) -> None:
    one, four = (from_flash(tasks_of(sparse(plain), decode(batch))) for batch in (1, 4))
    assert one < four < 4 * one
    assert four == LAYERS * round(WIDTH * 0.1 * (8**0.5 - 2)) * 2 * HIDDEN * BYTES


def test_more_sequences_than_the_window_has_tokens_compute_with_all_they_use(
    plain: MachineSpec,
) -> None:
    by_name = {task.name: task for task in tasks_of(sparse(plain), decode(9))}
    assert by_name["fc1"].counts["matrix fp32"] == 2 * 9 * HIDDEN * round(WIDTH * 0.3)


def test_rows_that_are_staged_cross_the_link(plain: MachineSpec, trace: Trace) -> None:
    host = plain.memories["ddr4"].model_copy(update={"capacity_bytes": 10**9})
    link = plain.links[0].model_copy(update={"name": "host-link", "ends": ["cpu", "host"]})
    machine = sparse(plain)
    machine = with_flash(
        machine.model_copy(
            update={"memories": {**plain.memories, "host": host}, "links": [*plain.links, link]}
        ),
        resident="attention",
        neurons=NEURONS,
        staging="host",
    )
    by_name = {task.name: task for task in tasks_of(machine, trace)}
    size = NEW * 2 * HIDDEN * BYTES
    assert [(t.memory, t.size_bytes) for t in by_name["fc1.read"].stores] == [("host", size)]
    assert [(t.memory, t.size_bytes) for t in by_name["fc1.insert"].loads] == [("host", size)]
    assert [(t.memory, t.size_bytes) for t in by_name["fc1.insert"].stores] == [("ddr4", size)]


@given(window=st.integers(0, 8), growth=st.floats(0.05, 1.0))
def test_a_longer_window_reads_less_and_keeps_more(window: int, growth: float) -> None:
    machine, trace = with_flash(_PLAIN, resident="nothing"), _TRACE
    shorter, longer = (sparse(machine, window=w, growth=growth) for w in (window, window + 1))
    slack = LAYERS * 2 * HIDDEN * BYTES  # a neuron is read or not
    assert from_flash(tasks_of(longer, trace)) <= from_flash(tasks_of(shorter, trace)) + slack
    assert kept(longer, trace).weight_bytes >= kept(shorter, trace).weight_bytes


_PLAIN = plain.__wrapped__()  # type: ignore[attr-defined]
_TRACE = decode()
