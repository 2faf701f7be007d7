"""Options of the techniques that say which experts tokens take, and where experts are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick

Seed = Annotated[int, Field(ge=0)]


class MoeRoutingSpec(Spec):
    """How tokens spread over the experts of a layer."""

    distribution: str | None = Field(
        default=None,
        description="balanced, power_law_<alpha>, or zipf_<alpha>: the i-th expert is taken as "
        "often as i^-alpha (zipf: alpha 1). Default: balanced",
    )
    file: str | None = Field(
        default=None,
        description="a recorded routing (CSV, gzip allowed): columns layer, step, experts; experts "
        "are numbers separated by spaces",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """One or the other."""
        if pick(data, "file") is not None and pick(data, "distribution") is not None:
            yield ("distribution",), "a file says how tokens spread: leave distribution or file out"


class ExpertCacheSpec(Spec):
    """Experts in a memory further away, some of each layer near (Mixtral-offloading)."""

    experts: Count = Field(description="of each layer, and of each device, that are near")
    policy: Literal["lru", "lfu", "pinned"] = Field(
        default="lru",
        description="lru: those used last; lfu: those used most so far; pinned: always the most "
        "popular ones",
    )
    file: str | None = Field(
        default=None,
        description="a recorded routing to replay (see moe_routing). Default: drawn from the "
        "distribution that the layer's routing has, tokens independent of each other",
    )
    steps: Count = Field(default=256, description="that are drawn; the first quarter warms up")
    seed: Seed = Field(default=0, description="of the draw")
    prefetch: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="as many experts as will be missing are guessed and fetched a layer ahead; "
        "the share of these guesses that are right. 0: none are fetched ahead",
    )
