"""The layer's input in place of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, KvAppend, KvRead, Matmul, Rope, Trace

MakeWith = Callable[..., Trace]


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_the_input_is_half_of_keys_and_values(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-2-7b")
    plain = make_with(workload, {}, batch=2, context=1024)
    made = make_with(workload, {"xquant": {"bits": 16}}, batch=2, context=1024)
    assert plain.kv_bytes == 2 * made.kv_bytes
    assert made.weight_bytes == plain.weight_bytes


def test_keys_and_values_are_made_of_all_tokens_in_every_step(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """Hidden 4096: q of the new tokens, K and V of all 2 x 1024, then their rotation."""
    made = by_name(make_with(shipped("llama-2-7b"), {"xquant": {}}, batch=2, context=1024))
    product, read = made["attention.remat"], made["attention.states"]
    assert isinstance(product, Matmul)
    assert isinstance(read, KvRead)
    assert (product.m, product.k, product.n) == (2048, 4096, 8192)
    assert (made["qkv"].m, made["qkv"].n, made["rope"].heads) == (2, 4096, 32)
    assert isinstance(made["attention.rope"], Rope)
    assert made["attention.rope"].tokens == 2048
    assert (read.tokens, read.width, read.kv_dtype) == (2048, 4096, "int4_g128z")
    assert made["attention"].kv_role == "activation"
    append = made["kv_append"]
    assert isinstance(append, KvAppend)
    assert (append.tokens, append.kv_heads, append.head_dim, append.latent) == (2, 1, 4096, True)
    assert append.deps == ("norm1",)


def test_weights_are_read_once_as_ever(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    traces = [
        make_with(shipped("llama-2-7b"), t, context=64) for t in ({}, {"xquant": {"bits": 16}})
    ]
    weights = [
        sum(t.size_bytes for op in trace.operators() for t in op.inputs if t.role == "weight")
        for trace in traces
    ]
    assert weights[0] == weights[1]


def test_grouped_queries_store_latents(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """As wide as keys and values together; two more factors of 1024 x 1024 in each layer."""
    workload = shipped("llama-3-8b")
    plain = make_with(workload, {}, context=100)
    made = make_with(workload, {"xquant": {"bits": 16}}, context=100)
    assert made.kv_bytes == plain.kv_bytes
    assert made.weight_bytes == plain.weight_bytes + 32 * 2 * 1024 * 1024 * 2
    product = by_name(made)["attention.remat"]
    assert (product.batch, product.m, product.k, product.n) == (2, 100, 1024, 1024)
    whole = make_with(workload, {"xquant": {"bits": 16, "stores": "input"}}, context=100)
    assert whole.kv_bytes == 2 * plain.kv_bytes


def test_a_whole_prompt_makes_its_keys_and_values_as_ever(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-2-7b")
    made = make_with(workload, {"xquant": {}}, phase="prefill", batch=2, prompt=128)
    step = make_with(workload, {"xquant": {}}, batch=2, context=128)
    assert "attention.remat" not in by_name(made)
    assert by_name(made)["qkv"].n == 3 * 4096
    assert made.kv_bytes == step.kv_bytes


def test_fused_keys_and_values_never_leave_the_chip(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    for name in ("llama-2-7b", "llama-3-8b"):
        apart, fused = (
            make_with(shipped(name), {"xquant": {"fused": f}}, batch=2, context=1024)
            for f in (False, True)
        )
        assert fused.kv_bytes == apart.kv_bytes
        assert fused.activation_bytes < apart.activation_bytes
        assert fused.read_bytes + fused.write_bytes < apart.read_bytes + apart.write_bytes
        made = by_name(apart)
        products = sum(made[f"attention{part}"].flops for part in ("", ".remat"))
        assert by_name(fused)["attention"].flops == products


def test_norms_of_keys_come_behind_the_product(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    made = by_name(make_with(shipped("qwen3-0.6b"), {"xquant": {}}, batch=2, context=64))
    assert "k_norm" not in made
    assert made["attention.k_norm"].rows == 2 * 64 * made["attention"].n_kv_heads
    assert made["attention.rope"].deps == ("attention.k_norm",)
    assert made["rope"].deps == ("q_norm", "qkv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(few=st.integers(1, 8), more=st.integers(1, 8), fused=st.booleans())
def test_fewer_bits_never_store_or_read_more(
    few: int, more: int, fused: bool, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    made = [
        make_with(shipped("llama-2-7b"), {"xquant": {"bits": b, "fused": fused}}, context=256)
        for b in sorted((few, more))
    ]
    assert made[0].kv_bytes <= made[1].kv_bytes
    assert made[0].read_bytes <= made[1].read_bytes


def test_with_eviction_and_pages(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """1000 tokens are kept, in 63 blocks of 16; made of those that are read."""
    options = {
        "xquant": {"bits": 16},
        "eviction": {"budget": 1000, "method": "sinks"},
        "paged": {"block": 16},
    }
    made = make_with(shipped("llama-2-7b"), options, batch=2, context=4096)
    assert made.kv_bytes == 32 * 2 * 1008 * 4096 * 2
    assert by_name(made)["attention.remat"].m == 2000
    fused = make_with(
        shipped("llama-2-7b"), options | {"xquant": {"bits": 16, "fused": True}}, context=4096
    )
    assert fused.kv_bytes == 32 * (1008 * 4096 * 2 + 63 * 4)


def test_where_it_makes_no_sense(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    with pytest.raises(ValidationError, match="leave xquant or kv_quant out"):
        make_with(shipped("llama-2-7b"), {"xquant": {}, "kv_quant": {}})
    with pytest.raises(ValidationError, match="need 1 to 8 bits, or 16, got 9"):
        make_with(shipped("llama-2-7b"), {"xquant": {"bits": 9}})
    latent = {"heads": {"kv_rank": 512, "rope_dim": 64}, "xquant": {}}
    with pytest.raises(SpecError, match="no layer that stores keys and values of heads"):
        make_with(shipped("llama-2-7b"), latent)


def test_no_attention_reads_keys_and_values_any_more(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    made = make_with(shipped("llama-2-7b"), {"xquant": {}}, phase="generate", prompt=20, output=2)
    attentions = [op for op in made.operators() if isinstance(op, Attention)]
    assert {op.kv_role for op in attentions} == {"activation"}
