"""The shape of a model: what the layer graph and the weights are built from.

A model is a list of layers, each with its own mixer of tokens (attention or a recurrence) and
feed-forward part, so that families whose layers differ need no second way. A family turns
configuration fields into a `ModelShape`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Of a feed-forward part; those that end in _mul have a second product as a gate.
Function = Literal[
    "gelu", "relu", "silu", "relu2", "silu_mul", "gelu_mul", "relu2_mul", "sigmoid_mul"
]
# How a recurrence's state changes with a token (operators/scan.py).
Recurrence = Literal["selective", "ssd", "delta", "gated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """Multi-head or grouped-query attention: one fused matmul for q, k, v and one for the output.

    Cached per token: a key and a value of `head_dim` for each of `n_kv_heads`; a layer with a
    `window` keeps that many tokens, one with `chunk` those of the chunk that a token is in.
    """

    n_heads: int
    n_kv_heads: int
    head_dim: int
    has_bias: bool  # of q, k and v
    has_output_bias: bool | None = None  # None: as `has_bias`
    has_rope: bool
    is_causal: bool = True  # an encoder's is not, and caches nothing
    window: int | None = None  # tokens seen, the new one included
    chunk: int | None = None  # tokens are seen from the last multiple of it on
    # RMS norm of q and k: of each head, of all heads together, of each head without a weight
    qk_norm: Literal["none", "head", "all", "bare"] = "none"
    rope_dim: int | None = None  # dimensions of a head that are rotated; None: all
    has_sinks: bool = False  # a learned score per head beside those of the keys (GPT-OSS)
    has_gate: bool = False  # as many further columns of q gate the output (Qwen3-Next)

    @property
    def q_width(self) -> int:
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.n_kv_heads * self.head_dim

    @property
    def qkv_width(self) -> int:
        return (2 if self.has_gate else 1) * self.q_width + 2 * self.kv_width

    @property
    def output_has_bias(self) -> bool:
        return self.has_bias if self.has_output_bias is None else self.has_output_bias

    def kept(self, tokens: int) -> int:
        """Tokens of a sequence of `tokens` whose keys and values a layer still has."""
        if not self.is_causal:
            return 0
        limits = [limit for limit in (self.window, self.chunk) if limit is not None]
        return min([tokens, *limits])


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentShape:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Cached per token: one latent of `kv_rank` and one rotated key of `rope_dim`, for all heads.
    Without `q_rank` the query is made of the hidden state directly.
    """

    n_heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int  # of a head's query and key without positions
    rope_dim: int
    v_dim: int
    has_bias: bool = False

    @property
    def qk_dim(self) -> int:
        return self.nope_dim + self.rope_dim

    @property
    def cached_width(self) -> int:
        return self.kv_rank + self.rope_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanShape:
    """A recurrence in place of attention: its state has the same size at any context.

    One projection of `in_width` columns makes all its inputs; a causal convolution of `conv_taps`
    goes over `conv_width` of them. State: `heads` x `head_dim` x `state`, in fp32. `step_rank` is
    the inner width of Mamba-1's projection to step sizes. See the families for who has what.
    """

    recurrence: Recurrence
    heads: int
    head_dim: int
    state: int
    in_width: int
    out_width: int  # columns of the result, which the output projection takes in
    conv_width: int = 0
    conv_taps: int = 0
    conv_bias: bool = False
    step_rank: int = 0
    groups: int = 1  # of B and C, shared by heads
    head_parameters: int = 0  # per layer: decay, skip, bias of the step
    has_bias: bool = False  # of both projections
    has_norm: bool = False  # of the result, before the output projection
    norm_width: int = 0  # of that norm's weight
    inner_norms: tuple[int, ...] = ()  # widths of norms on parts of what is projected (Jamba)


Mixer = AttentionShape | LatentShape | ScanShape


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpShape:
    """Feed-forward part: up, function, down; a gated one has twice the width going up."""

    width: int
    function: Function
    has_bias: bool
    has_inner_norm: bool = False  # of what goes down (BitNet)

    @property
    def is_gated(self) -> bool:
        return self.function.endswith("_mul")

    @property
    def up_width(self) -> int:
        return (2 if self.is_gated else 1) * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeShape:
    """`experts` of the same shape, of which each token takes `topk`, beside a shared one.

    `shared` is the expert that all tokens take; `shared_gate` scales its result by a product of
    one column (Qwen2-MoE). `router_bias` is what is added to the scores (DeepSeek-V3, GPT-OSS).
    """

    experts: int
    topk: int
    expert: MlpShape
    shared: MlpShape | None = None
    shared_gate: bool = False
    router_bias: bool = False


Feed = MlpShape | MoeShape


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """A transformer layer; `norm_first` norms what enters each part, else what leaves it.

    In a `parallel` one both parts take a normed input: the same, or with `parallel_norms` 2 each
    its own. `post_norms` are two more, of what leaves each part before it is added (Gemma 2);
    with `norm_parts_out` those are the only two (OLMo 2).
    Without `mlp` the mixer is all there is (Mamba). `attention_norm` is one of the mixer's result
    before its output projection (BitNet).
    """

    attention: Mixer
    mlp: Feed | None
    norm_first: bool = True
    parallel: bool = False
    parallel_norms: Literal[1, 2] = 1
    post_norms: bool = False
    attention_norm: bool = False
    norm_parts_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A decoder or, without a `has_head`, an encoder.

    `position_rows` is 0 without a learned position table; `max_tokens` is its limit. `embed_width`
    differs from `hidden` in models that project the embedding in and out (OPT-350M).
    """

    family: str
    hidden: int
    vocab: int
    layers: tuple[LayerShape, ...]
    norm_style: Literal["rms", "layer"]
    has_final_norm: bool = True
    has_embed_norm: bool = False  # BERT
    embed_width: int
    position_rows: int = 0
    type_rows: int = 0  # token types of an encoder
    max_tokens: int | None = None
    has_tied_head: bool
    has_head: bool = True
    has_head_bias: bool = False  # Phi
    has_pooler: bool = False  # BERT: a product of the first token's result

    @property
    def has_projection(self) -> bool:
        return self.embed_width != self.hidden

    @property
    def is_decoder(self) -> bool:
        return self.has_head
