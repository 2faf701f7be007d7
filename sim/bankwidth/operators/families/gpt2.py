"""GPT-2 (Radford et al. 2019) and GPT-3 (Brown et al. 2020), which has the same layers."""

from __future__ import annotations

from typing import Final, Literal

from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape

_FUNCTIONS: Final[dict[str, Literal["gelu", "relu"]]] = {
    "gelu_new": "gelu",
    "gelu": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
}
_FFN_FACTOR: Final = 4  # `n_inner` null


def gpt2_shape(fields: Fields) -> ModelShape:
    """Layer norms and biases everywhere, a learned position table, head tied to the embedding."""
    hidden = fields.integer("n_embd", "hidden_size")
    positions = fields.integer("n_positions", "n_ctx", "max_position_embeddings")
    layer = LayerShape(
        attention=_attention(fields, hidden),
        mlp=MlpShape(
            width=fields.integer("n_inner", default=_FFN_FACTOR * hidden),
            function=fields.choice("activation_function", known=_FUNCTIONS, default="gelu_new"),
            has_bias=True,
        ),
    )
    return ModelShape(
        family="gpt2",
        hidden=hidden,
        vocab=fields.integer("vocab_size"),
        layers=(layer,) * fields.integer("n_layer", "num_hidden_layers"),
        norm_style="layer",
        embed_width=hidden,
        position_rows=positions,
        max_tokens=positions,
        has_tied_head=fields.flag("tie_word_embeddings", default=True),
    )


def _attention(fields: Fields, hidden: int) -> AttentionShape:
    heads = fields.integer("n_head", "num_attention_heads")
    if hidden % heads:
        fields.problem(f"n_embd {hidden} must be a multiple of n_head {heads}")
    return AttentionShape(
        n_heads=heads, n_kv_heads=heads, head_dim=hidden // heads, has_bias=True, has_rope=False
    )
