"""Options of the techniques that change what the cache of keys and values holds, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from bankwidth.errors import SpecError
from bankwidth.spec.base import Count, Relation, Spec, pick

CountOrZero = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
MOST_BITS: Final = 8
PLAIN_BITS: Final = 16  # as the cache is without the technique


def _known_width(given: int | str) -> int | str:
    if isinstance(given, int) and not 1 <= given <= MOST_BITS:
        raise SpecError(f"need 1 to {MOST_BITS} bits or the name of a format, got {given}")
    return given


def _stored_bits(given: int) -> int:
    if given != PLAIN_BITS and not 1 <= given <= MOST_BITS:
        raise SpecError(f"need 1 to {MOST_BITS} bits, or {PLAIN_BITS}, got {given}")
    return given


Width = Annotated[int | str, AfterValidator(_known_width)]
StoredBits = Annotated[int, AfterValidator(_stored_bits)]

# What makes no sense together, and why.
_CHOSEN: Final = "chooses tokens of each sequence, which then no longer read the prefix together"
_ELSEWHERE: Final = "computes attention where keys and values are, so that nothing is fetched"
APART: Final[dict[tuple[str, str], str]] = {
    ("xquant", "kv_quant"): "stores no keys and values; its own options say how it stores",
    ("xquant", "sparse_attention"): "has no keys to choose by before all of them are made",
    ("xquant", "kv_offload"): "is known for a cache that is near only",
    ("xquant", "attention_at_kv"): "needs the layer's weights where keys and values are made",
    ("eviction", "shared_prefix"): _CHOSEN,
    ("sparse_attention", "shared_prefix"): _CHOSEN,
    ("attention_at_kv", "kv_offload"): _ELSEWHERE,
    ("attention_at_kv", "sparse_attention"): "is known for attention to all tokens only",
}


def contradictory(data: object) -> Iterator[Relation]:
    """Of all techniques, pairs that make no sense together."""
    for (name, other), why in APART.items():
        if pick(data, name) is not None and pick(data, other) is not None:
            yield (name,), f"{why}: leave {name} or {other} out"


class PagedSpec(Spec):
    """PagedAttention (Kwon et al., SOSP 2023), or what it replaced."""

    block: Count = Field(
        default=16, description="tokens of a block; a sequence's last one may be empty in part"
    )
    contiguous: Count | None = Field(
        default=None,
        description="tokens that every sequence has room for from its start, in place of blocks",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Blocks or one piece."""
        if pick(data, "contiguous") is not None and _is_given(data, "block"):
            yield ("contiguous",), "is one piece per sequence, without blocks: leave block out"


class KvQuantSpec(Spec):
    """KIVI (Liu et al., ICML 2024): keys by channel in groups of tokens, values by token in groups
    of channels."""

    keys: Width | None = Field(
        default=2, description="bits of a key's value, or a number format such as fp8; null: as is"
    )
    values: Width | None = Field(
        default=2, description="bits of a value's value, or a number format; null: as is"
    )
    group: Count = Field(default=32, description="values that share a scale and a zero point")
    zero_point: bool = Field(default=True, description="each group has one, as wide as its values")
    residual: CountOrZero = Field(
        default=0, description="newest tokens of a sequence that stay as they are (KIVI: 128)"
    )


class XquantSpec(Spec):
    """XQuant (Tomar et al. 2025): the layer's input is stored; keys and values are made of it."""

    bits: StoredBits = Field(
        default=4, description="of a stored value; 16: as the cache is without it"
    )
    group: Count = Field(default=128, description="values that share a scale and a zero point")
    stores: Literal["fewest", "input", "latents"] = Field(
        default="fewest",
        description="input: what the layer's projections take in; latents: what its key and value "
        "projections have after their first factor (for GQA); fewest: whichever is narrower",
    )
    fused: bool = Field(
        default=False,
        description="keys and values are made on the chip, piece by piece, and never written",
    )


class EvictionSpec(Spec):
    """H2O (Zhang et al., NeurIPS 2023) or attention sinks (Xiao et al., ICLR 2024)."""

    method: Literal["h2o", "sinks"] = Field(
        default="h2o",
        description="h2o: the newest tokens and those that were attended to most; sinks: the first "
        "and the newest",
    )
    budget: Count | None = Field(default=None, description="tokens of a sequence that are kept")
    share: Share | None = Field(default=None, description="of a sequence's tokens that are kept")
    recent: Share = Field(default=0.5, description="h2o: of those kept, the newest ones' part")
    sinks: CountOrZero = Field(default=4, description="sinks: of those kept, the first tokens")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """One of the two says how many stay."""
        given = [name for name in ("budget", "share") if pick(data, name) is not None]
        if len(given) != 1:
            yield ("budget",), "give either budget, in tokens, or share, of a sequence's tokens"
        budget, sinks = pick(data, "budget"), pick(data, "sinks")
        if isinstance(budget, int) and isinstance(sinks, int) and sinks >= budget:
            yield ("sinks",), f"{sinks} first tokens leave none of the {budget} for the newest"

    def kept(self, tokens: int) -> int:
        """Of a sequence of so many tokens."""
        if self.budget is not None:
            return min(tokens, self.budget)
        assert self.share is not None
        return max(1, min(tokens, round(tokens * self.share)))


class KvOffloadSpec(Spec):
    """Keys and values in a memory further away (`mapping.place.far` of the machine)."""

    share: Share = Field(default=1.0, description="of the layers; the first ones keep theirs near")
    access: Literal["prefetch", "fetch", "direct"] = Field(
        default="prefetch",
        description="prefetch: copied into one of two buffers while earlier layers compute; "
        "fetch: copied when they are needed; direct: read where they are",
    )
    heads: Count | None = Field(
        default=None,
        description="KV heads that are copied and attended to together (HeadInfer: 1). Default: "
        "all of a layer",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """What is not copied comes in no pieces."""
        if pick(data, "access") == "direct" and pick(data, "heads") is not None:
            yield ("heads",), "are copied together: with access: direct nothing is copied"


def _is_given(data: object, field: str) -> bool:
    """Whether a description says it, be it raw or built."""
    fields = getattr(data, "model_fields_set", data)
    return isinstance(fields, (dict, set)) and field in fields
