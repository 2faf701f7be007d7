"""Operators as the kernels of a CPU's library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.lower_cpu import CpuLowering
from bankwidth.mapping.plan import Placement, Task
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
    make_trace,
)
from bankwidth.simulation import simulate
from bankwidth.spec import CpuSpec, load_machine, load_workload
from bankwidth.system.engine_energy import item_energies_pj

REGION_NS, THREAD_NS = 9000.0, 100.0


@pytest.fixture(scope="module")
def n1() -> CpuSpec:
    spec = load_machine("neoverse-n1").engines["cpu"]
    assert isinstance(spec, CpuSpec)
    return spec


def lower(spec: CpuSpec, op: Operator) -> list[Task]:
    roles = ("weights", "kv", "activations")
    places = {role: Placement(memory="ddr4", base=0, size_bytes=10**11) for role in roles}
    return CpuLowering(spec).lower(op, 0, "cpu", LoweringContext(places, [op]))


def changed(spec: CpuSpec, **changes: Any) -> CpuSpec:
    return spec.model_copy(update=changes)


def matmul(m: int = 1, dtype: str = "q4_0", n: int = 4096) -> Matmul:
    return Matmul(name="fc", m=m, n=n, k=4096, dtype="fp32", weight_dtype=dtype)


def attention(**changes: Any) -> Attention:
    shape: dict[str, Any] = {
        "phase": "decode", "batch": 1, "q_len": 1, "kv_len": 512, "n_heads": 32, "n_kv_heads": 8,
        "head_dim": 128, "dtype": "fp32", "kv_dtype": "fp16",
    }  # fmt: skip
    return Attention(name="attention", **(shape | changes))


OPERATORS = (
    matmul(),
    matmul(m=100, dtype="q6_k"),
    attention(),
    Norm(name="n", rows=4, width=4096, style="layer", dtype="fp32"),
    Softmax(name="s", rows=4, width=4096, dtype="fp32"),
    Elementwise(name="e", function="silu_mul", elements=4096, num_inputs=2, dtype="fp32"),
    Elementwise(name="a", function="add", elements=4096, num_inputs=3, dtype="fp32", rows=2),
    Rope(name="r", tokens=2, heads=8, head_dim=64, dtype="fp32"),
    Embedding(name="t", tokens=2, width=64, vocab=100, dtype="fp32", weight_dtype="q4_0"),
    KvAppend(name="kv", tokens=2, kv_heads=4, head_dim=64, dtype="fp32", kv_dtype="fp16"),
)


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: f"{op.kind} {op.name}")
def test_all_that_is_counted_has_an_energy(n1: CpuSpec, op: Operator) -> None:
    assert CpuLowering(n1).supports(op)
    for task in lower(n1, op):
        assert set(task.counts) <= set(item_energies_pj(n1))
        assert task.compute_ps >= task.ideal_ps - 1
        assert task.counts


def test_a_product_converts_its_rows_and_then_streams_its_weights(n1: CpuSpec) -> None:
    convert, product = lower(n1, matmul())
    assert (convert.name, product.name) == ("fc.convert", "fc")
    assert (convert.loads, convert.stores, convert.launch_ps) == ((), (), 0)
    assert [t.size_bytes for t in product.loads] == [4096 * 4096 * 18 // 32]
    assert product.stores == ()
    regions = 2 * n1.kernels.products_per_operator
    assert product.launch_ps == 1000 * regions * (REGION_NS + 64 * THREAD_NS)
    assert "unpacking" in product.detail


def test_one_thread_converts_for_all_where_the_library_does_so(n1: CpuSpec) -> None:
    shared = n1.kernels.model_copy(update={"converted_by": "all"})
    other = changed(n1, libraries={"shared": shared}, library="shared")
    one, all_ = (lower(spec, matmul(m=64))[0] for spec in (n1, other))
    assert one.compute_ps == pytest.approx(64 * all_.compute_ps, rel=1e-6)
    assert one.counts == all_.counts


def test_a_lone_thread_waits_for_nobody(n1: CpuSpec) -> None:
    assert all(task.launch_ps == 0 for task in lower(changed(n1, threads=1), matmul()))


def test_a_prompt_reads_large_weights_again(n1: CpuSpec) -> None:
    """A pass of 16 rows goes by all weights; 32 MiB of cache keep the small matrix."""
    small, large = matmul(m=64), matmul(m=64, n=32768)
    assert sum(t.size_bytes for t in lower(n1, small)[1].loads) == 4096 * 4096 * 18 // 32
    assert sum(t.size_bytes for t in lower(n1, large)[1].loads) == 4 * 32768 * 4096 * 18 // 32


def test_activations_without_room_go_through_memory(n1: CpuSpec) -> None:
    op = matmul(m=4096)
    product = lower(n1, op)[1]
    read = sum(t.size_bytes for t in product.loads)
    assert read == op.read_bytes
    assert [(t.size_bytes, t.posted) for t in product.stores] == [(op.write_bytes, True)]


def test_attention_is_scores_softmax_and_sums(n1: CpuSpec) -> None:
    score, softmax, context = lower(n1, attention())
    cached = 512 * 8 * 128 * 2
    assert [sum(t.size_bytes for t in task.loads) for task in (score, softmax, context)] == [
        cached, 0, cached,
    ]  # fmt: skip
    products = 32 * 512 * 128 / 8  # eight halves in a register
    assert score.counts["fma"] >= products
    assert context.counts["fma"] >= products
    assert len({t.address for task in (score, context) for t in task.loads}) == 2


def test_formats_without_a_kernel_are_refused(n1: CpuSpec) -> None:
    with pytest.raises(MappingError, match=r"llama.cpp-neon has no kernel for fp8, it has .*q4_0"):
        lower(n1, matmul(dtype="fp8"))
    with pytest.raises(MappingError, match=r"attention 'attention': .* no kernel for fp8"):
        lower(n1, attention(kv_dtype="fp8"))


def test_it_joins_no_others(n1: CpuSpec) -> None:
    op = Collective(name="c", function="all_reduce", size_bytes=8, ways=2)
    assert not CpuLowering(n1).supports(op)


@given(st.integers(1, 8), st.integers(1, 63), st.sampled_from(["q8_0", "q4_0", "q2_k", "fp16"]))
def test_more_cores_compute_no_longer(n1: CpuSpec, m: int, threads: int, dtype: str) -> None:
    fewer, more = (changed(n1, threads=n) for n in (threads, threads + 1))
    for a, b in zip(lower(fewer, matmul(m, dtype)), lower(more, matmul(m, dtype)), strict=True):
        assert b.compute_ps <= a.compute_ps + 1


@pytest.mark.parametrize("weights", ["q4_0", "int2", "fp16"])
def test_a_step_runs_and_takes_its_bytes_at_least(weights: str) -> None:
    machine = load_machine("neoverse-n1")
    trace = make_trace(
        load_workload("llama-3.2-1b"), context=64, weight_dtype=weights,
        activation_dtype="fp32", kv_dtype="fp16",
    )  # fmt: skip
    result = simulate(machine, trace)
    result.verify()
    assert result.latency_ns >= trace.weight_bytes / machine.links[0].bandwidth_bytes_per_ns
