"""Gemma (arXiv 2403.08295), Gemma 2 (arXiv 2408.00118) and Gemma 3 (arXiv 2503.19786)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.parts import (
    FULL,
    SLIDING,
    attention,
    decoder,
    every,
    kinds_of,
    mlp,
    with_windows,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, ModelShape

_WINDOW: Final = 4096  # `sliding_window` absent
_HEAD_DIM: Final = 256
_FUNCTION: Final = "gelu_pytorch_tanh"


def gemma_shape(fields: Fields) -> ModelShape:
    """Llama with gelu as gate, heads of their own width, and a tied head.

    Scaling of the embedding, here and in its followers, is not counted.
    """
    hidden, layers = fields.integer("hidden_size"), fields.integer("num_hidden_layers")
    shape = biased(fields, attention(fields, hidden, kv_heads=16, head_dim=_HEAD_DIM))
    layer = LayerShape(attention=shape, mlp=mlp(fields, "intermediate_size", function=_FUNCTION))
    return decoder(fields, hidden, [layer] * layers, tied=True)


def gemma2_shape(fields: Fields) -> ModelShape:
    """Windows in every second layer, norms before and after each part.

    The caps on scores and logits (`attn_logit_softcapping`) are not counted.
    """
    hidden, layers = fields.integer("hidden_size"), fields.integer("num_hidden_layers")
    shape = biased(fields, attention(fields, hidden, kv_heads=4, head_dim=_HEAD_DIM))
    return _with_post_norms(fields, hidden, _windowed(fields, shape, layers, period=2))


def gemma3_shape(fields: Fields) -> ModelShape:
    """Five layers with windows to one without, and norms of each query and key head.

    The published files leave out what the class defaults to: 8 heads, 4 of keys, 262208 tokens.
    """
    hidden = fields.integer("hidden_size")
    layers = fields.integer("num_hidden_layers", default=26)
    shape = attention(fields, hidden, heads=8, kv_heads=4, head_dim=_HEAD_DIM)
    shape = biased(fields, shape)
    shapes = _windowed(fields, replace(shape, qk_norm="head"), layers, period=6)
    return _with_post_norms(fields, hidden, shapes, vocab=262_208)


def _windowed(
    fields: Fields, shape: AttentionShape, layers: int, period: int
) -> list[AttentionShape]:
    period = fields.integer("sliding_window_pattern", "_sliding_window_pattern", default=period)
    kinds = kinds_of(fields, layers, every(period, FULL, SLIDING))
    return with_windows(fields, shape, kinds, fields.optional("sliding_window", default=_WINDOW))


def _with_post_norms(
    fields: Fields, hidden: int, shapes: Sequence[AttentionShape], vocab: int | None = None
) -> ModelShape:
    dense = mlp(fields, "intermediate_size", function=_FUNCTION)
    layers = [LayerShape(attention=shape, mlp=dense, post_norms=True) for shape in shapes]
    return decoder(fields, hidden, layers, tied=True, vocab=vocab)
