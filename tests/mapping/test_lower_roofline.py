from __future__ import annotations

import math
from typing import Any

import pytest

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_roofline import RooflineLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Moe,
    Norm,
    Operator,
    Rope,
    Softmax,
)
from bankwidth.spec import CoresSpec, RingSpec, RooflineSpec, load_device

CORES = CoresSpec.model_validate(
    {
        "count": 10, "buffer": "192 KiB", "load_bandwidth": "2 GB/s", "tile_sides": [8, 64, 128],
        "tile_depth": 32, "register_side": 16, "feed": "1 pJ/bit",
    }
)  # fmt: skip
RING = RingSpec.model_validate(
    {"max_ways": 8, "step": "1 us", "bandwidth": "100 GB/s", "energy": "1.3 pJ/bit"}
)


@pytest.fixture(scope="module")
def xeon() -> RooflineSpec:
    spec = load_device("roofline/xeon-gold-6154")
    assert isinstance(spec, RooflineSpec)
    return spec


def lower(spec: RooflineSpec, op: Operator) -> Task:
    roles = ("weights", "kv", "activations")
    places = {role: Placement(memory="ddr4", base=0, size_bytes=10**11) for role in roles}
    (task,) = RooflineLowering(spec).lower(op, 0, "cpu", LoweringContext(places, [op]))
    return task


def changed(spec: RooflineSpec, **changes: Any) -> RooflineSpec:
    return spec.model_copy(update=changes)


def matmul(m: int = 1, dtype: str = "fp32") -> Matmul:
    return Matmul(name="fc", m=m, n=4096, k=1024, dtype=dtype, weight_dtype=dtype)


def attention(**changes: Any) -> Attention:
    shape: dict[str, Any] = {
        "phase": "decode", "batch": 2, "q_len": 1, "kv_len": 100, "n_heads": 8, "n_kv_heads": 4,
        "head_dim": 64, "dtype": "fp32", "kv_dtype": "fp32",
    }  # fmt: skip
    return Attention(name="attention", **(shape | changes))


def test_a_product_computes_at_what_is_reached_of_the_peak(xeon: RooflineSpec) -> None:
    task = lower(xeon, matmul())
    at_peak_ps = 2 * 4096 * 1024 / xeon.matrix_tflops["fp32"]  # 1 TFLOPS is 1 flop per ps
    assert task.ideal_ps == pytest.approx(at_peak_ps, abs=1)
    assert task.compute_ps == pytest.approx(at_peak_ps / xeon.compute_utilisation, abs=1)
    assert task.counts["matrix fp32"] == 2 * 4096 * 1024


def test_memory_and_compute_overlap_entirely(xeon: RooflineSpec) -> None:
    assert lower(xeon, matmul()).overlap == math.inf


def test_the_cache_keeps_activations_and_no_weights(xeon: RooflineSpec) -> None:
    task = lower(xeon, matmul())
    assert sum(t.size_bytes for t in task.loads) == 4 * 4096 * 1024
    assert task.stores == ()
    large = matmul(m=8192)
    task = lower(xeon, large)
    assert sum(t.size_bytes for t in task.loads) == large.read_bytes
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(large.write_bytes, False)]


def test_formats_without_a_rate_are_converted_to_fp32(xeon: RooflineSpec) -> None:
    assert "matrix fp32" in lower(xeon, matmul(dtype="bf16")).counts
    half = changed(xeon, matrix_tflops={"fp16": 312.0})
    assert "matrix fp16" in lower(half, matmul(dtype="fp16")).counts
    with pytest.raises(MappingError, match=r"no matrix rate for bf16.* the device has fp16"):
        lower(half, matmul(dtype="bf16"))


def test_overheads_are_by_function_then_kind_then_default(xeon: RooflineSpec) -> None:
    spec = changed(xeon, overhead_ns={"default": 1.0, "elementwise": 2.0, "add": 3.0})
    add, mul = (
        Elementwise(name="x", function=f, elements=8, num_inputs=2, dtype="fp32")
        for f in ("add", "mul")
    )
    norm = Norm(name="n", rows=1, width=8, style="rms", dtype="fp32")
    assert [lower(spec, op).launch_ps for op in (add, mul, norm)] == [3000, 2000, 1000]


def test_attention_charges_products_and_softmax_and_reads_the_cache(xeon: RooflineSpec) -> None:
    op = attention()
    task = lower(xeon, op)
    assert task.counts["matrix fp32"] == 4 * 64 * 2 * 8 * 100
    assert task.counts["vector fp32"] == 5 * 2 * 8 * 100
    assert sum(t.size_bytes for t in task.loads) == 2 * (2 * 100 * 4 * 64 * 4)  # K and V
    assert task.stores == ()


def test_an_append_goes_to_memory_and_nobody_waits(xeon: RooflineSpec) -> None:
    op = KvAppend(name="kv", tokens=2, kv_heads=4, head_dim=64, dtype="fp32", kv_dtype="fp32")
    task = lower(xeon, op)
    assert task.loads == ()
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(2048, True)] * 2
    assert task.compute_ps == 0


def test_operands_pass_at_the_rate_of_their_kind(xeon: RooflineSpec) -> None:
    norm = Norm(name="n", rows=64, width=1024, style="rms", dtype="fp32")
    slow = changed(xeon, vector_bandwidth_bytes_per_ns={"norm": 1.0})
    assert lower(slow, norm).compute_ps == 1000 * (norm.read_bytes + norm.write_bytes)
    other = Softmax(name="s", rows=64, width=1024, dtype="fp32")
    assert lower(slow, other).compute_ps == lower(xeon, other).compute_ps


def test_idle_cores_leave_compute_and_bandwidth_unused(xeon: RooflineSpec) -> None:
    """Eight heads on ten cores: each core loads its own head at its own rate."""
    cored = changed(xeon, cores=CORES)
    op = attention(kv_len=10_000)
    key_value_bytes = 2 * (2 * 10_000 * 4 * 64 * 4)
    assert lower(cored, op).compute_ps == pytest.approx(1000 * key_value_bytes / 8 / 2.0, abs=1)
    assert lower(cored, op).ideal_ps == lower(xeon, op).ideal_ps


def test_a_ring_takes_a_step_to_every_other_chip(xeon: RooflineSpec) -> None:
    op = Collective(name="sum", function="all_reduce", size_bytes=80_000, ways=8)
    task = lower(changed(xeon, ring=RING), op)
    assert task.compute_ps == 7 * (1_000_000 + 1000 * 10_000 // 100)
    assert task.counts["link"] == 8 * 80_000


def test_collectives_need_a_ring_that_is_long_enough(xeon: RooflineSpec) -> None:
    op = Collective(name="sum", function="all_reduce", size_bytes=80_000, ways=16)
    assert not RooflineLowering(xeon).supports(op)
    with pytest.raises(MappingError, match="'sum' among 16: the device joins 8 chips"):
        lower(changed(xeon, ring=RING), op)


@pytest.mark.parametrize(
    "op",
    [
        Rope(name="r", tokens=1, heads=2, head_dim=64, dtype="bf16"),
        Embedding(name="e", tokens=1, width=8, vocab=9, dtype="bf16", weight_dtype="bf16"),
        Moe(
            name="m", tokens=4, hidden=64, inter=64, topk=2, experts=8, dtype="bf16",
            weight_dtype="bf16",
        ),
    ],
)  # fmt: skip
def test_every_operator_has_a_task(xeon: RooflineSpec, op: Operator) -> None:
    assert RooflineLowering(xeon).supports(op)
    task = lower(xeon, op)
    assert task.launch_ps > 0
    assert task.counts["cache"] == 8 * (op.read_bytes + op.write_bytes)
