"""Options of the techniques that change what a model computes, reads and keeps.

To add one: its options in a file here, a line below, and what it does in operators/techniques.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from bankwidth.spec.base import Relation, Spec
from bankwidth.spec.techniques.attention import (
    AttentionAtKvSpec,
    HeadsSpec,
    SharedPrefixSpec,
    SparseAttentionSpec,
)
from bankwidth.spec.techniques.experts import ExpertCacheSpec, MoeRoutingSpec
from bankwidth.spec.techniques.kv import (
    EvictionSpec,
    KvOffloadSpec,
    KvQuantSpec,
    PagedSpec,
    XquantSpec,
    contradictory,
)
from bankwidth.spec.techniques.parallel import ParallelismSpec
from bankwidth.spec.techniques.passes import (
    ChunkedPrefillSpec,
    PhaseSplitSpec,
    SpeculativeSpec,
)
from bankwidth.spec.techniques.weights import WeightQuantSpec, WeightStreamingSpec

__all__ = ["TechniquesSpec"]


class TechniquesSpec(Spec):
    """Techniques that are on, each with its options. docs/techniques.md describes them."""

    heads: HeadsSpec | None = Field(default=None, description="other numbers of heads")
    shared_prefix: SharedPrefixSpec | None = Field(
        default=None, description="tokens that all sequences begin with"
    )
    eviction: EvictionSpec | None = Field(default=None, description="a budget of cached tokens")
    sparse_attention: SparseAttentionSpec | None = Field(
        default=None, description="attention to the tokens that matter"
    )
    kv_quant: KvQuantSpec | None = Field(default=None, description="keys and values in few bits")
    paged: PagedSpec | None = Field(default=None, description="a cache in blocks of tokens")
    xquant: XquantSpec | None = Field(
        default=None, description="the layer's input stored in place of keys and values"
    )
    kv_offload: KvOffloadSpec | None = Field(
        default=None, description="keys and values in a memory further away"
    )
    attention_at_kv: AttentionAtKvSpec | None = Field(
        default=None, description="attention where keys and values are"
    )
    weight_quant: WeightQuantSpec | None = Field(default=None, description="weights in few bits")
    weight_streaming: WeightStreamingSpec | None = Field(
        default=None, description="weights in a memory further away"
    )
    moe_routing: MoeRoutingSpec | None = Field(
        default=None, description="how tokens spread over experts"
    )
    expert_cache: ExpertCacheSpec | None = Field(
        default=None, description="experts in a memory further away, some near"
    )
    chunked_prefill: ChunkedPrefillSpec | None = Field(
        default=None, description="prompts in chunks, decode steps along with them"
    )
    speculative: SpeculativeSpec | None = Field(
        default=None, description="a draft of tokens, checked in one pass"
    )
    phase_split: PhaseSplitSpec | None = Field(
        default=None, description="prompts on one machine, decode steps on another"
    )
    parallel: ParallelismSpec | None = Field(
        default=None, description="equal devices that share the model"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """What makes no sense together."""
        yield from contradictory(data)
