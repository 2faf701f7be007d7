"""How the GPUs of one node reach each other: NVLink, with or without a switch that adds; PCIe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from bankwidth.spec.base import BytesPerNs, Count, Ns, PjPerBit, Relation, Spec, pick

Share = Annotated[float, Field(gt=0, le=1)]


class MulticastSpec(Spec):
    """A switch that adds what it reads from all GPUs and sends one result to all (NVLink SHARP)."""

    payload: Share = Field(description="share of the links' bandwidth that data get through it")
    fill_ns: Ns = Field(description="until its pipeline is full")


class InterconnectSpec(Spec):
    """The links of one GPU to the others of its node. Times and shares are those of kernels.

    A datasheet gives `max_ways` and `bandwidth`; the rest is measured or calibrated.
    """

    name: str = Field(min_length=1)
    max_ways: Count = Field(description="GPUs of one node that are joined, this one included")
    bandwidth_bytes_per_ns: BytesPerNs = Field(description="of one GPU, in one direction")
    payload: Share = Field(description="share of the bandwidth that data get in long transfers")
    hop_ns: Ns = Field(description="from a store to a peer until the peer sees it")
    start_ns: Ns = Field(description="from the start of a library's kernel to its first store")
    handshake_ns: Ns = Field(description="more than that before plain data flow (NCCL Simple)")
    copy_bandwidth_bytes_per_ns: BytesPerNs = Field(
        description="copies within the GPU by the thread blocks that communicate"
    )
    multicast: MulticastSpec | None = Field(
        default=None, description="absent: the links have no switch that adds"
    )
    energy_pj_per_bit: PjPerBit = Field(description="a bit that leaves over the links")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """There is somebody to reach."""
        if pick(data, "max_ways") == 1:
            yield ("max_ways",), "an interconnect joins at least 2 GPUs"
