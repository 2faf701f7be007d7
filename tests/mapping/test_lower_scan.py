"""Recurrences on a GPU and on a roofline: what moves, and what is computed where."""

from __future__ import annotations

from typing import Any

import pytest

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.lower_roofline import RooflineLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import Operator, Scan
from bankwidth.spec import GpuSpec, RooflineSpec, load_device


def lowered(op: Operator, device: str = "gpu/h200-sxm") -> Task:
    spec = load_device(device)
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    context = LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [op])
    assert isinstance(spec, GpuSpec | RooflineSpec)
    lowering = GpuLowering(spec) if isinstance(spec, GpuSpec) else RooflineLowering(spec)
    (task,) = lowering.lower(op, 0, "gpu", context)
    return task


def scan(recurrence: str = "ssd", **changes: Any) -> Scan:
    values: dict[str, Any] = {
        "batch": 4, "q_len": 1, "heads": 80, "head_dim": 64, "state": 128, "dtype": "bf16",
    }  # fmt: skip
    return Scan(name="s", recurrence=recurrence, **(values | changes))  # type: ignore[arg-type]


def test_a_step_streams_its_states_in_and_out() -> None:
    op = scan()
    task = lowered(op)
    states = 4 * 80 * 64 * 128 * 4
    assert sum(t.size_bytes for t in task.loads) == states  # x was just written
    assert sum(t.size_bytes for t in task.stores) == states + op.outputs[0].size_bytes
    assert "tensor bf16" not in task.counts
    assert task.counts["vector bf16"] == op.flops


def test_a_prompt_in_chunks_multiplies_on_the_tensor_cores() -> None:
    op = scan(q_len=4096)
    task = lowered(op)
    assert task.counts["tensor bf16"] == 4 * op.product_flops
    assert task.counts["vector bf16"] == op.flops - 4 * op.product_flops
    assert task.compute_ps > task.ideal_ps > 0
    assert "5 kernels" in task.detail


def test_states_of_chunks_pass_the_memory_where_the_l2_does_not_hold_them() -> None:
    small, large = lowered(scan(batch=1, q_len=512)), lowered(scan(q_len=4096))
    chunks = 4 * 16 * 80 * 64 * 128 * 4  # of 256 tokens
    inputs = sum(t.size_bytes for t in scan(q_len=4096).inputs)
    assert sum(t.size_bytes for t in large.loads) == pytest.approx(inputs + 2 * chunks, rel=0.05)
    assert sum(t.size_bytes for t in small.loads) < 2 * 80 * 64 * 128 * 4


def test_a_selective_prompt_is_one_kernel_of_vectors() -> None:
    task = lowered(scan("selective", heads=1, head_dim=5120, state=16, q_len=2048))
    assert "1 kernel," in task.detail
    assert not [item for item in task.counts if item.startswith("tensor")]
    exponentials_ps = 4 * 2048 * 5120 * 16 / (16 * 132 * 1.98) * 1e3
    assert task.compute_ps > exponentials_ps


@pytest.mark.parametrize("recurrence", ["ssd", "delta", "gated"])
def test_a_prompt_takes_longer_than_a_step_and_less_than_as_many(recurrence: str) -> None:
    one, many = (lowered(scan(recurrence, q_len=n)) for n in (1, 4096))
    assert one.compute_ps < many.compute_ps < 4096 * one.compute_ps


def test_a_roofline_splits_the_work_alike() -> None:
    op = scan(q_len=4096)
    task = lowered(op, "roofline/h100-attacc")
    assert task.counts["matrix bf16"] == 4 * op.product_flops
    assert sum(task.counts[i] for i in task.counts if i.startswith("vector")) == (
        op.flops - 4 * op.product_flops
    )
