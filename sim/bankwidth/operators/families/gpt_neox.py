"""GPT-NeoX-20B (arXiv 2204.06745) and Pythia."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.parts import (
    PLAIN,
    decoder,
    equal_heads,
    mlp,
    partly_rotated,
    sizes,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape


def gpt_neox_shape(fields: Fields) -> ModelShape:
    """Two layer norms, both parts beside each other, a quarter of each head rotated."""
    hidden, layers = sizes(fields)
    heads = equal_heads(fields, hidden, "num_attention_heads")
    has_bias = fields.flag("attention_bias", default=True)
    shape = replace(heads, has_bias=has_bias, has_rope=True)
    shape = partly_rotated(fields, shape, "rotary_pct", "partial_rotary_factor", default=0.25)
    layer = LayerShape(
        attention=shape,
        mlp=mlp(fields, "intermediate_size", functions=PLAIN, function="gelu", has_bias=True),
        parallel=fields.flag("use_parallel_residual", default=True),
        parallel_norms=2,
    )
    return decoder(fields, hidden, [layer] * layers, tied=False, norm="layer")
