"""Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024)."""

from __future__ import annotations

from typing import Final, Literal

from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape

_FUNCTIONS: Final[dict[str, Literal["silu_mul"]]] = {"silu": "silu_mul", "swish": "silu_mul"}


def llama_shape(fields: Fields) -> ModelShape:
    """RMS norms, rotary positions, grouped-query attention, gated feed-forward part."""
    hidden = fields.integer("hidden_size")
    layer = LayerShape(
        attention=_attention(fields, hidden),
        mlp=MlpShape(
            width=fields.integer("intermediate_size"),
            function=fields.choice(
                "hidden_act", "hidden_activation", known=_FUNCTIONS, default="silu"
            ),
            has_bias=fields.flag("mlp_bias", default=False),
        ),
    )
    return ModelShape(
        family="llama",
        hidden=hidden,
        vocab=fields.integer("vocab_size"),
        layers=(layer,) * fields.integer("num_hidden_layers"),
        norm_style="rms",
        embed_width=hidden,
        has_tied_head=fields.flag("tie_word_embeddings", default=False),
    )


def _attention(fields: Fields, hidden: int) -> AttentionShape:
    heads = fields.integer("num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", default=heads)
    head_dim = fields.integer("head_dim", default=max(1, hidden // heads))
    if not fields.has("head_dim") and hidden % heads:
        fields.problem(
            f"hidden_size {hidden} must be a multiple of num_attention_heads {heads} when there is "
            f"no head_dim"
        )
    if heads % kv_heads:
        fields.problem(
            f"num_attention_heads {heads} must be a multiple of num_key_value_heads {kv_heads}"
        )
    return AttentionShape(
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=head_dim,
        has_bias=fields.flag("attention_bias", default=False),
        has_rope=True,
    )
