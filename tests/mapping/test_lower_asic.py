from __future__ import annotations

import math

import pytest

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_asic import AsicLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import Attention, Elementwise, KvAppend, Matmul, Norm, Operator
from bankwidth.spec import AsicSpec, load_machine


@pytest.fixture(scope="module")
def asic() -> AsicSpec:
    spec = load_machine("pim-gpt").engines["asic"]
    assert isinstance(spec, AsicSpec)
    return spec


def lower(asic: AsicSpec, op: Operator) -> Task:
    places = {
        role: Placement(memory="gddr6", base=0, size_bytes=10**8)
        for role in ("weights", "kv", "activations")
    }
    (task,) = AsicLowering(asic).lower(op, 0, "asic", LoweringContext(places, [op]))
    return task


def norm(rows: int) -> Norm:
    return Norm(name="norm", rows=rows, width=1024, style="layer", dtype="bf16")


def test_activations_that_fit_stay_in_the_sram(asic: AsicSpec) -> None:
    task = lower(asic, norm(asic.sram_bytes // 2048))
    assert sum(t.size_bytes for t in task.loads) == 2 * 1024 * 2  # weight and bias
    assert task.stores == ()


def test_activations_that_do_not_fit_come_from_memory_and_go_back(asic: AsicSpec) -> None:
    rows = asic.sram_bytes // 2048 + 1
    task = lower(asic, norm(rows))
    assert sum(t.size_bytes for t in task.loads) == 2 * 1024 * 2 + rows * 2048
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(rows * 2048, True)]


def test_a_sum_of_three_takes_twice_the_additions_of_two(asic: AsicSpec) -> None:
    two, three = (
        Elementwise(name="x", function="add", elements=1000, num_inputs=n, dtype="bf16")
        for n in (2, 3)
    )
    adds = [dict(lower(asic, op).counts)["add"] for op in (two, three)]
    assert adds[1] == 2 * adds[0] > 0


def test_time_is_operations_over_units_plus_the_latency(asic: AsicSpec) -> None:
    op, ops = norm(4), asic.layernorm_ops
    adds = ops.adds * 4096 + ops.row_adds * 4
    multiplies = ops.multiplies * 4096 + ops.row_multiplies * 4
    cycles = max(adds / asic.adders, multiplies / asic.multipliers)
    task = lower(asic, op)
    assert task.compute_ps == pytest.approx(
        1000 * (cycles / asic.clock_ghz + asic.latency_ns), abs=1
    )
    assert dict(task.counts)["add"] == adds


def test_products_are_a_multiplication_and_an_addition_per_pair(asic: AsicSpec) -> None:
    op = Matmul(name="fc", m=2, n=300, k=500, dtype="bf16", weight_dtype="bf16")
    task = lower(asic, op)
    assert dict(task.counts)["add"] == dict(task.counts)["mul"] == 2 * 300 * 500
    assert [t.size_bytes for t in task.loads] == [300 * 500 * 2]
    assert task.overlap == math.inf


def test_attention_reads_keys_and_values_and_takes_its_softmaxes(asic: AsicSpec) -> None:
    op = Attention(
        name="attention", phase="decode", batch=1, q_len=1, kv_len=100, n_heads=4, n_kv_heads=4,
        head_dim=64, dtype="bf16", kv_dtype="bf16",
    )  # fmt: skip
    counts = dict(lower(asic, op).counts)
    pairs = 2 * 4 * 100 * 64
    assert counts["add"] == pairs + asic.softmax_ops.adds * 400 + asic.softmax_ops.row_adds * 4
    multiplies = asic.softmax_ops.multiplies * 400 + asic.softmax_ops.row_multiplies * 4
    assert counts["mul"] == pairs + multiplies
    assert sum(t.size_bytes for t in lower(asic, op).loads) == 2 * 100 * 4 * 64 * 2


def test_new_keys_and_values_go_to_memory(asic: AsicSpec) -> None:
    op = KvAppend(
        name="kv_append", tokens=1, kv_heads=4, head_dim=64, dtype="bf16", kv_dtype="bf16"
    )
    task = lower(asic, op)
    assert sum(t.size_bytes for t in task.stores) == 2 * 4 * 64 * 2
    assert task.counts["add"] == 0.0
