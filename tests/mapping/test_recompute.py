"""Sequences without room go through the model again."""

from __future__ import annotations

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.placement import place
from bankwidth.mapping.recompute import with_recomputation
from bankwidth.operators import Attention, Matmul, Trace, make_trace
from bankwidth.spec import MachineSpec, load_machine, load_workload


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("recompute")


def trace(batch: int, phase: str = "decode", output: int = 1) -> Trace:
    workload = load_workload("opt-13b")
    return make_trace(workload, phase=phase, batch=batch, context=1536, prompt=500, output=output)


def test_what_fits_is_left_as_it_is(machine: MachineSpec) -> None:
    assert with_recomputation(machine, trace(16)) == trace(16)
    assert with_recomputation(load_machine("a6000"), trace(256)) == trace(256)


def test_the_rest_is_a_prompt_again(machine: MachineSpec) -> None:
    step = trace(64)
    found = with_recomputation(machine, step)
    again = [block for block in found.blocks if block.name.startswith("again")]
    assert found.blocks[len(again) :] == step.blocks
    attentions = [op for block in again for op in block.operators if isinstance(op, Attention)]
    assert {(op.phase, op.q_len, op.kv_len) for op in attentions} == {("prefill", 1535, 1535)}
    missing = attentions[0].batch
    assert found.kv_bytes == step.kv_bytes * (64 - missing) // 64
    rows = {op.m for block in again for op in block.operators if isinstance(op, Matmul)}
    assert rows == {missing * 1535}
    place(machine, found)  # now it fits,
    with pytest.raises(MappingError):
        place(machine, make_trace(load_workload("opt-13b"), batch=64, context=1536))


def test_as_many_stay_as_fit(machine: MachineSpec) -> None:
    """One more would be too much."""
    found = with_recomputation(machine, trace(64))
    kept = found.kv_bytes // (trace(1).kv_bytes)
    capacity = machine.memories["gddr6"].capacity_bytes
    assert capacity is not None
    others = found.weight_bytes + found.activation_bytes
    assert others + kept * trace(1).kv_bytes <= capacity < others + (kept + 1) * trace(1).kv_bytes


def test_work_is_that_of_the_prompt(machine: MachineSpec) -> None:
    step = trace(64)
    found = with_recomputation(machine, step)
    missing = 64 - found.kv_bytes // trace(1).kv_bytes
    workload = load_workload("opt-13b")
    prompt = make_trace(workload, phase="prefill", batch=missing, context=1535)
    head = prompt.blocks[-1].flops
    assert found.flops - step.flops == prompt.flops - head


def test_a_prompt_keeps_what_has_room(machine: MachineSpec) -> None:
    workload = load_workload("opt-13b")
    prompt = make_trace(workload, phase="prefill", batch=32, context=1024)
    found = with_recomputation(machine, prompt)
    assert found.blocks == prompt.blocks
    assert 0 < found.kv_bytes < prompt.kv_bytes
    place(machine, found)


def test_several_steps_are_refused(machine: MachineSpec) -> None:
    with pytest.raises(MappingError, match="simulate single steps"):
        with_recomputation(machine, trace(64, "generate", output=600))


def test_one_sequence_that_is_too_long_is_refused(machine: MachineSpec) -> None:
    long = make_trace(load_workload("llama-2-13b"), context=40_000)
    with pytest.raises(MappingError, match="of one sequence do not fit"):
        with_recomputation(machine, long)
