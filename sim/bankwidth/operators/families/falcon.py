"""Falcon 7B (Almazrouei et al. 2023): attention beside the feed-forward part, one head of keys."""

from __future__ import annotations

from typing import Final, Literal

from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape

_FUNCTIONS: Final[dict[str, Literal["gelu", "relu"]]] = {"gelu": "gelu", "relu": "relu"}
_FFN_FACTOR: Final = 4  # `ffn_hidden_size` absent


def falcon_shape(fields: Fields) -> ModelShape:
    """One layer norm and both parts on it, rotary positions; the head is tied to the embedding.

    Falcon 40B's two norms (`new_decoder_architecture`) and positions by slopes (`alibi`) are not
    described.
    """
    hidden = fields.integer("hidden_size")
    has_bias = fields.flag("bias", default=False)
    for field, usual in (("parallel_attn", True), ("new_decoder_architecture", False)):
        _only(fields, field, usual)
    layer = LayerShape(
        attention=_attention(fields, hidden, has_bias),
        mlp=MlpShape(
            width=fields.integer("ffn_hidden_size", default=_FFN_FACTOR * hidden),
            function=fields.choice("activation", known=_FUNCTIONS, default="gelu"),
            has_bias=has_bias,
        ),
        parallel=True,
    )
    return ModelShape(
        family="falcon",
        hidden=hidden,
        vocab=fields.integer("vocab_size"),
        layers=(layer,) * fields.integer("num_hidden_layers"),
        norm_style="layer",
        embed_width=hidden,
        has_tied_head=fields.flag("tie_word_embeddings", default=True),
    )


def _only(fields: Fields, field: str, usual: bool) -> None:
    if fields.flag(field, default=usual) is not usual:
        fields.problem(f"{field} must be {str(usual).lower()}: other layers are not described")


def _attention(fields: Fields, hidden: int, has_bias: bool) -> AttentionShape:
    heads = fields.integer("num_attention_heads")
    if hidden % heads:
        fields.problem(f"hidden_size {hidden} must be a multiple of num_attention_heads {heads}")
    _only(fields, "alibi", False)
    return AttentionShape(
        n_heads=heads,
        n_kv_heads=1 if fields.flag("multi_query", default=True) else heads,
        head_dim=hidden // heads,
        has_bias=has_bias,
        has_rope=True,
    )
