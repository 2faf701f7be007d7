from __future__ import annotations

import pytest

from bankwidth.operators import Attention, Matmul
from bankwidth.spec import load_machine
from bankwidth.validate import pim_neupims
from bankwidth.validate.neupims_trace import Device, layers_trace
from bankwidth.validate.pim_neupims import (
    BATCHES,
    LENGTHS,
    MODELS,
    NAIVE,
    NEUPIMS,
    PLAIN,
    npu_utilisation,
    pim_utilisation,
    step,
)

DEVICE = Device(hidden=4096, heads=32, ways=4)


def small(sub_batches: int) -> list[str]:
    trace = layers_trace(
        DEVICE, lengths=(100, 200), sequences=32, layers=2, sub_batches=sub_batches
    )
    return [op.name for op, _ in trace.expand()]


def test_sub_batches_are_all_of_the_batch() -> None:
    def flops(sub_batches: int) -> int:
        return layers_trace(
            DEVICE, lengths=(100, 200), sequences=32, layers=2, sub_batches=sub_batches
        ).flops

    assert flops(2) == flops(1)
    assert len(small(2)) == 2 * len(small(1))


def test_sub_batches_do_not_wait_for_each_other() -> None:
    trace = layers_trace(DEVICE, lengths=(100,), sequences=32, layers=2, sub_batches=2)
    steps = list(trace.expand())
    for op, deps in steps:
        part = op.name.split(".")[1]
        assert {steps[dep].operator.name.split(".")[1] for dep in deps} <= {part}


def test_a_layer_waits_for_the_one_before() -> None:
    trace = layers_trace(DEVICE, lengths=(100,), sequences=32, layers=2, sub_batches=1)
    waits = {op.name: op.deps for block in trace.blocks for op in block.operators}
    assert waits["1.0.norm1"] == ("0.0.add2",)


def test_a_device_has_its_share_of_heads_and_weights() -> None:
    trace = layers_trace(DEVICE, lengths=(100,), sequences=32, layers=1, sub_batches=1)
    operators = trace.blocks[0].operators
    (attention,) = (op for op in operators if isinstance(op, Attention))
    assert (attention.n_heads, attention.head_dim) == (32 * 8, 128)
    weights = sum(op.n * op.k * 2 for op in operators if isinstance(op, Matmul))
    assert weights == trace.weight_bytes == DEVICE.layer_bytes


def test_lengths_have_the_mean_of_requests_under_way() -> None:
    assert sum(LENGTHS) / len(LENGTHS) == pytest.approx(161 + 338 / 2)
    assert all(batch % (2 * len(LENGTHS)) == 0 for batch in BATCHES)
    assert all(device.heads % device.ways == 0 for device in MODELS.values())


@pytest.mark.slow
def test_each_step_towards_neupims_is_faster() -> None:
    plain, naive, neupims = (step(m, "7B", 512).latency_ps for m in (PLAIN, NAIVE, NEUPIMS))
    assert plain > naive > neupims
    assert 2.4 * 0.75 < plain / neupims < 2.4 * 1.35


@pytest.mark.slow
def test_neupims_uses_both_sides_better() -> None:
    machines = {name: load_machine(name) for name in (PLAIN, NAIVE, NEUPIMS)}
    results = {name: step(name, "7B", 512) for name in machines}
    npu = {name: npu_utilisation(machines[name], results[name]) for name in machines}
    assert 0 < npu[PLAIN] < npu[NAIVE] < npu[NEUPIMS] < 100
    pim = {name: pim_utilisation(machines[name], results[name]) for name in (NAIVE, NEUPIMS)}
    assert 0 < pim[NAIVE] < pim[NEUPIMS] < 100


def test_every_figure_is_of_the_abstract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pim_neupims, "speedup", lambda _: 2.0)
    monkeypatch.setattr(pim_neupims, "_mean", lambda *_: 40.0)
    cases = list(pim_neupims.published())
    assert [case.reference for case in cases] == [3.0, 2.4, 1.6, 28.0, 65.0, 17.0, 26.0]
    assert [case.ours for case in cases] == [2.0] * 3 + [40.0] * 4
    assert all(case.source and case.note for case in cases)
