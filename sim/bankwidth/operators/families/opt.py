"""OPT (Zhang et al. 2022)."""

from __future__ import annotations

from typing import Final, Literal

from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape

_FUNCTIONS: Final[dict[str, Literal["gelu", "relu"]]] = {"relu": "relu", "gelu": "gelu"}
# The position table has two more rows than positions: fairseq numbered them from the padding on.
_POSITION_OFFSET: Final = 2


def opt_shape(fields: Fields) -> ModelShape:
    """As GPT-2 with relu; OPT-350M norms after each part and projects a narrower embedding."""
    hidden = fields.integer("hidden_size")
    positions = fields.integer("max_position_embeddings")
    norm_first = fields.flag("do_layer_norm_before", default=True)
    has_bias = fields.flag("enable_bias", default=True)
    layer = LayerShape(
        attention=_attention(fields, hidden, has_bias),
        mlp=MlpShape(
            width=fields.integer("ffn_dim"),
            function=fields.choice("activation_function", known=_FUNCTIONS, default="relu"),
            has_bias=has_bias,
        ),
        norm_first=norm_first,
    )
    return ModelShape(
        family="opt",
        hidden=hidden,
        vocab=fields.integer("vocab_size"),
        layers=(layer,) * fields.integer("num_hidden_layers"),
        norm_style="layer",
        has_final_norm=norm_first and not fields.flag("_remove_final_layer_norm", default=False),
        embed_width=fields.integer("word_embed_proj_dim", default=hidden),
        position_rows=positions + _POSITION_OFFSET,
        max_tokens=positions,
        has_tied_head=fields.flag("tie_word_embeddings", default=True),
    )


def _attention(fields: Fields, hidden: int, has_bias: bool) -> AttentionShape:
    heads = fields.integer("num_attention_heads")
    if hidden % heads:
        fields.problem(f"hidden_size {hidden} must be a multiple of num_attention_heads {heads}")
    return AttentionShape(
        n_heads=heads,
        n_kv_heads=heads,
        head_dim=hidden // heads,
        has_bias=has_bias,
        has_rope=False,
    )
