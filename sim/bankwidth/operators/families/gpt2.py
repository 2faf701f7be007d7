"""GPT-2 (Radford et al. 2019), GPT-3 (Brown et al. 2020) and StarCoder (arXiv 2305.06161)."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.parts import PLAIN, decoder, equal_heads, mlp
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, ModelShape


def gpt2_shape(fields: Fields) -> ModelShape:
    """Layer norms and biases everywhere, a learned position table, head tied to the embedding."""
    return _shape(fields, multi_query=False, function="gelu_new")


def gpt_bigcode_shape(fields: Fields) -> ModelShape:
    """GPT-2 with one head of keys and values."""
    multi_query = fields.flag("multi_query", default=True)
    return _shape(fields, multi_query=multi_query, function="gelu_pytorch_tanh")


def _shape(fields: Fields, *, multi_query: bool, function: str) -> ModelShape:
    hidden = fields.integer("n_embd", "hidden_size")
    layers = fields.integer("n_layer", "num_hidden_layers")
    positions = fields.integer("n_positions", "n_ctx", "max_position_embeddings", default=1024)
    dense = mlp(
        fields, "n_inner", "intermediate_size", functions=PLAIN, function=function,
        has_bias=True, default=4 * hidden,
    )  # fmt: skip
    layer = LayerShape(attention=_attention(fields, hidden, multi_query), mlp=dense)
    model = decoder(fields, hidden, [layer] * layers, tied=True, norm="layer")
    return replace(model, position_rows=positions, max_tokens=positions)


def _attention(fields: Fields, hidden: int, multi_query: bool) -> AttentionShape:
    shape = equal_heads(fields, hidden, "n_head", "num_attention_heads")
    return replace(shape, n_kv_heads=1) if multi_query else shape
