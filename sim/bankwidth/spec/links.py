"""A link carries bytes between an engine and a memory, or between two engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from bankwidth.spec.base import BytesPerNs, NsOrZero, PjPerBit, Relation, Spec, pick

Ends = Annotated[tuple[str, str], Field(strict=False)]  # YAML has lists, not tuples


class LinkSpec(Spec):
    """First-come first-served wires; `latency` is added once to each transfer."""

    name: str = Field(min_length=1)
    ends: Ends = Field(description="names of the two engines or memories it joins")
    bandwidth_bytes_per_ns: BytesPerNs
    latency_ns: NsOrZero
    energy_pj_per_bit: PjPerBit

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The ends differ."""
        ends = pick(data, "ends")
        if isinstance(ends, list | tuple) and len(ends) == 2 and ends[0] == ends[1]:
            yield ("ends", 1), f"both ends are {ends[0]!r}, a link joins two different parts"
