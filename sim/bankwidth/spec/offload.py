"""What a machine does about tensors that its engine's own memory has no room for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from bankwidth.spec.base import BytesOrZero, Count, Relation, Spec, pick, pick_mapping, unknown

Share = Annotated[float, Field(gt=0, le=1)]
Keeps = Literal["lru", "pinned"]
KEEPS = (
    "lru: what was used last; a decode step goes through all of it in turn, so that what is "
    "larger than its room is never there when it is wanted again. pinned: as much as fits stays"
)


class PageCacheSpec(Spec):
    """Free memory of the host that keeps what was read from a drive last."""

    memory: str = Field(description="memory that it is")
    within: str | None = Field(
        default=None,
        description="memory whose free part it is, where that has a faster way to the engine than "
        "what is read through the cache. Default: `memory` itself",
    )
    of: str = Field(description="memory that holds what is cached")
    reserved_bytes: BytesOrZero = Field(
        default=0, description="of the memory, for the operating system and buffers"
    )
    keeps: Keeps = Field(default="lru", description=KEEPS)


class SpillSpec(Spec):
    """Where what a memory has no room for goes; without it such a run is refused."""

    of: str = Field(description="memory that overflows")
    to: str = Field(description="memory that takes the rest: swap space, another tier")
    keeps: Keeps = Field(default="lru", description=KEEPS)


class OffloadSpec(Spec):
    """Tensors away from the engine: what is cached, what spills, what attention takes of them."""

    page_cache: PageCacheSpec | None = Field(default=None, description="default: none")
    spill: SpillSpec | None = Field(default=None, description="default: too much is an error")
    rounding: dict[str, Literal["power_of_two"]] = Field(
        default_factory=dict,
        description="memories whose allocator rounds each tensor of a layer up to a power of two",
    )
    score_copies: Count | None = Field(
        default=None,
        description="matrices of scores that attention keeps whole, as activations, at its peak; "
        "default: none, they stay on the chip. Room is checked, their traffic is not counted",
    )
    staged: bool = Field(
        default=False,
        description="what lies in another memory than activations is copied into that one while "
        "the operator before runs, and read from there; stores the other way are not waited for. "
        "Default: the engine reads it where it lies",
    )
    kv_share: Share = Field(
        default=1.0,
        description="of keys and values, what a sparse attention fetches in a decode step",
    )
    recompute: bool = Field(
        default=False,
        description="sequences whose keys and values have no room go through the model again, "
        "whole, in every decode step. Default: too many are an error",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Two parts of a pair differ; what is computed again need not spill."""
        for name, ends in (("page_cache", ("memory", "of")), ("spill", ("of", "to"))):
            here, there = (pick(pick(data, name), end) for end in ends)
            if here is not None and here == there:
                yield (name, ends[1]), f"{there!r} cannot be its own {ends[0]!r}: name two memories"
        if pick(data, "recompute") and pick(data, "spill") is not None:
            yield ("recompute",), "keys and values spill or are computed again: choose one"


def wrong_memories(mapping: object, memories: list[str]) -> Iterator[Relation]:
    """Names in a mapping's `offload` that are no memory of the machine."""
    offload = pick(mapping, "offload")
    for part, field in (
        ("page_cache", "memory"), ("page_cache", "within"), ("page_cache", "of"),
        ("spill", "of"), ("spill", "to"),
    ):  # fmt: skip
        name: Any = pick(pick(offload, part), field)
        if isinstance(name, str) and name not in memories:
            yield ("mapping", "offload", part, field), unknown("memory", name, memories)
    for name in pick_mapping(offload, "rounding"):
        if name not in memories:
            path = ("mapping", "offload", "rounding", name, "[key]")
            yield path, unknown("memory", name, memories)
