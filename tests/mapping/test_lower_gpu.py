"""Operators as tasks of a GPU: what is loaded and stored, by which kernels, in which timing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import stored_instructions
from bankwidth.mapping.lower_gpu import GpuLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import (
    Attention,
    Collective,
    Conv,
    Elementwise,
    KvRead,
    Matmul,
    Operator,
    Score,
    Select,
    packed_bytes,
)
from bankwidth.spec import GpuSpec, load_device, load_machine


def gpu(name: str = "gpu/h200-sxm") -> GpuSpec:
    spec = load_device(name)
    assert isinstance(spec, GpuSpec)
    return spec


def lowered(op: Operator, spec: GpuSpec, timing: Timing = IN_A_MODEL) -> list[Task]:
    whole = Placement(memory="hbm", base=0, size_bytes=1 << 40)
    context = LoweringContext(dict.fromkeys(("weights", "kv", "activations"), whole), [op])
    return GpuLowering(spec, timing).lower(op, 0, "gpu", context)


def product(rows: int, width: int = 4096, dtype: str = "bf16") -> Matmul:
    return Matmul(name="y", m=rows, n=width, k=width, dtype=dtype, weight_dtype=dtype)


def attention(batch: int, kv_len: int, head_dim: int = 128) -> Attention:
    return Attention(
        name="attention", phase="decode", batch=batch, q_len=1, kv_len=kv_len, n_heads=32,
        n_kv_heads=8, head_dim=head_dim, dtype="bf16", kv_dtype="bf16",
    )  # fmt: skip


def loaded(tasks: list[Task]) -> int:
    return sum(t.size_bytes for task in tasks for t in task.loads)


@pytest.mark.parametrize(("rows", "is_posted"), [(16, True), (16384, False)])
def test_results_of_a_product_that_the_l2_can_hold_are_posted(rows: int, is_posted: bool) -> None:
    op = product(rows)
    (task,) = lowered(op, gpu())
    assert [(t.size_bytes, t.posted) for t in task.stores] == [(op.write_bytes, is_posted)]


def test_weights_come_from_memory_in_a_model_and_from_the_l2_in_a_loop_over_few() -> None:
    op = product(16, 1024)
    assert loaded(lowered(op, gpu())) == 2 * 1024 * 1024
    assert loaded(lowered(op, gpu(), Timing(weight_copies=6))) == 0
    assert loaded(lowered(op, gpu(), Timing(weight_copies=60))) == 2 * 1024 * 1024


def stored(weight_dtype: str, dtype: str = "fp16", rows: int = 16) -> Matmul:
    return Matmul(name="y", m=rows, n=4096, k=4096, dtype=dtype, weight_dtype=weight_dtype)


@pytest.mark.parametrize(
    "dtype", ["q8_0", "q6_k", "q5_0", "q4_0", "q3_k", "q2_k", "ternary", "int8", "int3", "int1"]
)
def test_weights_are_read_as_they_are_stored(dtype: str) -> None:
    (task,) = lowered(stored(dtype), gpu("gpu/v100-sxm2"))
    assert loaded([task]) == packed_bytes(4096 * 4096, dtype)


def test_stored_weights_are_converted_and_multiplied_in_the_format_of_the_activations() -> None:
    spec = gpu("gpu/v100-sxm2")
    (plain,), (packed,) = (lowered(stored(name, rows=4096), spec) for name in ("fp16", "int4"))
    assert packed.ideal_ps == plain.ideal_ps  # at the same tensor rate
    # conversion on top of the multiply, less to feed: about as long
    assert packed.compute_ps == pytest.approx(plain.compute_ps, rel=0.2)
    assert packed.counts["tensor fp16"] == plain.counts["tensor fp16"]
    assert packed.counts["vector fp16"] > 0
    assert "vector fp16" not in plain.counts


def test_a_product_by_few_rows_is_faster_the_fewer_bits_its_weights_have() -> None:
    spec = gpu("gpu/v100-sxm2")
    read = [loaded(lowered(stored(f"int{bits}", rows=1), spec)) for bits in range(1, 9)]
    assert read == sorted(read)
    assert read[7] == pytest.approx(8 * read[0], rel=1e-3)


@pytest.mark.parametrize("dtype", ["q4_0", "int8", "bf16"])
def test_activations_need_a_rate_of_their_own(dtype: str) -> None:
    with pytest.raises(MappingError, match=f"no tensor rate for dtype {dtype!r}"):
        lowered(stored("q4_0", dtype), gpu("gpu/v100-sxm2"))


def test_products_of_8_bit_operands_convert_nothing() -> None:
    for dtype in ("int8", "fp8"):
        (task,) = lowered(stored(dtype, dtype, 4096), gpu())
        assert not [item for item in task.counts if item.startswith("vector")]


def test_fp32_products_run_on_the_vector_units() -> None:
    spec = gpu()
    (task,) = lowered(product(4096, dtype="fp32"), spec)
    at_peak_ps = 2 * 4096**3 / (spec.vector_tflops["fp32"] * 1e12) * 1e12
    assert task.ideal_ps == pytest.approx(at_peak_ps, rel=1e-6)


def test_attention_in_a_model_reads_its_keys_and_values_and_nothing_twice() -> None:
    (task,) = lowered(attention(4, 1024), gpu())
    assert loaded([task]) == 2 * 4 * 1024 * 8 * 128 * 2  # the query was just written
    assert [t.posted for t in task.stores] == [True]


def test_a_replayed_call_finds_small_caches_warm_and_appends_as_well() -> None:
    replayed = Timing(replays_attention=True)
    append, task = lowered(attention(4, 1024), gpu(), replayed)
    assert append.detail.startswith("append")
    assert loaded([append, task]) == 0
    *_, cold = lowered(attention(64, 8192), gpu(), replayed)
    kv_bytes, query_bytes = 2 * 64 * 8192 * 8 * 128 * 2, 64 * 32 * 128 * 2
    assert loaded([cold]) == pytest.approx(kv_bytes + query_bytes, abs=4)
    assert task.launch_ps > lowered(attention(4, 1024), gpu())[0].launch_ps


def test_what_leaves_over_the_links_is_counted() -> None:
    op = Collective(name="sum", function="all_reduce", size_bytes=2**26, ways=4)
    (task,) = lowered(op, gpu())
    assert 8 * 2**26 <= task.counts["link"] <= 8 * 2 * 2**26  # once, or a ring's 2 x 3/4
    assert "link" not in lowered(product(16), gpu())[0].counts


def test_the_library_decides_the_kernels_of_attention() -> None:
    vllm = load_machine("h200")
    other = vllm.with_library("tensorrt-llm")
    times = []
    for machine in (vllm, other, vllm.with_library("unheard of")):
        spec = machine.engines["gpu"]
        assert isinstance(spec, GpuSpec)
        times.append(lowered(attention(32, 4096), spec)[-1].compute_ps)
    assert times[0] != times[1]
    assert times[0] == times[2]  # no choice of it: as it was


def test_a_library_may_start_its_products_sooner() -> None:
    spec = gpu("gpu/a100-sxm")
    own = spec.libraries["vllm"].matmul_start_ns
    assert own is not None
    vllm, sglang = (
        lowered(product(16), spec.model_copy(update={"library": name}))[0].launch_ps
        for name in ("vllm", "sglang")
    )
    assert sglang - vllm == pytest.approx(1000 * (spec.matmul.start_ns - own), abs=2)


def cached(**changes: Any) -> Attention:
    return replace(attention(8, 4096), **changes)


@pytest.mark.parametrize(
    "dtype", ["fp8", "int8_g32", "int4_g128", "int4_g64z", "int2_g32", "mxfp4"]
)
def test_keys_and_values_are_read_as_they_are_stored(dtype: str) -> None:
    (task,) = lowered(cached(kv_dtype=dtype), gpu())
    assert loaded([task]) == 2 * packed_bytes(8 * 4096 * 8 * 128, dtype)
    assert ("vector bf16" in task.counts) == (not dtype.startswith("fp"))


def test_keys_and_values_may_be_stored_differently_and_the_newest_plain() -> None:
    (task,) = lowered(cached(kv_dtype="int4_g32", v_dtype="int2_g32", residual=128), gpu())
    old, new = 8 * (4096 - 128) * 8 * 128, 8 * 128 * 8 * 128
    packed = packed_bytes(old, "int4_g32") + packed_bytes(old, "int2_g32")
    assert loaded([task]) == pytest.approx(packed + 2 * 2 * new, abs=8)
    (all_packed,) = lowered(cached(kv_dtype="int4_g32", v_dtype="int2_g32"), gpu())
    assert task.counts["vector bf16"] < all_packed.counts["vector bf16"]


def test_a_latent_is_read_once_for_keys_and_values() -> None:
    (task,) = lowered(
        cached(n_kv_heads=1, n_heads=128, head_dim=576, v_head_dim=512, latent=True), gpu()
    )
    assert loaded([task]) == 8 * 4096 * 576 * 2
    assert "FlashMLA" in task.detail


def test_a_window_reads_what_its_tokens_see() -> None:
    (task,) = lowered(cached(window=512), gpu())
    assert loaded([task]) == 2 * 8 * 512 * 8 * 128 * 2
    assert task.compute_ps == lowered(attention(8, 512), gpu())[0].compute_ps
    (task,) = lowered(cached(window=512, q_len=100, phase="prefill"), gpu())
    assert loaded([task]) == 2 * 8 * 611 * 8 * 128 * 2


def test_tables_of_pages_and_sinks_are_read_too() -> None:
    (task,) = lowered(cached(page=16, has_sinks=True), gpu())
    assert loaded([task]) == 2 * 8 * 4096 * 8 * 128 * 2 + 8 * 256 * 4 + 32 * 2


def test_keys_and_values_that_were_just_made_may_still_be_in_the_l2() -> None:
    small, large = (
        lowered(replace(attention(1, tokens), kv_role="activation"), gpu())
        for tokens in (512, 65536)
    )
    assert loaded(small) == 0
    assert loaded(large) == 2 * 65536 * 8 * 128 * 2 + 32 * 128 * 2


def test_scores_of_cached_rows_read_the_rows() -> None:
    op = Score(
        name="s", batch=8, q_len=1, rows=4096, n_heads=32, n_kv_heads=8, width=32, dtype="bf16",
        kv_dtype="int4_g32",
    )  # fmt: skip
    (task,) = lowered(op, gpu())
    assert loaded([task]) == pytest.approx(op.inputs[1].size_bytes, abs=8)
    assert task.counts["tensor bf16"] == op.flops
    assert task.counts["vector bf16"] > 0


@pytest.mark.parametrize(
    "op",
    [
        Select(name="t", rows=64, width=8192, k=256, dtype="bf16"),
        KvRead(name="r", tokens=4096, width=4096, dtype="bf16", kv_dtype="int4_g128"),
        Conv(name="c", batch=1, q_len=4096, width=4096, taps=4, dtype="bf16"),
        Elementwise(name="m", function="merge", elements=4096, num_inputs=5, dtype="bf16"),
        Elementwise(name="g", function="gelu_mul", elements=1 << 20, num_inputs=2, dtype="bf16",
                    rows=256),
        Elementwise(name="h", function="relu2_mul", elements=1 << 20, num_inputs=2, dtype="bf16"),
    ],
    ids=lambda op: op.name,
)  # fmt: skip
def test_new_kernels_of_vectors_are_one_each_and_bounded_by_their_bytes(op: Operator) -> None:
    (task,) = lowered(op, gpu())
    spec = gpu()
    moved_ns = (op.read_bytes + op.write_bytes) / spec.l2_bandwidth_bytes_per_ns
    assert task.compute_ps >= 1000 * moved_ns
    assert loaded([task]) <= op.read_bytes
    assert sum(t.size_bytes for t in task.stores) == op.write_bytes


def test_zeros_of_sparse_weights_are_neither_read_nor_converted() -> None:
    dense, sparse = (lowered(stored(dtype, "bf16"), gpu())[0] for dtype in ("int4", "int4_2of4"))
    # two of four values, each with its place in two bits
    assert loaded([sparse]) == pytest.approx(3 / 4 * loaded([dense]))
    assert stored_instructions("int4_2of4", "bf16") == stored_instructions("int4", "bf16") / 2


def test_plain_floats_are_converted_by_nobody_and_coded_ones_are() -> None:
    for name in ("fp8", "bf16", "fp8_b128", "bf16_2of4"):
        assert stored_instructions(name, "bf16") == 0.0
    assert stored_instructions("int4", "int8") == 0.0
    assert stored_instructions("dfloat11", "bf16") > stored_instructions("int8", "bf16") > 0


def test_keys_and_values_made_on_the_way_are_read_as_what_they_are_made_of() -> None:
    op = cached(remat_width=2048, remat_dtype="bf16", kv_dtype="int4_g128")
    (task,) = lowered(op, gpu())
    weights = 2048 * 2 * 8 * 128 * 2
    assert loaded([task]) == pytest.approx(
        packed_bytes(8 * 4096 * 2048, "int4_g128") + weights, 1e-6
    )
    (plain,) = lowered(cached(), gpu())
    assert task.counts["tensor bf16"] - plain.counts["tensor bf16"] == op.remat_flops
    assert task.compute_ps > plain.compute_ps
    assert task.ideal_ps > plain.ideal_ps
