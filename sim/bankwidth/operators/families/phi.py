"""Phi-1 to 2 (arXiv 2306.11644), Phi-3 and 4 (arXiv 2404.14219), Phi-3.5-MoE."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.mistral import windowed
from bankwidth.operators.families.parts import (
    PLAIN,
    attention,
    decoder,
    mlp,
    moe,
    partly_rotated,
    sizes,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape


def phi_shape(fields: Fields) -> ModelShape:
    """One layer norm and both parts on it, biases everywhere, half of each head rotated."""
    hidden, layers = sizes(fields)
    fields.only("qk_layernorm", False)
    shape = partly_rotated(fields, attention(fields, hidden), "partial_rotary_factor", default=0.5)
    dense = mlp(
        fields, "intermediate_size", "n_inner", functions=PLAIN, function="gelu_new",
        has_bias=True, default=4 * hidden,
    )  # fmt: skip
    layer = LayerShape(attention=replace(shape, has_bias=True), mlp=dense, parallel=True)
    model = decoder(fields, hidden, [layer] * layers, tied=False, norm="layer")
    return replace(model, has_head_bias=True)


def phi3_shape(fields: Fields) -> ModelShape:
    """Llama without biases; `sliding_window` in every layer. Phi-4 has the same fields."""
    hidden, layers = sizes(fields)
    shape = partly_rotated(fields, attention(fields, hidden), "partial_rotary_factor", default=1.0)
    dense = mlp(fields, "intermediate_size")
    parts = [
        LayerShape(attention=attended, mlp=dense)
        for attended in windowed(fields, shape, layers, None)
    ]
    return decoder(fields, hidden, parts, tied=False)


def phimoe_shape(fields: Fields) -> ModelShape:
    """Mixtral with layer norms, and biases of attention and head."""
    hidden, layers = sizes(fields)
    shape = biased(fields, attention(fields, hidden, kv_heads=8))
    sparse = moe(fields, mlp(fields, "intermediate_size", default=6400), experts=16, topk=2)
    parts = [
        LayerShape(attention=attended, mlp=sparse)
        for attended in windowed(fields, shape, layers, None)
    ]
    model = decoder(fields, hidden, parts, tied=False, norm="layer")
    return replace(model, has_head_bias=fields.flag("lm_head_bias", default=False))
