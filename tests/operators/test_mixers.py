"""Layers of every kind: what a pass reads and keeps is what the model's shape says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator, in_layer
from bankwidth.operators.graph import pass_blocks
from bankwidth.operators.kept import kept_bytes
from bankwidth.operators.model import (
    AttentionShape,
    LatentShape,
    LayerShape,
    MlpShape,
    ModelShape,
    MoeShape,
    ScanShape,
)
from bankwidth.operators.movement import Embedding, KvAppend
from bankwidth.operators.passes import Dtypes, Group, Pass, uniform_pass
from bankwidth.operators.trace import Block
from bankwidth.operators.weights import (
    active_parameter_count,
    kv_bytes,
    parameter_count,
    state_bytes,
    weight_bytes,
)

PLAIN = Dtypes(weight="bf16", activation="bf16", kv="bf16")
HIDDEN = 64
SIZE = st.integers(1, 9)

ATTENTIONS = st.builds(
    AttentionShape,
    n_heads=st.sampled_from([2, 4]), n_kv_heads=st.sampled_from([1, 2]), head_dim=SIZE,
    has_bias=st.booleans(), has_output_bias=st.none() | st.booleans(), has_rope=st.booleans(),
    window=st.none() | st.integers(1, 40), qk_norm=st.sampled_from(["none", "head", "all"]),
    has_sinks=st.booleans(), has_gate=st.booleans(),
)  # fmt: skip
CHUNKED = st.builds(
    AttentionShape, n_heads=st.just(2), n_kv_heads=st.just(1), head_dim=SIZE,
    has_bias=st.booleans(), has_rope=st.booleans(), chunk=st.integers(1, 40),
)  # fmt: skip
LATENTS = st.builds(
    LatentShape, n_heads=SIZE, q_rank=st.none() | SIZE, kv_rank=SIZE, nope_dim=SIZE,
    rope_dim=st.sampled_from([2, 4]), v_dim=SIZE, has_bias=st.booleans(),
)  # fmt: skip


@st.composite
def scans(draw: st.DrawFn) -> ScanShape:
    heads, head_dim, state = draw(SIZE), draw(SIZE), draw(SIZE)
    has_steps = draw(st.booleans())
    return ScanShape(
        recurrence=draw(st.sampled_from(["selective", "ssd", "delta", "gated"])),
        heads=heads, head_dim=head_dim, state=state,
        in_width=draw(SIZE), out_width=heads * head_dim,
        conv_width=draw(SIZE), conv_taps=draw(st.integers(2, 4)), conv_bias=draw(st.booleans()),
        step_rank=draw(SIZE) if has_steps else 0,
        inner_norms=(2, 3) if has_steps and draw(st.booleans()) else (),
        head_parameters=draw(st.integers(0, 9)), has_bias=draw(st.booleans()),
        has_norm=draw(st.booleans()), norm_width=head_dim,
    )  # fmt: skip


MLPS = st.builds(
    MlpShape, width=SIZE, function=st.sampled_from(["gelu", "silu_mul", "relu2_mul"]),
    has_bias=st.booleans(), has_inner_norm=st.booleans(),
)  # fmt: skip
EXPERTS = st.builds(
    MoeShape, experts=st.just(4), topk=st.sampled_from([1, 2, 4]),
    expert=st.builds(MlpShape, width=SIZE, function=st.just("silu_mul"), has_bias=st.just(False)),
    shared=st.none() | MLPS, shared_gate=st.just(False), router_bias=st.booleans(),
)  # fmt: skip


@st.composite
def layers(draw: st.DrawFn) -> LayerShape:
    attention = draw(ATTENTIONS | CHUNKED | LATENTS | scans())
    feed = draw(MLPS | EXPERTS)
    is_attention = isinstance(attention, AttentionShape)
    kind = draw(st.sampled_from(["plain", "post", "parallel", "parallel2", "last", "out", "alone"]))
    return LayerShape(
        attention=attention,
        mlp=None if kind == "alone" else feed,
        norm_first=kind != "last",
        parallel=kind.startswith("parallel"),
        parallel_norms=2 if kind == "parallel2" else 1,
        post_norms=kind == "post",
        norm_parts_out=kind == "out",
        attention_norm=is_attention and draw(st.booleans()),
    )


@st.composite
def models(draw: st.DrawFn) -> ModelShape:
    width = draw(st.sampled_from([HIDDEN, 32]))
    return ModelShape(
        family="any", hidden=HIDDEN, vocab=50, layers=tuple(draw(st.lists(layers(), min_size=1,
        max_size=4))), norm_style=draw(st.sampled_from(["rms", "layer"])), embed_width=width,
        position_rows=draw(st.sampled_from([0, 20])), has_tied_head=False,
        has_final_norm=draw(st.booleans()), has_embed_norm=draw(st.booleans()),
        has_head_bias=draw(st.booleans()),
    )  # fmt: skip


def operators(blocks: list[Block]) -> list[tuple[int, Operator]]:
    return [(block.repeat, op) for block in blocks for op in block.operators]


def read_weights(blocks: list[Block]) -> int:
    return sum(
        repeat * tensor.size_bytes
        for repeat, op in operators(blocks)
        for tensor in op.inputs
        if tensor.role == "weight" and not isinstance(op, Embedding)
    )


def tables(model: ModelShape) -> int:
    return 2 * (model.vocab * model.embed_width + model.position_rows * model.hidden)


@settings(deadline=None)
@given(models(), st.sampled_from(["prefill", "decode"]), st.integers(4, 20))
def test_a_pass_reads_every_weight_once(model: ModelShape, phase: Any, batch: int) -> None:
    """With four tokens or more balanced routing gives every expert one."""
    q_len = 3 if phase == "prefill" else 1
    run = uniform_pass(phase, batch=batch, q_len=q_len, kv_len=20)
    assert read_weights(pass_blocks(model, run, PLAIN)) + tables(model) == weight_bytes(
        model, PLAIN
    )


@settings(deadline=None)
@given(models(), st.sampled_from(["prefill", "decode"]), SIZE, st.integers(1, 90))
def test_a_pass_keeps_what_the_closed_form_says(
    model: ModelShape, phase: Any, batch: int, tokens: int
) -> None:
    q_len = tokens if phase == "prefill" else 1
    run = uniform_pass(phase, batch=batch, q_len=q_len, kv_len=tokens)
    expected = kv_bytes(model, batch * tokens, "bf16", batch) + state_bytes(model, batch)
    assert kept_bytes(pass_blocks(model, run, PLAIN)) == (expected, 0)


@settings(deadline=None)
@given(models(), SIZE, SIZE, st.integers(10, 30))
def test_a_mixed_pass_keeps_and_computes_what_its_groups_do(
    model: ModelShape, decodes: int, prompts: int, tokens: int
) -> None:
    groups = (
        Group(batch=decodes, q_len=1, kv_len=tokens, phase="decode"),
        Group(batch=prompts, q_len=4, kv_len=tokens - 2, phase="prefill"),
    )
    both = pass_blocks(model, Pass(phase="decode", groups=groups), PLAIN)
    each = [pass_blocks(model, Pass(phase=g.phase, groups=(g,)), PLAIN) for g in groups]
    assert kept_bytes(both)[0] == sum(kept_bytes(blocks)[0] for blocks in each)
    assert attention_flops(both) == sum(map(attention_flops, each))


def attention_flops(blocks: list[Block]) -> int:
    return sum(repeat * op.flops for repeat, op in operators(blocks) if isinstance(op, Attention))


def chunked(chunk: int) -> AttentionShape:
    return AttentionShape(
        n_heads=2, n_kv_heads=1, head_dim=8, has_bias=False, has_rope=False, chunk=chunk
    )


def model_of(attention: Any, **options: Any) -> ModelShape:
    mlp = MlpShape(width=8, function="silu_mul", has_bias=False)
    layer = LayerShape(attention=attention, mlp=options.pop("mlp", mlp))
    return ModelShape(
        family="any", hidden=HIDDEN, vocab=50, layers=(layer,) * 2, norm_style="rms",
        embed_width=HIDDEN, has_tied_head=True, **options,
    )  # fmt: skip


def attentions(model: ModelShape, run: Pass) -> list[Attention]:
    found = [op for _, op in operators(pass_blocks(model, run, PLAIN))]
    return [op for op in found if isinstance(op, Attention)]


@given(st.integers(1, 60), st.integers(1, 30), st.integers(1, 20))
def test_tokens_see_their_chunk_only(before: int, new: int, chunk: int) -> None:
    run = uniform_pass("prefill", batch=1, q_len=new, kv_len=before + new)
    seen = sum(position % chunk + 1 for position in range(before, before + new))
    pieces = attentions(model_of(chunked(chunk)), run)
    assert sum(op.batch * op.pairs for op in pieces) == seen


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 50))
def test_tokens_see_their_window_only(new: int, before: int, window: int) -> None:
    attention = replace(chunked(1), chunk=None, window=window)
    run = uniform_pass("prefill", batch=1, q_len=new, kv_len=before + new)
    (op,) = attentions(model_of(attention), run)
    assert op.pairs == sum(min(window, position + 1) for position in range(before, before + new))


def test_latents_are_expanded_for_prompts_and_attended_to_in_decode_steps() -> None:
    shape = LatentShape(n_heads=16, q_rank=24, kv_rank=32, nope_dim=8, rope_dim=4, v_dim=6)
    (prompt,) = attentions(model_of(shape), uniform_pass("prefill", batch=1, q_len=9, kv_len=9))
    (step,) = attentions(model_of(shape), uniform_pass("decode", batch=1, q_len=1, kv_len=9))
    assert (prompt.head_dim, prompt.value_dim, prompt.n_kv_heads) == (12, 6, 16)
    assert (step.head_dim, step.value_dim, step.n_kv_heads, step.latent) == (36, 32, 1, True)
    assert step.stored_bytes == 9 * 36 * 2
    assert sum(tensor.size_bytes for tensor in step.inputs if tensor.role == "kv") == 9 * 36 * 2


def test_an_encoder_keeps_nothing_and_sees_all() -> None:
    attention = replace(chunked(1), chunk=None, is_causal=False)
    model = model_of(attention, has_head=False, has_pooler=True, has_final_norm=False)
    run = uniform_pass("prefill", batch=2, q_len=7, kv_len=7)
    blocks = pass_blocks(model, run, PLAIN)
    (op,) = attentions(model, run)
    assert op.pairs == 49
    assert kept_bytes(blocks) == (0, 0)
    assert not any(isinstance(op, KvAppend) for _, op in operators(blocks))
    assert [op.name for op in blocks[-1].operators] == ["pooler", "pooler_tanh"]


def test_active_parameters_leave_out_experts_that_a_token_does_not_take() -> None:
    expert = MlpShape(width=8, function="silu_mul", has_bias=False)
    moe = MoeShape(experts=8, topk=2, expert=expert, shared=expert)
    model = model_of(chunked(4), mlp=moe)
    assert parameter_count(model) - active_parameter_count(model) == 2 * 6 * 3 * 8 * HIDDEN


@pytest.mark.parametrize(("page", "tokens", "kept"), [(16, 17, 32), (16, 16, 16), (1, 5, 5)])
def test_pages_round_up_and_have_a_table(page: int, tokens: int, kept: int) -> None:
    op = Attention(
        name="a", phase="decode", batch=3, q_len=1, kv_len=tokens, n_heads=2, n_kv_heads=1,
        head_dim=8, dtype="bf16", kv_dtype="bf16", page=page,
    )  # fmt: skip
    entries = 3 * 4 * -(-tokens // page)
    assert op.stored_bytes == 3 * kept * 8 * 2 * 2 + entries
    plain = replace(op, page=0)
    assert op.read_bytes == plain.read_bytes + entries


def test_the_newest_tokens_may_be_kept_plain() -> None:
    op = Attention(
        name="a", phase="decode", batch=1, q_len=1, kv_len=100, n_heads=2, n_kv_heads=1,
        head_dim=8, dtype="bf16", kv_dtype="int2_g32", v_dtype="int4_g8", residual=36,
    )  # fmt: skip
    keys, values = 64 * 8 * 2.5 / 8, 64 * 8 * 6 / 8
    assert op.stored_bytes == keys + values + 2 * 36 * 8 * 2


@settings(deadline=None)
@given(models(), st.integers(0, 99))
def test_an_operator_of_another_layer_is_the_same_otherwise(model: ModelShape, layer: int) -> None:
    run = uniform_pass("decode", batch=1, q_len=1, kv_len=9)
    for _, op in operators(pass_blocks(model, run, PLAIN)):
        assert in_layer(op, layer) == replace(op, layer=layer)
