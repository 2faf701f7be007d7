"""The operators of one forward pass of a model, from its shape.

| layer, norm first (GPT, OPT, Llama)                  | layer, norm last (OPT-350M, BERT)       |
| ---------------------------------------------------- | --------------------------------------- |
| norm1, mixer, add1, norm2, feed-forward part, add2   | mixer, add1, norm1, feed, add2, norm2   |

| mixer (parts_attention, parts_latent, parts_scan)    | feed-forward part (parts_feed)          |
| ---------------------------------------------------- | --------------------------------------- |
| qkv, [norms, rope,] kv_append, attention, o          | fc1, gelu/relu, fc2                     |
| q, kv_a, rope, kv_append, k_up, attention, v_up, o   | gate_up, silu_mul, down                 |
| in_proj, conv, scan, gate, out_proj                  | router, moe [, shared expert, added up] |

A parallel layer (Falcon): norm1, mixer, feed-forward part on norm1 or its own norm2, add2 of both.
"""

from __future__ import annotations

from itertools import groupby

from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator, in_layer
from bankwidth.operators.builder import Builder
from bankwidth.operators.model import (
    AttentionShape,
    LatentShape,
    LayerShape,
    ModelShape,
    ScanShape,
)
from bankwidth.operators.parts_attention import attention_part
from bankwidth.operators.parts_feed import feed_part
from bankwidth.operators.parts_latent import latent_part
from bankwidth.operators.parts_scan import scan_part
from bankwidth.operators.passes import Dtypes, Group, Pass, uniform_pass
from bankwidth.operators.trace import Block

__all__ = ["Dtypes", "Group", "Pass", "pass_blocks", "uniform_pass"]


def pass_blocks(model: ModelShape, run: Pass, dtypes: Dtypes, prefix: str = "") -> list[Block]:
    """Embedding, the layers with equal neighbours as one repeated block, head."""
    outer = [
        Block(name=f"{prefix}{name}", operators=operators)
        for name, operators in (("embed", _embed(model, run, dtypes)),
                                ("head", _head(model, run, dtypes)))
        if operators
    ]  # fmt: skip
    return [outer[0], *_layer_blocks(model, run, dtypes, prefix), *outer[1:]]


def _layer_blocks(model: ModelShape, run: Pass, dtypes: Dtypes, prefix: str) -> list[Block]:
    blocks = []
    known: dict[LayerShape, tuple[Operator, ...]] = {}
    first = 0
    for layer, group in groupby(model.layers):
        repeat = len(list(group))
        if layer not in known:
            builder = Builder(model, run, dtypes, first)
            _layer(builder, layer)
            known[layer] = tuple(builder.made)
        operators = tuple([in_layer(op, first) for op in known[layer]])
        name = f"{prefix}layers {first}-{first + repeat - 1}"
        blocks.append(Block(name=name, repeat=repeat, operators=operators))
        first += repeat
    return blocks


def _embed(model: ModelShape, run: Pass, dtypes: Dtypes) -> tuple[Operator, ...]:
    """Token embedding, projected to the model's width if it is narrower, plus positions."""
    b = Builder(model, run, dtypes, OUTSIDE)
    x = b.lookup("embed", model.vocab, model.embed_width)
    if model.has_projection:
        x = b.matmul("project_in", x, model.hidden, model.embed_width)
    added = [x]
    if model.position_rows:
        added.append(b.lookup("embed_position", model.position_rows, model.hidden))
    if model.type_rows:
        added.append(b.lookup("embed_type", model.type_rows, model.hidden))
    if len(added) > 1:
        x = b.elementwise("embed_add", tuple(added), "add", model.hidden)
    if model.has_embed_norm:
        b.norm("embed_norm", x)
    return tuple(b.made)


def _head(model: ModelShape, run: Pass, dtypes: Dtypes) -> tuple[Operator, ...]:
    """Final norm of all tokens; logits of the last token of each sequence only."""
    b = Builder(model, run, dtypes, OUTSIDE)
    x = b.norm("final_norm", PREVIOUS) if model.has_final_norm else PREVIOUS
    if model.has_projection:
        x = b.matmul("project_out", x, model.embed_width, model.hidden)
    rows = run.logits_rows
    if model.has_head and rows:
        b.matmul("lm_head", x, model.vocab, model.embed_width, rows=rows, bias=model.has_head_bias)
    if model.has_pooler:
        pooled = b.matmul("pooler", x, model.hidden, model.hidden, rows=run.batch, bias=True)
        b.elementwise("pooler_tanh", (pooled,), "tanh", model.hidden, rows=run.batch)
    return tuple(b.made)


def _layer(b: Builder, layer: LayerShape) -> None:
    if layer.mlp is None:
        out = _mixer(b, layer, b.norm("norm1", PREVIOUS))
        b.elementwise("add1", (out, PREVIOUS), "add", b.model.hidden)
    elif layer.parallel:
        _layer_parallel(b, layer)
    elif layer.norm_parts_out:
        _layer_norm_parts_out(b, layer)
    elif layer.norm_first:
        _layer_norm_first(b, layer)
    else:
        _layer_norm_last(b, layer)


def _layer_norm_first(b: Builder, layer: LayerShape) -> None:
    out = _mixer(b, layer, b.norm("norm1", PREVIOUS))
    if layer.post_norms:
        out = b.norm("post_norm1", out)
    middle = b.elementwise("add1", (out, PREVIOUS), "add", b.model.hidden)
    out = _feed(b, layer, b.norm("norm2", middle))
    if layer.post_norms:
        out = b.norm("post_norm2", out)
    b.elementwise("add2", (out, middle), "add", b.model.hidden)


def _layer_norm_parts_out(b: Builder, layer: LayerShape) -> None:
    out = b.norm("norm1", _mixer(b, layer, PREVIOUS))
    middle = b.elementwise("add1", (out, PREVIOUS), "add", b.model.hidden)
    out = b.norm("norm2", _feed(b, layer, middle))
    b.elementwise("add2", (out, middle), "add", b.model.hidden)


def _layer_parallel(b: Builder, layer: LayerShape) -> None:
    x = b.norm("norm1", PREVIOUS)
    attended = _mixer(b, layer, x)
    own = b.norm("norm2", PREVIOUS) if layer.parallel_norms == 2 else x
    b.elementwise("add2", (_feed(b, layer, own), attended, PREVIOUS), "add", b.model.hidden)


def _layer_norm_last(b: Builder, layer: LayerShape) -> None:
    out = _mixer(b, layer, PREVIOUS)
    added = b.elementwise("add1", (out, PREVIOUS), "add", b.model.hidden)
    middle = b.norm("norm1", added)
    out = _feed(b, layer, middle)
    b.norm("norm2", b.elementwise("add2", (out, middle), "add", b.model.hidden))


def _mixer(b: Builder, layer: LayerShape, x: str) -> str:
    match layer.attention:
        case AttentionShape() as shape:
            return attention_part(b, shape, x, with_norm=layer.attention_norm)
        case LatentShape() as latent:
            return latent_part(b, latent, x)
        case ScanShape() as scan:
            return scan_part(b, scan, x)


def _feed(b: Builder, layer: LayerShape, x: str) -> str:
    assert layer.mlp is not None
    return feed_part(b, layer.mlp, x)
