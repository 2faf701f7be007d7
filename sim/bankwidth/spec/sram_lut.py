"""Compute SRAM beside the slices of a last-level cache: arrays, costs, buses, energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Bits,
    Bytes,
    Ck,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    NsOrZero,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    pick,
)
from bankwidth.units import parse_quantity

Factor = Annotated[float, Field(ge=0)]
LONGEST_WORD: Final = 64


class LawSpec(Spec):
    """Cycles of a command: product x a x b + linear x n + constant.

    n is how many bits of its result a command touches, of a multiplication the wider operand's; a
    and b are the widths of the operands of a multiplication.
    """

    product: Factor = 0.0
    linear: Factor = 0.0
    constant: float = 0.0


class LawsSpec(Spec):
    """What every kind of command costs an array of this style."""

    move: LawSpec = Field(description="copy or clear")
    logic: LawSpec = Field(description="not, and, or, xor")
    add: LawSpec = Field(description="add or subtract")
    accumulate: LawSpec = Field(
        description="add to or subtract from an accumulator at a shift: n is what lies above it"
    )
    multiply: LawSpec
    tag: LawSpec = Field(description="load the tag latch of each lane")
    lane_shift: LawSpec = Field(description="move each lane's value by some lanes")
    access: LawSpec = Field(description="write from the bus or read to it")


class SramArraySpec(Spec):
    """One array with one port: it computes, or is written or read."""

    rows: Count
    columns: Count
    layout: Literal["transposed", "words"] = Field(
        description="transposed: a value stands upright in one column, a lane is a column; words: "
        "it lies in one row, a lane is a word"
    )
    word_bits: Bits | None = Field(default=None, description="of a lane of the layout words")
    weight_buffers: Annotated[int, Field(ge=1, le=2)] = Field(
        default=2, description="2: the next weights are written while these are computed with"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Words have a width, which a row holds."""
        word, columns = pick(data, "word_bits"), pick(data, "columns")
        if pick(data, "layout") == "words" and word is None:
            yield ("word",), "missing: the layout words needs the width of a lane"
        if pick(data, "layout") == "transposed" and word is not None:
            yield ("word",), "lanes of the layout transposed are columns: they have no width"
        bits, columns = _width(word), columns if isinstance(columns, int) else LONGEST_WORD
        if bits > min(columns, LONGEST_WORD):
            yield ("word",), f"{bits} bits: a lane has at most {min(columns, LONGEST_WORD)}"


def _width(value: object) -> int:
    """Bits of a raw or built width; 0 where it is absent or wrong (said elsewhere)."""
    try:
        return value if isinstance(value, int) else int(parse_quantity(value, "width"))
    except SpecError:
        return 0


class SramEnergySpec(Spec):
    """Energy of all arrays and buses, without the cache's own work."""

    compute_cycle_pj: Pj = Field(description="one cycle of one array that computes, all columns")
    access_row_pj: Pj = Field(description="a row of one array written or read")
    bus_pj_per_bit: PjPerBit = Field(description="a bit over the slice's bus")
    staging_pj_per_bit: PjPerBit = Field(
        description="a bit of weights put down in the slice and taken up again"
    )
    static_mw: Mw


class SramLutSpec(DeviceSpec):
    """Compute SRAM of a whole chip: `slices` alike, each with a bus that its arrays share."""

    kind: Literal["sram_lut"]
    clock_ghz: Ghz = Field(description="of arrays and buses, computing")
    slices: Count
    banks_per_slice: Count
    arrays_per_bank: Count
    array: SramArraySpec
    laws: LawsSpec
    slice_bus_bits: Bits = Field(description="into or out of a slice's arrays, per clock")
    bank_port_bits: Bits = Field(description="into or out of one bank's arrays, per clock")
    staging_bytes: Bytes = Field(
        description="of a slice: weights that arrive before the arrays take them"
    )
    issue_ns: NsOrZero = Field(description="from the core's instruction to the first command")
    switch_ck: Ck = Field(
        description="all arrays from storing to computing and back, once for each product"
    )
    energy: SramEnergySpec

    @property
    def arrays_per_slice(self) -> int:
        """Arrays that share a slice's bus."""
        return self.banks_per_slice * self.arrays_per_bank
