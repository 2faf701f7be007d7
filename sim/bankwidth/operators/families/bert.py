"""BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): encoders, so prefill only."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.families.parts import PLAIN, equal_heads, mlp, sizes
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape

# RoBERTa's positions are numbered from the padding's on.
_POSITION_OFFSET: Final = 2


def bert_shape(fields: Fields) -> ModelShape:
    """Norms after each part, positions and token types in tables, a pooler, no head."""
    return _shape(fields, types=2, offset=0)


def roberta_shape(fields: Fields) -> ModelShape:
    """BERT with two positions less than its table has rows."""
    return _shape(fields, types=2, offset=_POSITION_OFFSET)


def _shape(fields: Fields, *, types: int, offset: int) -> ModelShape:
    hidden, layers = sizes(fields)
    rows = fields.integer("max_position_embeddings", default=512)
    fields.only("position_embedding_type", "absolute")
    fields.only("is_decoder", False)
    dense = mlp(fields, "intermediate_size", functions=PLAIN, function="gelu", has_bias=True)
    shape = equal_heads(fields, hidden, "num_attention_heads")
    layer = LayerShape(attention=replace(shape, is_causal=False), mlp=dense, norm_first=False)
    return ModelShape(
        family=fields.family,
        hidden=hidden,
        vocab=fields.integer("vocab_size"),
        layers=(layer,) * layers,
        norm_style="layer",
        has_final_norm=False,
        has_embed_norm=True,
        embed_width=hidden,
        position_rows=rows,
        type_rows=fields.integer("type_vocab_size", default=types),
        max_tokens=max(1, rows - offset),
        has_tied_head=True,
        has_head=False,
        has_pooler=True,
    )
