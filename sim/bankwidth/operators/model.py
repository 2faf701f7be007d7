"""The shape of a model: what the layer graph and the weights are built from.

A model is a list of layers, each with its own attention and feed-forward part, so that families
whose layers differ need no second way. A family turns configuration fields into a `ModelShape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """Multi-head or grouped-query attention: one fused matmul for q, k, v and one for the output.

    Cached per token: a key and a value of `head_dim` for each of `n_kv_heads`.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    has_bias: bool
    has_rope: bool

    @property
    def q_width(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.n_kv_heads * self.head_dim

    @property
    def qkv_width(self) -> int:
        return self.q_width + 2 * self.kv_width


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpShape:
    """Feed-forward part: up, function, down; a gated one has twice the width going up."""

    width: int
    function: Literal["gelu", "relu", "silu", "silu_mul"]
    has_bias: bool

    @property
    def is_gated(self) -> bool:
        return self.function == "silu_mul"

    @property
    def up_width(self) -> int:
        return (2 if self.is_gated else 1) * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """A transformer layer; `norm_first` norms what enters each part, else what leaves it.

    In a `parallel` one both parts take the same normed input, and there is one norm.
    """

    attention: AttentionShape
    mlp: MlpShape
    norm_first: bool = True
    parallel: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A decoder. `position_rows` is 0 without a learned position table; `max_tokens` is its limit.

    `embed_width` differs from `hidden` in models that project the embedding in and out (OPT-350M).
    """

    family: str
    hidden: int
    vocab: int
    layers: tuple[LayerShape, ...]
    norm_style: Literal["rms", "layer"]
    has_final_norm: bool = True
    embed_width: int
    position_rows: int = 0
    max_tokens: int | None = None
    has_tied_head: bool

    @property
    def has_projection(self) -> bool:
        return self.embed_width != self.hidden
