"""The layer graphs: names, shapes, dependencies, and what must be conserved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.operators import (
    Attention,
    Elementwise,
    Embedding,
    Matmul,
    Operator,
    Trace,
    make_trace,
)

FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
SIZES = st.integers(1, 64)


def names(trace: Trace, block: int) -> list[str]:
    return [operator.name for operator in trace.blocks[block].operators]


def named(trace: Trace, name: str) -> Operator:
    return next(op for block in trace.blocks for op in block.operators if op.name == name)


def matmul(trace: Trace, name: str) -> tuple[int, int, int]:
    operator = named(trace, name)
    assert isinstance(operator, Matmul)
    return operator.m, operator.n, operator.k


def weight_reads(trace: Trace) -> Iterator[int]:
    for block in trace.blocks:
        for operator in block.operators:
            for tensor in operator.inputs:
                if tensor.role == "weight":
                    yield block.repeat * tensor.size_bytes


def unread_rows_bytes(trace: Trace) -> int:
    """Embedding rows that are stored and not looked up."""
    tables = [op for b in trace.blocks for op in b.operators if isinstance(op, Embedding)]
    return sum((op.vocab - op.tokens) * op.width * 2 for op in tables)


def test_a_llama_layer_has_these_operators_in_this_order(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama)
    assert names(trace, 0) == ["embed"]
    assert names(trace, 1) == [
        "norm1", "qkv", "rope", "kv_append", "attention", "o", "add1",
        "norm2", "gate_up", "silu_mul", "down", "add2",
    ]  # fmt: skip
    assert names(trace, 2) == ["final_norm", "lm_head"]


def test_elementwise_operators_know_their_rows(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, phase="prefill", batch=2, prompt=5)
    for name in ("add1", "silu_mul", "add2"):
        operator = named(trace, name)
        assert isinstance(operator, Elementwise)
        assert operator.rows == 10


def test_a_gpt2_layer_has_these_operators_in_this_order(tiny_gpt2: Any) -> None:
    trace = make_trace(tiny_gpt2, context=16)
    assert names(trace, 0) == ["embed", "embed_position", "embed_add"]
    assert names(trace, 1) == [
        "norm1", "qkv", "kv_append", "attention", "o", "add1",
        "norm2", "fc1", "gelu", "fc2", "add2",
    ]  # fmt: skip


def test_opt_350m_norms_after_each_part_and_projects(shipped: Callable[[str], Any]) -> None:
    trace = make_trace(shipped("opt-350m"))
    assert names(trace, 0) == ["embed", "project_in", "embed_position", "embed_add"]
    assert names(trace, 1) == [
        "qkv", "kv_append", "attention", "o", "add1", "norm1",
        "fc1", "relu", "fc2", "add2", "norm2",
    ]  # fmt: skip
    assert names(trace, 2) == ["project_out", "lm_head"]
    assert matmul(trace, "project_in") == (1, 1024, 512)
    assert matmul(trace, "lm_head") == (1, 50272, 512)


def test_llama_2_7b_matmuls_have_the_known_shapes(shipped: Callable[[str], Any]) -> None:
    trace = make_trace(shipped("llama-2-7b"), batch=3)
    assert matmul(trace, "qkv") == (3, 12288, 4096)
    assert matmul(trace, "o") == (3, 4096, 4096)
    assert matmul(trace, "gate_up") == (3, 22016, 4096)
    assert matmul(trace, "down") == (3, 4096, 11008)
    assert matmul(trace, "lm_head") == (3, 32000, 4096)


def test_grouped_queries_shrink_qkv(shipped: Callable[[str], Any]) -> None:
    # (64 + 2 x 8) heads of 128
    assert matmul(make_trace(shipped("llama-2-70b")), "qkv") == (1, 10240, 8192)


def test_equal_layers_are_one_repeated_block(shipped: Callable[[str], Any]) -> None:
    trace = make_trace(shipped("llama-2-70b"))
    assert [(block.name, block.repeat) for block in trace.blocks] == [
        ("embed", 1),
        ("layers 0-79", 80),
        ("head", 1),
    ]


def test_layer_numbers_run_from_zero_to_the_last(tiny_llama: Any) -> None:
    layers = [step.operator.layer for step in make_trace(tiny_llama).expand()]
    assert layers == [-1] + [0] * 12 + [1] * 12 + [-1] * 2


def test_the_residuals_join_the_layers(tiny_llama: Any) -> None:
    steps = list(make_trace(tiny_llama).expand())
    deps = {(s.operator.name, s.operator.layer): s.deps for s in steps}
    position = {(s.operator.name, s.operator.layer): i for i, s in enumerate(steps)}
    assert deps["add1", 0] == (position["o", 0], position["embed", -1])
    assert deps["add1", 1] == (position["o", 1], position["add2", 0])
    assert deps["add2", 1] == (position["down", 1], position["add1", 1])
    assert deps["final_norm", -1] == (position["add2", 1],)


def test_attention_waits_for_the_new_token_in_the_cache(tiny_llama: Any, tiny_gpt2: Any) -> None:
    assert named(make_trace(tiny_llama), "attention").deps == ("rope", "kv_append")
    assert named(make_trace(tiny_gpt2, context=4), "attention").deps == ("qkv", "kv_append")


def test_only_the_look_ups_at_the_start_wait_for_nothing(tiny_gpt2: Any) -> None:
    steps = list(make_trace(tiny_gpt2, context=4).expand())
    assert [index for index, step in enumerate(steps) if not step.deps] == [0, 1]


def test_decode_attends_to_context_tokens_with_the_new_one(tiny_llama: Any) -> None:
    operator = named(make_trace(tiny_llama, context=7, batch=3), "attention")
    assert isinstance(operator, Attention)
    assert (operator.q_len, operator.kv_len, operator.batch) == (1, 7, 3)
    assert operator.phase == "decode"


def test_prefill_attends_causally_within_the_prompt(tiny_llama: Any) -> None:
    operator = named(make_trace(tiny_llama, phase="prefill", prompt=5), "attention")
    assert isinstance(operator, Attention)
    assert (operator.q_len, operator.kv_len, operator.causal) == (5, 5, True)
    assert operator.phase == "prefill"


def test_prefill_computes_the_logits_of_last_tokens_only(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, phase="prefill", prompt=5, batch=3)
    assert matmul(trace, "qkv")[0] == 15
    assert matmul(trace, "lm_head") == (3, 10, 8)


def test_decode_flops_by_hand(tiny_llama: Any) -> None:
    # per layer: matmuls 2 x (8x16 + 8x8 + 8x12 + 6x8), attention 4 x 4 heads x 5 x 2,
    # two norms 4 x 8, rope 3 x 6 heads x 2, silu_mul 5 x 6, two adds of 8
    layer = 2 * (128 + 64 + 96 + 48) + 160 + 64 + 36 + 30 + 16
    assert make_trace(tiny_llama, context=5).flops == 2 * layer + 32 + 2 * 80


def test_decode_reads_by_hand(tiny_llama: Any) -> None:
    # elements read per layer: norms 2 x (8 + 8), qkv 8 + 128, rope 12, kv_append 8, attention
    # 8 + 2 x 5 x 4, o 8 + 64, add1 16, gate_up 8 + 96, silu_mul 12, down 6 + 48, add2 16
    layer = 32 + 136 + 12 + 8 + 48 + 72 + 16 + 104 + 12 + 54 + 16
    head = 16 + 8 + 80
    assert make_trace(tiny_llama, context=5).read_bytes == 2 * (8 + 2 * layer + head)


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "gpt2-xl",
        "gpt3-xl",
        "opt-350m",
        "opt-6.7b",
        "llama-2-7b",
        "llama-3-70b",
        "falcon-7b",
    ],
)
def test_a_decode_step_reads_every_weight_once(name: str, shipped: Callable[[str], Any]) -> None:
    model = shipped(name)
    trace = make_trace(model)
    tied = model.config["tie_word_embeddings"]
    # a tied head reads the whole table, so the look-up reads its row a second time
    looked_up = next(op for op in trace.blocks[0].operators if isinstance(op, Embedding))
    unread = unread_rows_bytes(trace)
    if tied:
        unread -= looked_up.vocab * looked_up.width * 2
    assert sum(weight_reads(trace)) == trace.weight_bytes - unread


def test_a_decode_step_reads_the_whole_cache_and_writes_one_token(tiny_llama: Any) -> None:
    trace = make_trace(tiny_llama, context=9, batch=2, kv_dtype="fp8")
    tensors = [
        (tensor, block.repeat, way)
        for block in trace.blocks
        for operator in block.operators
        for way, group in (("read", operator.inputs), ("write", operator.outputs))
        for tensor in group
        if tensor.role == "kv"
    ]
    read = sum(tensor.size_bytes * n for tensor, n, way in tensors if way == "read")
    written = sum(tensor.size_bytes * n for tensor, n, way in tensors if way == "write")
    assert read == trace.kv_bytes
    assert written == trace.kv_bytes // 9


def test_prefill_writes_the_cache_that_it_leaves(tiny_gpt2: Any) -> None:
    trace = make_trace(tiny_gpt2, phase="prefill", prompt=11, batch=2)
    appends = [op for b in trace.blocks for op in b.operators if op.kind == "kv_append"]
    assert sum(2 * op.write_bytes for op in appends) == trace.kv_bytes


def test_both_parts_of_a_parallel_layer_take_the_normed_input(
    shipped: Callable[[str], Any],
) -> None:
    layer = {op.name: op for op in make_trace(shipped("falcon-7b")).blocks[1].operators}
    assert layer["qkv"].deps == layer["fc1"].deps == ("norm1",)
    assert layer["add2"].deps == ("fc2", "o", "@prev")
    assert layer["add2"].flops == 2 * 4544
    assert not {"norm2", "add1"} & set(layer)


def test_peak_activations_of_a_decode_step_by_hand(tiny_llama: Any) -> None:
    # elements of a layer's outputs: the layer's input 8 is alive to add1. Peak at gate_up:
    # add1 8 + norm2 8 + gate_up 12 = 28; at rope: 8 + qkv 16 + rope 12 = 36, the largest
    assert make_trace(tiny_llama).activation_bytes == 2 * 36


def test_peak_activations_of_llama_2_7b_are_at_the_feed_forward(
    shipped: Callable[[str], Any],
) -> None:
    # silu_mul: residual 4096 + gate_up 22016 + silu_mul 11008; qkv + rope: 4096 + 12288 + 8192
    trace = make_trace(shipped("llama-2-7b"), phase="prefill", prompt=100)
    assert trace.activation_bytes == 100 * 2 * (4096 + 22016 + 11008)


@FIXTURES
@given(batch=SIZES, context=SIZES)
def test_decode_weight_traffic_does_not_grow_with_batch_or_context(
    tiny_llama: Any, batch: int, context: int
) -> None:
    one = make_trace(tiny_llama, context=1)
    many = make_trace(tiny_llama, batch=batch, context=context)
    rows = 2 * 8 * (batch - 1)
    assert sum(weight_reads(many)) == sum(weight_reads(one)) + rows
    assert many.weight_bytes == one.weight_bytes


@FIXTURES
@given(batch=SIZES, context=SIZES)
def test_decode_work_grows_strictly_with_context(tiny_llama: Any, batch: int, context: int) -> None:
    short = make_trace(tiny_llama, batch=batch, context=context)
    longer = make_trace(tiny_llama, batch=batch, context=context + 1)
    # a token more: K and V of 2 heads of 2 in 2 layers; scores of 4 heads
    assert longer.read_bytes - short.read_bytes == batch * 2 * 2 * 2 * 2 * 2
    assert longer.flops - short.flops == batch * 2 * 4 * 4 * 2
    assert longer.write_bytes == short.write_bytes


@FIXTURES
@given(batch=SIZES, context=SIZES)
def test_decode_flops_are_proportional_to_the_batch(
    tiny_gpt2: Any, batch: int, context: int
) -> None:
    context = min(context, 16)
    one = make_trace(tiny_gpt2, context=context)
    assert make_trace(tiny_gpt2, batch=batch, context=context).flops == batch * one.flops


@FIXTURES
@given(prompt=st.integers(1, 16))
def test_prefill_computes_what_its_tokens_one_by_one_would(tiny_gpt2: Any, prompt: int) -> None:
    """But for the final logits, which decode computes for every token."""
    whole = make_trace(tiny_gpt2, phase="prefill", prompt=prompt).flops
    steps = [make_trace(tiny_gpt2, context=length).flops for length in range(1, prompt + 1)]
    assert whole == sum(steps) - (prompt - 1) * 2 * 80
