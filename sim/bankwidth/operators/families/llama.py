"""Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024), and what differs by a field."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.parts import (
    attention,
    decoder,
    every,
    kinds_of,
    mlp,
    sizes,
    with_windows,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape


def llama_shape(fields: Fields) -> ModelShape:
    """RMS norms, rotary positions, grouped-query attention, gated feed-forward part."""
    hidden, layers = sizes(fields)
    layer = LayerShape(attention=biased(fields, attention(fields, hidden)), mlp=_mlp(fields))
    return decoder(fields, hidden, [layer] * layers, tied=False)


def smollm3_shape(fields: Fields) -> ModelShape:
    """Llama, every fourth layer without rotary positions (SmolLM3)."""
    hidden, layers = sizes(fields)
    rotated = biased(fields, attention(fields, hidden, kv_heads=4))
    period = fields.integer("no_rope_layer_interval", default=4)
    kinds = kinds_of(fields, layers, every(layers + 1, "", "full_attention"))
    window = fields.optional("sliding_window")
    shapes = with_windows(fields, rotated, kinds, window)
    parts = [
        LayerShape(attention=replace(shape, has_rope=has_rope), mlp=_mlp(fields))
        for shape, has_rope in zip(shapes, rope_layers(fields, layers, period), strict=True)
    ]
    return decoder(fields, hidden, parts, tied=True)


def bitnet_shape(fields: Fields) -> ModelShape:
    """BitNet b1.58 2B4T (Ma et al. 2025, arXiv 2504.12285): Llama with squared relu and a norm
    before each part's last matrix. Its weights are ternary: --weight-dtype ternary.
    """
    hidden, layers = sizes(fields)
    layer = LayerShape(
        attention=biased(fields, attention(fields, hidden)),
        mlp=replace(mlp(fields, "intermediate_size", function="relu2"), has_inner_norm=True),
        attention_norm=True,
    )
    return decoder(fields, hidden, [layer] * layers, tied=False)


def olmo2_shape(fields: Fields) -> ModelShape:
    """OLMo 2 (arXiv 2501.00656): norms of what leaves each part, and of all of q and of k."""
    hidden, layers = sizes(fields)
    shape = replace(biased(fields, attention(fields, hidden)), qk_norm="all")
    layer = LayerShape(attention=shape, mlp=_mlp(fields), norm_parts_out=True)
    return decoder(fields, hidden, [layer] * layers, tied=False)


def biased(fields: Fields, shape: AttentionShape, *, default: bool = False) -> AttentionShape:
    """With biases of all four projections if `attention_bias` says so."""
    return replace(shape, has_bias=fields.flag("attention_bias", default=default))


def rope_layers(fields: Fields, layers: int, period: int) -> list[bool]:
    """Whether each layer rotates: `no_rope_layers` holds 1 where it does, 0 where it does not."""
    stated = fields.integers("no_rope_layers") or None
    if stated is not None and len(stated) < layers:
        fields.problem(f"no_rope_layers must have an entry for each of the {layers} layers")
        stated = None
    if stated is None:
        return [(layer + 1) % period != 0 for layer in range(layers)]
    return [bool(entry) for entry in stated[:layers]]


def _mlp(fields: Fields) -> MlpShape:
    return mlp(fields, "intermediate_size", has_bias=fields.flag("mlp_bias", default=False))
