"""LLM in a flash: what its machines read, keep and compute, and the published figures."""

from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.build import make_plan
from bankwidth.mapping.flash_weights import kept
from bankwidth.mapping.placement import place
from bankwidth.operators import Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload
from bankwidth.validate import flash_llm_in_a_flash as paper

MACHINES = (paper.CPU, paper.NAIVE_CPU, paper.METAL, paper.GPU, paper.NAIVE_GPU)
GB = 10**9


def trace_of(name: str) -> Trace:
    dtype = paper.FORMATS[name]
    return make_trace(
        load_workload(paper.MODEL),
        context=paper.CONTEXT,
        weight_dtype=dtype,
        activation_dtype=dtype,
        kv_dtype=dtype,
    )


def from_flash(machine: MachineSpec, trace: Trace) -> list[tuple[int, int]]:
    """(bytes, bytes of a piece) of every read of the drive."""
    return [
        (transfer.size_bytes, transfer.chunk_bytes)
        for task in make_plan(machine, trace).tasks
        for transfer in task.loads
        if transfer.memory == "flash"
    ]


def without_flash(machine: MachineSpec) -> MachineSpec:
    return machine.model_copy(
        update={"mapping": machine.mapping.model_copy(update={"flash": None})}
    )


@pytest.mark.parametrize("name", MACHINES)
def test_a_model_of_twice_the_dram_is_refused_without_flash_and_placed_with_it(name: str) -> None:
    machine, trace = load_machine(name), trace_of(name)
    capacity = machine.memories[machine.mapping.place["weights"]].capacity_bytes
    assert capacity is not None
    assert trace.weight_bytes > 1.75 * capacity  # which has room for keys and values as well
    with pytest.raises(MappingError, match="does not fit"):
        place(without_flash(machine), trace)
    placed = place(machine, kept(machine, trace))
    assert placed["weights"].size_bytes <= capacity


def test_a_phone_runs_a_model_of_twice_its_dram() -> None:
    machine = load_machine("llm-in-a-flash-phone")
    trace = make_trace(load_workload(paper.MODEL), weight_dtype="int8", kv_dtype="int8")
    with pytest.raises(MappingError, match="does not fit"):
        place(without_flash(machine), trace)
    assert place(machine, kept(machine, trace))["weights"].size_bytes < 0.6 * trace.weight_bytes


def test_naive_loading_reads_13_gigabytes_either_way() -> None:
    """Half of the model in fp32, all of it in 16 bit, as the paper's 13.4 GB."""
    for name in (paper.NAIVE_CPU, paper.NAIVE_GPU):
        read = sum(size for size, _ in from_flash(load_machine(name), trace_of(name)))
        assert read == pytest.approx(13.0 * GB, rel=0.05)


def test_pieces_are_rows_of_32_kib_in_fp32_and_half_of_it_in_16_bit() -> None:
    for name, piece in ((paper.CPU, 32_768), (paper.METAL, 16_384), (paper.GPU, 16_384)):
        reads = from_flash(load_machine(name), trace_of(name))
        assert {chunk for _, chunk in reads} == {piece}
        assert len(reads) == 32  # layers


def test_steps_of_table_2_read_less_each() -> None:
    trace = trace_of(paper.METAL)
    sizes = [
        sum(size for size, _ in from_flash(machine, trace)) / GB
        for machine in (
            paper._whole(paper.METAL),
            paper.half_in_memory(),
            paper._sparse(0, False),
            paper._sparse(5, False),
        )
    ]
    assert sizes == pytest.approx([13.4, 6.7, 0.9, 0.2], rel=0.1)  # as published
    pieces = [from_flash(paper._sparse(5, bundled), trace)[0][1] for bundled in (False, True)]
    assert pieces == [8192, 16_384]


def test_neurons_and_memory_are_as_published() -> None:
    cases = [*paper._neurons(), *paper._memory()]
    assert [case.id for case in cases] == [paper.MODEL, paper.MODEL, "falcon-7b"]
    assert all(case.ok for case in cases)


def test_management_is_copies_and_calls() -> None:
    machine = load_machine(paper.CPU)
    moved = 410 * (1 - 410 / 3932)  # of the 410 that leave, those that are not at the end
    rows_bytes = 32 * (410 + moved) * 2 * 32_768  # of all layers, read and written
    calls_ms = 32 * (0.150 + 2 * 0.010)
    assert paper.management_ms(machine) == pytest.approx(rows_bytes / 27.4e6 + calls_ms, rel=0.01)


@pytest.mark.slow
def test_all_but_metal_hold() -> None:
    wrong = [(case.id, case.quantity) for case in paper.published() if not case.ok]
    assert wrong == [(f"{paper.MODEL}, M1 Max Metal", "token in a flash, ms")]
