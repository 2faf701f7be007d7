"""DeepSeek-V2 (arXiv 2405.04434) and V3 (arXiv 2412.19437), whose layers Kimi K2 has too."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.families.parts import decoder, mlp, moe, sizes
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import Feed, LatentShape, LayerShape, MlpShape, ModelShape, MoeShape

# How experts are chosen -> whether a bias is added to the scores (`topk_method`).
_METHODS: Final = {"greedy": False, "group_limited_greedy": False, "noaux_tc": True}


def deepseek_v2_shape(fields: Fields) -> ModelShape:
    """Latent attention; experts beside shared ones, except in the first layers."""
    return _shape(fields, first_dense=0, method="greedy")


def deepseek_v3_shape(fields: Fields) -> ModelShape:
    """V2 with a bias added to the router's scores. The layer for multi-token prediction
    (`num_nextn_predict_layers`) is not part of the model.
    """
    return _shape(fields, first_dense=3, method="noaux_tc")


def _shape(fields: Fields, *, first_dense: int, method: str) -> ModelShape:
    hidden, layers = sizes(fields)
    mixer = _attention(fields)
    router_bias = fields.choice("topk_method", known=_METHODS, default=method)
    parts = [
        LayerShape(attention=mixer, mlp=feed)
        for feed in _feeds(fields, layers, first_dense, router_bias)
    ]
    return decoder(fields, hidden, parts, tied=False)


def _attention(fields: Fields) -> LatentShape:
    """Without `q_lora_rank` (null, as in V2-Lite) queries are made directly."""
    q_rank = None if fields.is_null("q_lora_rank") else 1536
    return LatentShape(
        n_heads=fields.integer("num_attention_heads"),
        q_rank=fields.optional("q_lora_rank", default=q_rank),
        kv_rank=fields.integer("kv_lora_rank", default=512),
        nope_dim=fields.integer("qk_nope_head_dim", default=128),
        rope_dim=fields.integer("qk_rope_head_dim", default=64),
        v_dim=fields.integer("v_head_dim", default=128),
        has_bias=fields.flag("attention_bias", default=False),
    )


def _feeds(fields: Fields, layers: int, first_dense: int, router_bias: bool) -> list[Feed]:
    """Experts from `first_k_dense_replace` on, in every `moe_layer_freq`-th layer."""
    dense = mlp(fields, "intermediate_size")
    if fields.is_null("n_routed_experts"):
        fields.has("moe_intermediate_size", "n_shared_experts")  # of no layer: nothing to refuse
        return [dense] * layers
    sparse = replace(_experts(fields), router_bias=router_bias)
    first = fields.integer("first_k_dense_replace", default=first_dense, least=0)
    period = fields.integer("moe_layer_freq", default=1)
    return [sparse if layer >= first and layer % period == 0 else dense for layer in range(layers)]


def _experts(fields: Fields) -> MoeShape:
    """The shared experts are computed as one that is as wide as all of them."""
    expert = mlp(fields, "moe_intermediate_size")
    shared = fields.integer("n_shared_experts", "num_shared_experts", default=0, least=0)
    sparse = moe(fields, expert)
    return replace(sparse, shared=_times(expert, shared)) if shared else sparse


def _times(expert: MlpShape, count: int) -> MlpShape:
    return replace(expert, width=count * expert.width)
