from __future__ import annotations

import math

import pytest

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_npu import DMA, MATRIX, VECTOR, NpuLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import Attention, Elementwise, KvAppend, Matmul, Norm, Operator
from bankwidth.spec import NpuSpec, load_machine


@pytest.fixture(scope="module")
def npu() -> NpuSpec:
    spec = load_machine("ianus").engines["npu"]
    assert isinstance(spec, NpuSpec)
    return spec


def lower(npu: NpuSpec, op: Operator) -> list[Task]:
    places = {
        role: Placement(memory="gddr6", base=0, size_bytes=10**9)
        for role in ("weights", "kv", "activations")
    }
    return NpuLowering(npu).lower(op, 0, "npu", LoweringContext(places, [op]))


def product(m: int = 1, n: int = 1536, k: int = 1536, batch: int = 1) -> Matmul:
    return Matmul(name="fc", m=m, n=n, k=k, batch=batch, dtype="bf16", weight_dtype="bf16")


def attention(kv_len: int = 192, q_len: int = 1) -> Attention:
    return Attention(
        name="attention", phase="decode", batch=1, q_len=q_len, kv_len=kv_len, n_heads=24,
        n_kv_heads=24, head_dim=64, dtype="bf16", kv_dtype="bf16",
    )  # fmt: skip


def test_weights_stream_in_behind_the_computation(npu: NpuSpec) -> None:
    (task,) = lower(npu, product())
    assert (task.unit, task.overlap) == (MATRIX, math.inf)
    assert sum(load.size_bytes for load in task.loads) == 2 * 1536 * 1536


def test_no_more_goes_ahead_than_half_the_weight_scratchpads_hold(npu: NpuSpec) -> None:
    (task,) = lower(npu, product(n=8 * 1536))
    early = [load for load in task.loads if load.ahead]
    assert sum(load.size_bytes for load in early) == npu.weight_bytes * npu.cores // 2
    assert task.loads[: len(early)] == tuple(early)
    late = task.loads[len(early)]
    assert late.address == early[-1].address + early[-1].size_bytes


def test_cores_share_the_outputs(npu: NpuSpec) -> None:
    # 384 outputs per core are 6 tiles of 64, 1536 / 4 clocks each; one row of x.
    (task,) = lower(npu, product())
    assert task.compute_ps == pytest.approx((6 * 384 + 63) / 0.7e-3, rel=1e-6)


def test_cores_take_a_product_of_a_batch_each(npu: NpuSpec) -> None:
    (alone,), (four,) = lower(npu, product(n=384)), lower(npu, product(n=384, batch=4))
    assert four.compute_ps > alone.compute_ps  # each core has all 384 outputs of its own
    assert four.compute_ps == lower(npu, product(n=4 * 384))[0].compute_ps


def test_activations_go_to_the_memory_where_the_scratchpads_are_too_small(npu: NpuSpec) -> None:
    small = npu.model_copy(update={"activation_bytes": 256})
    (task,), (kept,) = lower(small, product()), lower(npu, product())
    assert sum(load.size_bytes for load in task.loads) == 2 * 1536 * 1537
    assert [store.size_bytes for store in task.stores] == [2 * 1536]
    assert kept.stores == ()


def test_attention_loads_keys_for_the_scores_and_values_for_the_context(npu: NpuSpec) -> None:
    score, softmax, context = lower(npu, attention())
    assert [t.unit for t in (score, softmax, context)] == [MATRIX, VECTOR, MATRIX]
    assert [load.size_bytes for load in score.loads] == [2 * 192 * 24 * 64]
    assert softmax.loads == ()
    assert all(load.ahead for load in (*score.loads, *context.loads))
    assert score.loads[0].address != context.loads[0].address


def test_a_norm_is_two_commands(npu: NpuSpec) -> None:
    (norm,) = lower(npu, Norm(name="n", rows=1, width=1536, style="layer", dtype="bf16"))
    (add,) = lower(
        npu, Elementwise(name="a", function="add", elements=1536, num_inputs=2, dtype="bf16")
    )
    assert (norm.issue_ps, add.issue_ps) == (2 * 2_340_000, 2_340_000)


def test_rows_are_shared_among_processors(npu: NpuSpec) -> None:
    def clocks(rows: int) -> float:
        op = Norm(name="n", rows=rows, width=64, style="layer", dtype="bf16")
        return lower(npu, op)[0].compute_ps * 0.7e-3

    cost, lanes = npu.vector.layernorm, 4 * 16 * 4
    assert clocks(1) == pytest.approx(cost.row + cost.element * math.ceil(64 / lanes), abs=1e-3)
    assert clocks(64) == pytest.approx(cost.row + cost.element * 64 * 64 / lanes, abs=1e-3)
    assert clocks(65) > clocks(64) + cost.row


def test_keys_and_values_leave_without_holding_anybody_up(npu: NpuSpec) -> None:
    op = KvAppend(name="append", tokens=1, kv_heads=24, head_dim=64, dtype="bf16", kv_dtype="bf16")
    (task,) = lower(npu, op)
    assert task.unit == DMA
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(2 * 24 * 64, True)] * 2
    assert task.compute_ps == task.issue_ps == 0


def test_every_multiplication_is_counted_for_its_energy(npu: NpuSpec) -> None:
    counts = [task.counts["mac"] for task in lower(npu, attention())]
    assert counts == [24 * 192 * 64, 0, 24 * 192 * 64]
    assert lower(npu, product(m=3))[0].counts["mac"] == 3 * 1536 * 1536
