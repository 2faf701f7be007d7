"""Jamba (arXiv 2403.19887): one attention to seven Mamba layers, experts in every second.

Bamba (IBM 2024) has Mamba-2 layers and no experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.mamba import selective_scan, ssd_scan, step_rank
from bankwidth.operators.families.parts import (
    EXPERTS,
    attention,
    decoder,
    mlp,
    moe,
    partly_rotated,
    sizes,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import AttentionShape, Feed, LayerShape, ModelShape, ScanShape

_KINDS: Final = ("mamba", "attention")


def jamba_shape(fields: Fields) -> ModelShape:
    """No positions; norms of step, B and C inside each Mamba part."""
    hidden, layers = sizes(fields)
    attended = _jamba_attention(fields, hidden)
    scan = _jamba_scan(fields, hidden)
    stated = fields.per_layer("layers_block_type", layers=layers, known=_KINDS)
    attends = _layers_of(fields, "attn_layer", period=8, offset=4)
    kinds: Sequence[str] = stated or [_KINDS[layer in attends] for layer in range(layers)]
    parts = [
        LayerShape(attention=attended if kind == "attention" else scan, mlp=feed)
        for kind, feed in zip(kinds, _feeds(fields, layers), strict=True)
    ]
    return decoder(fields, hidden, parts, tied=False)


def bamba_shape(fields: Fields) -> ModelShape:
    """The layers of `attn_layer_indices` attend, with half of each head rotated."""
    hidden, layers = sizes(fields)
    attended = biased(fields, attention(fields, hidden, kv_heads=8))
    attended = partly_rotated(fields, attended, "partial_rotary_factor", default=0.5)
    scan = _bamba_scan(fields, hidden)
    attends = fields.integers("attn_layer_indices") or ()
    dense = mlp(fields, "intermediate_size", has_bias=fields.flag("mlp_bias", default=False))
    parts = [
        LayerShape(attention=attended if layer in attends else scan, mlp=dense)
        for layer in range(layers)
    ]
    return decoder(fields, hidden, parts, tied=False)


def _jamba_attention(fields: Fields, hidden: int) -> AttentionShape:
    shape = attention(fields, hidden, kv_heads=8)
    return replace(shape, has_rope=False, window=fields.optional("sliding_window"))


def _jamba_scan(fields: Fields, hidden: int) -> ScanShape:
    rank = step_rank(fields, "mamba_dt_rank", hidden)
    state = fields.integer("mamba_d_state", default=16)
    scan = selective_scan(
        fields.integer("mamba_expand", default=2) * hidden, state, rank,
        fields.integer("mamba_d_conv", default=4), fields.flag("mamba_conv_bias", default=True),
    )  # fmt: skip
    has_bias = fields.flag("mamba_proj_bias", default=False)
    return replace(scan, has_bias=has_bias, inner_norms=(rank, state, state))


def _bamba_scan(fields: Fields, hidden: int) -> ScanShape:
    heads = fields.integer("mamba_n_heads", default=128)
    width = fields.integer("mamba_expand", default=2) * hidden
    automatic = fields.raw("mamba_d_head") == "auto"
    dim = width // heads if automatic else fields.integer("mamba_d_head", default=width // heads)
    if heads * dim != width:
        fields.problem(f"mamba_n_heads x mamba_d_head is {heads * dim}, not {width}")
    scan = ssd_scan(
        heads, dim, fields.integer("mamba_d_state", default=256),
        fields.integer("mamba_n_groups", default=1), fields.integer("mamba_d_conv", default=4),
        fields.flag("mamba_conv_bias", default=True),
    )  # fmt: skip
    return replace(scan, has_bias=fields.flag("mamba_proj_bias", default=False))


def _feeds(fields: Fields, layers: int) -> list[Feed]:
    dense = mlp(fields, "intermediate_size")
    if fields.integer(*EXPERTS, default=16, least=0) <= 1:
        return [dense] * layers
    sparse = moe(fields, dense, experts=16, topk=2)
    chosen = _layers_of(fields, "expert_layer", period=2, offset=1)
    return [sparse if layer in chosen else dense for layer in range(layers)]


def _layers_of(fields: Fields, name: str, *, period: int, offset: int) -> range:
    """Every `period`-th layer from `offset` on."""
    period = fields.integer(f"{name}_period", default=period)
    offset = fields.integer(f"{name}_offset", default=offset, least=0)
    if offset >= period:
        fields.problem(f"{name}_offset {offset} must be less than {name}_period {period}")
    return range(offset, fields.integer("num_hidden_layers"), period)
