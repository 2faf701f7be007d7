"""Copies go round twice the L2, fit the memory; what torch cannot run is said beforehand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucap.assumed import GPUS, assumed_gpu, rough_latency_s
from gpucap.grid_points import GRIDS
from gpucap.kernels import kernel_of, why_not
from gpucap.operator_table import Wanted
from gpucap.options import Options
from gpucap.plan import MAX_COPIES, copies_of, make_plan, plan_lines, set_bytes
from gpucap.problems import CaptureError
from gpucap.shapes import Attention, Collective, Elementwise, Gemm, KvAppend, Shape

MIB = 2**20


def gemm(m: int = 16, n: int = 1024, k: int = 1024, dtype: str = "bf16", **rest: object) -> Gemm:
    return Gemm(operator="gemm", m=m, n=n, k=k, dtype=dtype, **{"weight_dtype": dtype, **rest})  # type: ignore[arg-type]


@given(n=st.integers(1, 30000), k=st.integers(1, 30000), l2_mib=st.integers(1, 128))
def test_between_two_uses_of_a_copy_lies_twice_the_l2(n: int, k: int, l2_mib: int) -> None:
    shape = gemm(n=n, k=k)
    copies = copies_of(shape, "weights", l2_mib * MIB, 10**12)
    others = (copies - 1) * shape.cold_bytes
    assert copies == MAX_COPIES or others >= 2 * l2_mib * MIB
    assert copies == 1 or (copies - 2) * shape.cold_bytes < 2 * l2_mib * MIB


@given(memory_mb=st.integers(1, 100_000))
def test_copies_leave_room(memory_mb: int) -> None:
    shape = gemm(n=4096, k=4096)
    copies = copies_of(shape, "weights", 50 * MIB, memory_mb * 10**6)
    assert copies == 1 or copies * shape.cold_bytes <= 0.8 * memory_mb * 10**6


def test_all_cold_rotates_activations_too() -> None:
    shape = Elementwise(operator="add", elements=2**20, dtype="bf16")
    assert copies_of(shape, "weights", 50 * MIB, 10**11) == 1
    assert set_bytes(shape, "all") == 3 * 2 * 2**20
    assert copies_of(shape, "all", 50 * MIB, 10**11) == 18  # 100 MiB in sets of 6, and one


def test_equal_rows_are_one_with_their_counts() -> None:
    rows = [Wanted(2, "a", gemm()), Wanted(3, "b", gemm(m=17)), Wanted(4, "c", gemm(), 5)]
    plan = make_plan(rows, Options(), assumed_gpu("h100"))
    assert [(row.wanted.name, row.wanted.count) for row in plan] == [("a", 6), ("b", 1)]


def test_what_does_not_fit_is_not_run() -> None:
    plan = make_plan([Wanted(2, "a", gemm(n=2**17, k=2**17))], Options(), assumed_gpu("t4"))
    assert "needs" in str(plan[0].refusal)
    assert "the device has 16.0" in str(plan[0].refusal)
    assert "not run" in plan_lines(plan, most=9)[1]


ATTENTION = Attention(
    operator="attention_decode", batch=1, q_len=1, kv_len=9, n_heads=2, n_kv_heads=1, head_dim=64,
    dtype="bf16", kv_dtype="bf16",
)  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (gemm(dtype="int4"), "int4"),
        (gemm(weight_dtype="int8"), "bf16 times int8"),
        (gemm(n=1000, dtype="fp8"), "multiples of 16"),
        (gemm(m=16, dtype="int8"), "above 16"),
        (gemm(dtype="fp8", batch=2), "batched"),
        (gemm(dtype="fp8", bias=True), "bias"),
        (Collective(operator="all_reduce", bytes=8, n_gpu=2, dtype="int8"), "several GPUs"),
        (Elementwise(operator="add", elements=8, dtype="fp8"), "fp64, fp32, bf16, fp16 only"),
        (
            KvAppend(
                operator="kv_append",
                tokens=1,
                kv_heads=1,
                head_dim=8,
                dtype="bf16",
                kv_dtype="fp8",
            ),
            "cache of fp8",
        ),
    ],
)
def test_reasons_not_to_run(shape: Shape, part: str) -> None:
    assert part in str(why_not(shape, Options()))


@pytest.mark.parametrize("shape", [gemm(), gemm(dtype="tf32"), gemm(m=17, dtype="int8"), ATTENTION])
def test_usual_shapes_are_run(shape: Shape) -> None:
    assert why_not(shape, Options()) is None


def test_the_kernel_says_who_runs_it() -> None:
    assert kernel_of(gemm(), Options()) == "torch.nn.functional.linear"
    assert kernel_of(gemm(dtype="fp8"), Options()) == "torch._scaled_mm"
    assert kernel_of(ATTENTION, Options(attention="flash_attn_3")) == "flash_attn_3"
    silu_mul = Elementwise(operator="silu_mul", elements=8, dtype="bf16")
    assert kernel_of(silu_mul, Options(fused="eager")) == "silu_mul eager"


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(CaptureError, match="did you mean 'h200'"):
        assumed_gpu("h20")


@pytest.mark.parametrize("name", GPUS)
def test_estimates_are_the_larger_of_both_peaks(name: str) -> None:
    gpu = GPUS[name]
    wide, deep = gemm(m=1, n=8192, k=8192), gemm(m=8192, n=8192, k=8192)
    by_bytes = wide.cold_bytes / gpu.bandwidth_bytes_per_s
    assert by_bytes < rough_latency_s(wide, gpu) < 1.1 * by_bytes + 3.1e-6
    assert rough_latency_s(deep, gpu) >= deep.flops / gpu.tensor_flops_per_s


@pytest.mark.parametrize("name", GRIDS)
def test_grids_have_no_row_twice(name: str) -> None:
    rows = [tuple(row.items()) for row in GRIDS[name]()]
    assert rows
    assert name == "kv_append" or len(rows) == len(set(rows))
