"""Layers in stages on equal devices, and what the devices send each other."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.exchange import WithExchanges, exchanges_bytes
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.pipeline import HAND_OVER, TO_HOST, in_stages, stage_machine
from bankwidth.operators import Collective, Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import AsicSpec, MachineSpec, load_device, load_machine, load_workload


def cut(machine: MachineSpec, **fields: Any) -> MachineSpec:
    """The machine, its layers cut otherwise."""
    assert machine.parallel is not None
    return machine.model_copy(update={"parallel": machine.parallel.model_copy(update=fields)})


@pytest.fixture(scope="module")
def machine() -> MachineSpec:
    return load_machine("cent-7b")


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make_trace(load_workload("llama-2-7b"), context=256)


@pytest.mark.parametrize(("stages", "handed"), [(32, 31), (8, 7), (5, 4), (31, 15)])
def test_stages_keep_all_layers_and_hand_over_between(
    machine: MachineSpec, trace: Trace, stages: int, handed: int
) -> None:
    staged = in_stages(cut(machine, pipeline=stages), trace)
    names = [step.operator.name for step in staged.expand()]
    assert names.count(HAND_OVER) == handed
    assert names.count(TO_HOST) == 1
    assert [n for n in names if n not in (HAND_OVER, TO_HOST)] == [
        step.operator.name for step in trace.expand()
    ]
    assert staged.flops == trace.flops
    length = -(-32 // stages)
    assert max(step.operator.layer for step in staged.expand()) == length - 1


def test_each_step_waits_for_the_one_before(machine: MachineSpec, trace: Trace) -> None:
    steps = list(in_stages(cut(machine, pipeline=8), trace).expand())
    for index, step in enumerate(steps):
        if step.operator.name == HAND_OVER:
            assert step.deps == (index - 1,)
            assert steps[index + 1].deps == (index,)
            assert step.operator.outputs[0].size_bytes == 4096 * 2


def test_a_stage_holds_its_layers_and_all_caches_under_way(
    machine: MachineSpec, trace: Trace
) -> None:
    staged = in_stages(cut(machine, pipeline=8), trace)
    tables = 2 * 32000 * 4096 * 2 + 4096 * 2
    assert staged.weight_bytes - tables == pytest.approx((trace.weight_bytes - tables) / 8)
    assert staged.kv_bytes == trace.kv_bytes
    generated = make_trace(load_workload("llama-2-7b"), phase="generate", prompt=2, output=3)
    again = in_stages(cut(machine, pipeline=8), generated)
    assert again.weight_bytes == staged.weight_bytes
    assert [s.operator.name for s in again.expand()].count(TO_HOST) == 4


def test_a_machine_alone_and_a_trace_in_stages_stay_as_they_are(
    machine: MachineSpec, trace: Trace
) -> None:
    assert in_stages(load_machine("h200"), trace) is trace
    staged = in_stages(machine, trace)
    assert in_stages(machine, staged) is staged
    assert stage_machine(load_machine("h200")) is not None


def test_more_stages_than_layers_is_an_error(machine: MachineSpec, trace: Trace) -> None:
    with pytest.raises(MappingError, match=r"parallel.pipeline: 33 stages, llama-2-7b has 32"):
        in_stages(cut(machine, pipeline=33), trace)


def test_stages_that_share_a_device_share_its_channels(machine: MachineSpec) -> None:
    stage = stage_machine(cut(machine, pipeline=24))  # 3 on each of 8 devices
    memory, whole = stage.memories["gddr6"], machine.memories["gddr6"]
    assert memory.channels == 10
    assert whole.capacity_bytes is not None
    assert memory.capacity_bytes == whole.capacity_bytes * 10 // 32
    chip = stage.engines["pnm"]
    assert isinstance(chip, AsicSpec)
    assert chip.adders == 170
    assert stage.links[0].bandwidth_bytes_per_ns == pytest.approx(64 / 3)
    with pytest.raises(MappingError, match=r"33 stages share a device, memory 'gddr6' has 32"):
        stage_machine(cut(machine, devices=1, pipeline=33))


def test_stages_share_no_drive(machine: MachineSpec) -> None:
    memories = {**machine.memories, "flash": load_device("ssd/samsung-980-pro")}
    with pytest.raises(MappingError, match="stages that share a device share no drive, 'flash'"):
        stage_machine(cut(machine.model_copy(update={"memories": memories}), pipeline=24))


def test_exchanges_take_turns_at_the_port(machine: MachineSpec) -> None:
    assert machine.parallel is not None
    chip = machine.engines["pnm"]
    assert isinstance(chip, AsicSpec)
    lowering = WithExchanges(AsicLowering(chip), machine.parallel)
    op = Collective(name="sum", layer=3, function="all_reduce", size_bytes=8192, ways=8)
    assert exchanges_bytes(op) == [[1024.0] * 7] * 2
    assert lowering.supports(op)
    (task,) = lowering.lower(op, 5, "pnm", None)  # type: ignore[arg-type]
    # twice: 180 ns, and 7 parts of 1024 B in 6 flits of 256 B each at 72 GiB/s
    sent_bytes = 7 * 6 * 256
    expected_ns = 2 * (180 + sent_bytes / (72 * 2**30 / 1e9))
    assert task.compute_ps == pytest.approx(expected_ns * 1000, abs=1)
    assert task.counts == {"link": 2 * sent_bytes * 8}
    assert (task.operator, task.engine) == (5, "pnm")


@pytest.mark.slow
def test_a_token_passes_all_stages(machine: MachineSpec, trace: Trace) -> None:
    alone = simulate(cut(machine, devices=1, pipeline=1, host_latency_ns=0.0), trace)
    stages = simulate(cut(machine, pipeline=8), trace)
    assert "pipeline" not in alone.title
    extra_ns = stages.latency_ns - alone.latency_ns
    hand_over_ns = 7 * (180 + 43 * 256 / (72 * 2**30 / 1e9))
    assert extra_ns == pytest.approx(150_000 + hand_over_ns, rel=0.02)
    assert stages.tokens_per_s is not None
    assert stages.metrics["all_stages_tokens_per_s"] == pytest.approx(8 * stages.tokens_per_s)
    assert stages.latency_ns > simulate(cut(machine, pipeline=1, tensor=8), trace).latency_ns
