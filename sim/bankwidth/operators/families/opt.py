"""OPT (Zhang et al. 2022)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.families.parts import PLAIN, decoder, equal_heads, mlp, sizes
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape

# The position table has two more rows than positions: fairseq numbered them from the padding on.
_POSITION_OFFSET: Final = 2


def opt_shape(fields: Fields) -> ModelShape:
    """As GPT-2 with relu; OPT-350M norms after each part and projects a narrower embedding."""
    hidden, layers = sizes(fields)
    positions = fields.integer("max_position_embeddings", default=2048)
    fields.only("layer_norm_elementwise_affine", True)
    norm_first = fields.flag("do_layer_norm_before", default=True)
    has_bias = fields.flag("enable_bias", default=True)
    shape = replace(equal_heads(fields, hidden, "num_attention_heads"), has_bias=has_bias)
    dense = mlp(fields, "ffn_dim", functions=PLAIN, function="relu", has_bias=has_bias)
    layer = LayerShape(attention=shape, mlp=dense, norm_first=norm_first)
    return replace(
        decoder(fields, hidden, [layer] * layers, tied=True, norm="layer"),
        has_final_norm=norm_first and not fields.flag("_remove_final_layer_norm", default=False),
        embed_width=fields.integer("word_embed_proj_dim", default=hidden),
        position_rows=positions + _POSITION_OFFSET,
        max_tokens=positions,
    )
