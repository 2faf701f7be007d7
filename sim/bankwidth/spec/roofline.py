"""A chip of which only a roofline is known: peak rates, a cache, what a framework costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    BytesPerNs,
    Count,
    DeviceSpec,
    Mw,
    Ns,
    NsOrZero,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    Tflops,
    pick,
    pick_mapping,
    unknown,
)
from bankwidth.spec.dtypes import DTYPES, Dtype
from bankwidth.spec.mapping import DEFAULT, OPERATOR_KINDS

Share = Annotated[float, Field(gt=0, le=1)]
# Elementwise functions may cost what their kind does not: a residual addition is often fused.
FUNCTIONS: Final = ("add", "mul", "gelu", "relu", "silu", "silu_mul")
PRICED: Final = (DEFAULT, *OPERATOR_KINDS, *FUNCTIONS)


class CoresSpec(Spec):
    """Cores that take whole tiles of a product: those without one in the last round idle.

    A core loads at its own rate, so that idle cores leave bandwidth of the memory unused as well.
    """

    count: Count
    buffer_bytes: Bytes = Field(description="of one core: holds its tile and the tile's operands")
    load_bandwidth_bytes_per_ns: BytesPerNs = Field(
        description="what one core gets from the memory"
    )
    tile_sides: list[Count] = Field(min_length=1, description="rows or columns of a tile")
    tile_depth: Count = Field(description="of the operands that a tile is computed from at once")
    register_side: Count = Field(description="of the square tiles that a core's registers hold")
    feed_pj_per_bit: PjPerBit = Field(description="a bit from a core's buffer to its registers")


class RingSpec(Spec):
    """Collectives among equal chips: `ways` - 1 steps, each of one `ways`-th of the message."""

    max_ways: Count = Field(description="chips that are joined, this one included")
    step_ns: Ns = Field(description="of one step without bytes")
    bandwidth_bytes_per_ns: BytesPerNs = Field(description="of a step's bytes")
    energy_pj_per_bit: PjPerBit = Field(description="a bit of a message, for each chip")


class RooflineEnergySpec(Spec):
    """Energy of the chip without its memories."""

    flop_pj: dict[Dtype, Pj] = Field(description="per flop of a matrix product, all that it needs")
    vector_flop_pj: dict[Dtype, Pj] = Field(description="per flop of everything else")
    cache_pj_per_bit: PjPerBit = Field(description="a bit of an operand or a result on the chip")
    static_mw: Mw = Field(description="power that flows whatever it computes")


class RooflineSpec(DeviceSpec):
    """An engine whose operators take the longer of their bytes and their flops at the peaks.

    The bytes' time is not here: they come from the machine's memory, over its link.
    """

    kind: Literal["roofline"]
    matrix_tflops: dict[Dtype, Tflops] = Field(
        min_length=1, description="matrix products; formats without a rate compute at fp32's"
    )
    vector_tflops: dict[Dtype, Tflops] = Field(
        min_length=1, description="everything else; formats without a rate compute at fp32's"
    )
    compute_utilisation: Share = Field(
        default=1.0, description="share of the peaks that the best code reaches"
    )
    cache_bytes: Bytes = Field(
        description="activations of an operator that fit in it do not go through the memory"
    )
    overhead_ns: dict[str, NsOrZero] = Field(
        description="before an operator computes, by operator kind or elementwise function: "
        "launch and framework; needs `default`"
    )
    vector_bandwidth_bytes_per_ns: dict[str, BytesPerNs] = Field(
        default_factory=dict,
        description="at which operands and results pass the chip, by operator kind or elementwise "
        "function; absent: without a limit of its own",
    )
    cores: CoresSpec | None = Field(default=None, description="absent: work divides without rest")
    ring: RingSpec | None = Field(default=None, description="absent: it runs no collectives")
    energy: RooflineEnergySpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Formats with a rate have an energy; overheads are of known kinds, with a default."""
        energy = pick(data, "energy")
        for rates, energies in (
            ("matrix_tflops", "flop_pj"),
            ("vector_tflops", "vector_flop_pj"),
        ):
            yield from _without_energy(data, rates, energy, energies)
        overheads = pick_mapping(data, "overhead_ns")
        if overheads and DEFAULT not in overheads:
            yield ("overhead",), "'default' is missing: the overhead of all other operators"
        for field in ("overhead_ns", "vector_bandwidth_bytes_per_ns"):
            yield from _unknown_kinds(data, field)


def _without_energy(data: object, rates: str, energy: object, energies: str) -> Iterator[Relation]:
    known = pick_mapping(energy, energies)
    for dtype in pick_mapping(data, rates):
        if known and dtype in DTYPES and dtype not in known:
            field = energies.removesuffix("_pj")
            yield ("energy", field), f"no energy for {dtype}, which has a rate"


def _unknown_kinds(data: object, field: str) -> Iterator[Relation]:
    key = field.removesuffix("_ns").removesuffix("_bytes_per_ns")
    for kind in pick_mapping(data, field):
        if kind not in PRICED:
            message = unknown("operator kind or function", kind, list(PRICED))
            yield (key, kind, "[key]"), message
