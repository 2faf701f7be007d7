"""Prompts on one pool of machines, all other tokens on another (Splitwise, arXiv 2311.18677)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bankwidth.spec.base import BytesPerNs, Count, NsOrZero, PjPerBit, Spec


class ServingSplitSpec(Spec):
    """Two pools, and how keys and values get from a machine of one to a machine of the other."""

    decode_on: str | None = Field(
        default=None, description="machine of the second pool, by name or path; the first's if none"
    )
    prefill: Count = Field(default=1, description="machines of the pool for prompts")
    decode: Count = Field(default=1, description="machines of the pool for all other tokens")
    bandwidth_bytes_per_ns: BytesPerNs = Field(
        description="out of one machine for prompts, all its devices together, as '50 GB/s'"
    )
    latency_ns: NsOrZero = Field(default=0.0, description="of the way between two machines")
    when: Literal["layers", "end"] = Field(
        default="layers", description="layers: as each is done, beside the next; end: after all"
    )
    energy_pj_per_bit: PjPerBit | None = Field(
        default=None, description="of what is sent; unknown, and in no sum, by default"
    )
