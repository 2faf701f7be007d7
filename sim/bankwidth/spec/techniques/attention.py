"""Options of the techniques that change attention: its heads, what it reads, where it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick

CountOrZero = Annotated[int, Field(ge=0)]


class HeadsSpec(Spec):
    """Other numbers of heads: multi-query, grouped-query, sparse query, or latent attention."""

    n_heads: Count | None = Field(default=None, description="query heads. Default: the model's")
    n_kv_heads: Count | None = Field(
        default=None, description="heads of keys and values. Default: the model's"
    )
    kv_rank: Count | None = Field(
        default=None,
        description="width of the latent that keys and values of all heads are made of",
    )
    rope_dim: Count | None = Field(
        default=None, description="with kv_rank: width of the one rotated key of all heads"
    )
    q_rank: Count | None = Field(
        default=None,
        description="with kv_rank: width of the query's latent. Default: there is none",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Heads are counted or made of a latent."""
        counts = [name for name in ("n_heads", "n_kv_heads") if pick(data, name) is not None]
        rank = pick(data, "kv_rank")
        if rank is None and not counts:
            yield ("n_kv_heads",), "nothing is changed: give n_heads, n_kv_heads or kv_rank"
        if rank is not None and pick(data, "n_kv_heads") is not None:
            yield ("n_kv_heads",), "a latent serves all heads: give either n_kv_heads or kv_rank"
        for name in ("rope_dim", "q_rank"):
            if rank is None and pick(data, name) is not None:
                yield (name,), "belongs to latent attention: give kv_rank too"
        if rank is not None and pick(data, "rope_dim") is None:
            yield (
                ("rope_dim",),
                "latent attention needs it: the width of the rotated key, such as 64",
            )


class SparseAttentionSpec(Spec):
    """Two phases: find the tokens that matter with few bytes, then attend to those only."""

    method: Literal["sparq", "quest", "infinigen"] = Field(
        default="sparq",
        description="sparq: scores of some components of all keys; quest: bounds of pages' scores; "
        "infinigen: scores of some components, made a layer ahead",
    )
    tokens: Count = Field(description="that attention reads of each sequence and KV head")
    components: Count = Field(default=32, description="sparq, infinigen: of each key that are read")
    page: Count = Field(default=16, description="quest: tokens of a page")
    dense_layers: CountOrZero = Field(
        default=0, description="first layers that read all tokens (Quest: 2)"
    )
    copy_keys: bool = Field(
        default=True,
        description="sparq: keys are stored a second time, by component; else some components are "
        "read as if they lay together",
    )
    mean_value: bool = Field(
        default=True, description="sparq: the mean of all values stands for the tokens not read"
    )


class AttentionAtKvSpec(Spec):
    """Attention where keys and values are: query out, output and log-sum-exp back."""

    ways: Annotated[int, Field(ge=2)] = Field(
        description="places that keys and values are shared out to, this device among them"
    )
    split: Literal["tokens", "heads"] = Field(
        default="tokens",
        description="tokens: each place has some tokens of every sequence (DistAttention); heads: "
        "some KV heads (Lamina)",
    )


class SharedPrefixSpec(Spec):
    """Hydragen (Juravsky et al., ICML 2024): all sequences begin with the same tokens."""

    tokens: Count = Field(description="that all sequences begin with, stored once")
    batched: bool = Field(
        default=True,
        description="all sequences' queries meet the prefix as one product; else each one reads "
        "it by itself, as with prefix caching in vLLM",
    )
