"""Falcon (Almazrouei et al. 2023, arXiv 2311.16867): 7B, 11B, 40B and 180B."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.parts import PLAIN, decoder, equal_heads, mlp
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape


def falcon_shape(fields: Fields) -> ModelShape:
    """Both parts beside each other on one layer norm, or in the `new_decoder_architecture` on a
    norm each, and grouped keys; without `parallel_attn` one after the other.

    Positions by slopes (`alibi`, Falcon-RW) are not described.
    """
    hidden = fields.integer("hidden_size", "n_embed")
    layers = fields.integer("num_hidden_layers", "n_layer")
    is_new = fields.flag("new_decoder_architecture", default=False)
    parallel = fields.flag("parallel_attn", default=True)
    if is_new and not parallel:
        fields.problem("parallel_attn must be true where new_decoder_architecture is")
    layer = LayerShape(
        attention=_attention(fields, hidden, is_new),
        mlp=_mlp(fields, hidden),
        parallel=parallel,
        parallel_norms=2 if is_new and _norms(fields) == 2 else 1,
    )
    return decoder(fields, hidden, [layer] * layers, tied=True, norm="layer")


def _attention(fields: Fields, hidden: int, is_new: bool) -> AttentionShape:
    fields.only("alibi", False)
    shape = equal_heads(fields, hidden, "num_attention_heads", "n_head")
    heads = shape.n_heads
    groups = 1 if fields.flag("multi_query", default=True) else heads
    if is_new:
        groups = fields.integer("num_kv_heads", "n_head_kv", default=heads)
    if heads % groups:
        fields.problem(f"num_attention_heads {heads} must be a multiple of num_kv_heads {groups}")
    has_bias = fields.flag("bias", default=False)
    return replace(shape, n_kv_heads=groups, has_bias=has_bias, has_rope=True)


def _mlp(fields: Fields, hidden: int) -> MlpShape:
    return mlp(
        fields, "ffn_hidden_size", functions=PLAIN, function="gelu",
        has_bias=fields.flag("bias", default=False), default=4 * hidden,
    )  # fmt: skip


def _norms(fields: Fields) -> int:
    return fields.integer("num_ln_in_parallel_attn", default=2)
