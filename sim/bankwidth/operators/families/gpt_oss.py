"""GPT-OSS (OpenAI 2025, arXiv 2508.10925)."""

from __future__ import annotations

from dataclasses import replace

from bankwidth.operators.families.llama import biased
from bankwidth.operators.families.parts import (
    FULL,
    SLIDING,
    attention,
    decoder,
    every,
    kinds_of,
    mlp,
    moe,
    sizes,
    with_windows,
)
from bankwidth.operators.fields import Fields
from bankwidth.operators.model import LayerShape, ModelShape


def gpt_oss_shape(fields: Fields) -> ModelShape:
    """Every second layer with a window of 128, a learned sink per head, experts with biases."""
    hidden, layers = sizes(fields)
    shape = biased(fields, attention(fields, hidden, kv_heads=8, head_dim=64), default=True)
    kinds = kinds_of(fields, layers, every(2, FULL, SLIDING))
    window = fields.optional("sliding_window", default=128)
    shapes = with_windows(fields, replace(shape, has_sinks=True), kinds, window)
    expert = mlp(fields, "intermediate_size", has_bias=True)
    sparse = replace(moe(fields, expert, experts=128, topk=4), router_bias=True)
    parts = [LayerShape(attention=attended, mlp=sparse) for attended in shapes]
    return decoder(fields, hidden, parts, tied=False)
