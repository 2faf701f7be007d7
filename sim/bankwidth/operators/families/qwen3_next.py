"""Qwen3-Next (Qwen team 2025): three gated delta nets to one gated attention, small experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.parts import (
    FULL,
    attention,
    decoder,
    every,
    kinds_of,
    mlp,
    moe,
    partly_rotated,
    sizes,
)
from bankwidth.operators.families.qwen import feeds, with_shared
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import (
    AttentionShape,
    LayerShape,
    Mixer,
    ModelShape,
    MoeShape,
    ScanShape,
)

LINEAR: Final = "linear_attention"


def qwen3_next_shape(fields: Fields) -> ModelShape:
    """`full_attention_interval` says which layers attend. The layer for multi-token prediction that
    the published files hold as well is not part of the model.
    """
    hidden, layers = sizes(fields)
    usual = every(fields.integer("full_attention_interval", default=4), FULL, LINEAR)
    kinds = kinds_of(fields, layers, usual, known=(FULL, LINEAR))
    mixers: dict[str, Mixer] = {FULL: _attention(fields, hidden), LINEAR: _delta(fields)}
    each = zip(kinds, feeds(fields, layers, _experts(fields)), strict=True)
    parts = [LayerShape(attention=mixers[kind], mlp=feed) for kind, feed in each]
    return decoder(fields, hidden, parts, tied=False)


def _attention(fields: Fields, hidden: int) -> AttentionShape:
    shape = biased(fields, attention(fields, hidden, kv_heads=2, head_dim=256))
    shape = partly_rotated(fields, shape, "partial_rotary_factor", default=0.25)
    return replace(shape, qk_norm="head", has_gate=True)


def _delta(fields: Fields) -> ScanShape:
    """Projected: q, k, v, the gate z, and b and a for each head of values (Yang et al. 2024,
    arXiv 2412.06464); the convolution goes over q, k and v.
    """
    keys = fields.integer("linear_num_key_heads", default=16)
    values = fields.integer("linear_num_value_heads", default=32)
    key_dim = fields.integer("linear_key_head_dim", default=128)
    value_dim = fields.integer("linear_value_head_dim", default=128)
    key_width, value_width = keys * key_dim, values * value_dim
    return ScanShape(
        recurrence="delta",
        heads=values,
        head_dim=value_dim,
        state=key_dim,
        groups=keys,
        in_width=2 * key_width + 2 * value_width + 2 * values,
        out_width=value_width,
        conv_width=2 * key_width + value_width,
        conv_taps=fields.integer("linear_conv_kernel_dim", default=4),
        head_parameters=2 * values,
        has_norm=True,
        norm_width=value_dim,
    )


def _experts(fields: Fields) -> MoeShape:
    expert = mlp(fields, "moe_intermediate_size", default=512)
    return with_shared(fields, moe(fields, expert, experts=512, topk=10), 512)
