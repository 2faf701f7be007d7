"""Mistral (Jiang et al. 2023), Ministral, and Mixtral (Jiang et al. 2024): Llama with windows."""

from __future__ import annotations

from typing import Final

from bankwidth.operators.families.parts import (
    FULL,
    SLIDING,
    attention,
    decoder,
    kinds_of,
    mlp,
    moe,
    sizes,
    with_windows,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, ModelShape

_WINDOW: Final = 4096  # of Mistral and Ministral, where the field is absent


def mistral_shape(fields: Fields) -> ModelShape:
    """Llama without biases; with `sliding_window` every layer sees that many tokens."""
    return _shape(fields, None if fields.is_null("sliding_window") else _WINDOW)


def ministral3_shape(fields: Fields) -> ModelShape:
    """Mistral without windows (unless given), heads of 128."""
    return _shape(fields, None, head_dim=128)


def mixtral_shape(fields: Fields) -> ModelShape:
    """Mistral with experts in every layer."""
    hidden, layers = sizes(fields)
    sparse = moe(fields, mlp(fields, "intermediate_size"), experts=8, topk=2)
    shapes = windowed(fields, attention(fields, hidden, kv_heads=8), layers, None)
    parts = [LayerShape(attention=shape, mlp=sparse) for shape in shapes]
    return decoder(fields, hidden, parts, tied=False)


def windowed(
    fields: Fields, shape: AttentionShape, layers: int, window: int | None
) -> list[AttentionShape]:
    """All layers with the window, or those that `layer_types` says."""
    window = fields.optional("sliding_window", default=window)
    kinds = kinds_of(fields, layers, lambda _: FULL if window is None else SLIDING)
    return with_windows(fields, shape, kinds, window)


def _shape(fields: Fields, window: int | None, head_dim: int | None = None) -> ModelShape:
    hidden, layers = sizes(fields)
    dense = mlp(fields, "intermediate_size")
    shape = attention(fields, hidden, kv_heads=8, head_dim=head_dim)
    parts = [
        LayerShape(attention=attended, mlp=dense)
        for attended in windowed(fields, shape, layers, window)
    ]
    return decoder(fields, hidden, parts, tied=False)
