"""Llama 4, the text part (Meta 2025): chunked attention, layers without positions, experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bankwidth.operators.families.llama import biased, rope_layers
from bankwidth.operators.families.parts import FULL, attention, decoder, mlp, moe, sizes
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, Feed, LayerShape, ModelShape

CHUNKED: Final = "chunked_attention"


def llama4_shape(fields: Fields) -> ModelShape:
    """Three layers of four rotate and attend within chunks; the others attend to all tokens.

    Queries and keys of rotating layers are normed without weights (`use_qk_norm`). Each layer with
    experts has one more that all tokens take. Scaling by position (`attn_temperature_tuning`) is
    not counted.
    """
    hidden, layers = sizes(fields)
    mixers = _attentions(fields, hidden, layers)
    feeds = _feeds(fields, layers)
    parts = [LayerShape(attention=a, mlp=f) for a, f in zip(mixers, feeds, strict=True)]
    return decoder(fields, hidden, parts, tied=False)


def _attentions(fields: Fields, hidden: int, layers: int) -> list[AttentionShape]:
    shape = biased(fields, attention(fields, hidden, kv_heads=8, head_dim=128))
    rotates = rope_layers(fields, layers, fields.integer("no_rope_layer_interval", default=4))
    stated = fields.per_layer("layer_types", layers=layers, known=(FULL, CHUNKED))
    kinds = stated or [CHUNKED if rotated else FULL for rotated in rotates]
    norms = fields.flag("use_qk_norm", default=True)
    chunk = _chunk(fields, kinds)
    return [
        replace(
            shape,
            has_rope=rotated,
            qk_norm="bare" if norms and rotated else "none",
            chunk=chunk if kind == CHUNKED else None,
        )
        for kind, rotated in zip(kinds, rotates, strict=True)
    ]


def _chunk(fields: Fields, kinds: Sequence[str]) -> int | None:
    if CHUNKED not in kinds or fields.is_null("attention_chunk_size"):
        return None
    return fields.optional("attention_chunk_size", default=8192)


def _feeds(fields: Fields, layers: int) -> list[Feed]:
    expert = mlp(fields, "intermediate_size", default=8192)
    sparse = replace(moe(fields, expert, experts=16, topk=1), shared=expert)
    step = fields.integer("interleave_moe_layer_step", default=1, least=min(1, sparse.experts))
    dense = mlp(fields, "intermediate_size_mlp", default=16384)
    stated = fields.integers("moe_layers")
    if not sparse.experts:
        return [dense] * layers
    chosen = range(step - 1, layers, step) if stated is None else stated
    return [sparse if layer in chosen else dense for layer in range(layers)]
