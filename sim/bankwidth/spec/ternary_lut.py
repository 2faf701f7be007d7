"""Cores that multiply ternary weights by looking sums of activations up in tables made on the fly.

A table holds every sum and difference of a group of activations; the weights of a group are the
index into it. `tables` groups lie along the core's rows, `lookups_per_table` outputs along its
columns, so that a clock looks tables x lookups_per_table sums up and adds them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Bits,
    BytesOrZero,
    BytesPerNs,
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
from bankwidth.spec.dtypes import Dtype
from bankwidth.units import parse_quantity

MAX_GROUP: Final = 8  # 3^8 = 6561 sums
GroupSize = Annotated[int, Field(ge=1, le=MAX_GROUP)]
Whole = Annotated[int, Field(ge=0)]


class TableSpec(Spec):
    """The tables of a core."""

    writes_per_clock: Count = Field(description="sums that go into each table per clock")
    halved: bool = Field(
        default=False, description="of a sum and its negative only one is written and kept"
    )
    doubled: bool = Field(
        default=False, description="the next tables are made while these are looked up"
    )


class InputStreamSpec(Spec):
    """Activations on their way into a core, in blocks that go through its quantiser."""

    per_clock: Count = Field(default=1, description="activations into the core's registers")
    block: Count = Field(default=1, description="activations that the quantiser takes at once")
    block_fill_ck: Ck = Field(
        default=0, description="clocks of a block beyond one per `per_clock` activations"
    )
    queue: Whole = Field(default=0, description="activations that wait between quantiser and core")
    pads: bool = Field(
        default=False, description="zeros that fill the last tables up come in as well"
    )


class WeightBufferSpec(Spec):
    """Indices of weights on the chip: regions of rows x columns, each as many as tables' indices.

    A region is filled whole, however much of it a product needs.
    """

    regions: Count
    rows: Count = Field(description="of a region: each is one group of activations per table")
    columns: Count = Field(description="of a region: outputs")
    banks: Count = Field(description="that columns are dealt to")
    reads_per_bank: Count = Field(default=1, description="per clock")
    beat_bits: Bits = Field(description="that the load ports bring together")
    entries_per_beat: Count = Field(description="columns of a row in a beat")
    double_buffered: bool = Field(
        description="half of the regions is filled while the core computes with the others"
    )


class PortsSpec(Spec):
    """Ports of the chip to its memory, all of one width at the core's clock."""

    width_bits: Bits
    weights: Count
    keys: Count = 1
    values: Count = 1
    activations: Count = 1


class LutVectorSpec(Spec):
    """Units that functions stream through; most are fused with the product before them."""

    lanes: Count = Field(description="elements of a row that come in together")
    norm_sum_ck: Ck = Field(description="clocks of the lanes' elements in the sum of squares")
    norm_scale_ck: Ck = Field(description="the same where they are scaled")
    fill_ck: Ck = Field(description="of a row, through either")
    function_ck: Ck = Field(description="clocks of the lanes' elements in any other function")


class PrefillAttentionSpec(Spec):
    """Attention of a prompt: blocks of queries, against which keys and values stream."""

    queries: Count = Field(description="that meet a key at once")
    lanes: Count = Field(description="elements of a key that come in together")
    score_ck: Ck = Field(description="clocks of the lanes' elements, for all queries of a block")
    sum_ck: Ck = Field(description="clocks per head in which the lanes' sums are added")
    weigh_ck: Ck = Field(description="clocks per query and head: softmax, and values added up")
    fill_ck: Ck = Field(description="of a key, through all of these")
    skips_masked: bool = Field(description="keys that no query of a block sees do not come in")


class DecodeAttentionSpec(Spec):
    """Attention of one token: scores of all keys, then the values."""

    lanes: Count = Field(description="elements of a key or a value that come in together")
    lane_ck: Ck = Field(description="clocks of these")
    score_head_ck: Ck = Field(description="clocks per head and key: maximum and sum")
    value_head_ck: Ck = Field(description="clocks per head and value: its weight")
    fill_ck: Ck = Field(description="of a key or a value, through a pass")
    score_tokens: Count = Field(description="whose scores stay on the chip; more go to memory")


class LutHostSpec(Spec):
    """Processor cores of the same chip: products with weights that the tables cannot take."""

    weight_dtypes: list[Dtype] = Field(min_length=1)
    cores: Count
    clock_ghz: Ghz
    macs_per_clock: Annotated[float, Field(gt=0)] = Field(description="of one core")
    bandwidth_bytes_per_ns: BytesPerNs = Field(description="that the cores draw from the memory")
    mac_pj: Pj
    launch_ns: NsOrZero = Field(description="of a product: threads, caches, hand-over")

    @property
    def macs_per_ns(self) -> float:
        """Multiply-adds of all cores."""
        return self.cores * self.macs_per_clock * self.clock_ghz


class TernaryLutEnergySpec(Spec):
    """Energy of the chip without its memories."""

    lookup_pj: Pj = Field(description="a sum looked up in a table")
    add_pj: Pj = Field(description="and added to an output, or made for a table")
    buffer_pj_per_bit: PjPerBit = Field(description="a bit into or out of the weight buffer")
    vector_pj: Pj = Field(description="an element through a unit of a function")
    attention_mac_pj: Pj
    static_mw: Mw


class TernaryLutSpec(DeviceSpec):
    """A chip of such cores, with the units that a model needs beside them."""

    kind: Literal["ternary_lut"]
    clock_ghz: Ghz
    cores: Count = Field(default=1, description="equal ones that share a product's outputs")
    group_size: GroupSize = Field(description="activations that a table is made of")
    tables: Count = Field(description="of one core, made and looked up together: its rows")
    lookups_per_table: Count = Field(description="outputs of one core per clock: its columns")
    activation_dtype: Dtype = Field(description="that sums are made of")
    stream_dtypes: list[Dtype] = Field(
        min_length=1, description="of activations, keys and values between operators"
    )
    weight_dtypes: list[Dtype] = Field(
        min_length=1, description="that groups of weights are an index of: ternary, int1"
    )
    index_bits: Bits = Field(description="of a group's weights")
    table: TableSpec
    input: InputStreamSpec = Field(default_factory=InputStreamSpec)
    lookup_fill_ck: Ck = Field(description="of the look-ups of one row of groups, through the core")
    accumulators: Count = Field(description="outputs of a token that a core adds up at once")
    weight_buffer: WeightBufferSpec
    ports: PortsSpec
    activation_bytes: BytesOrZero = Field(
        description="activations that stay on the chip between operators; others go to memory"
    )
    start_ns: NsOrZero = Field(
        default=0.0, description="of a forward pass: tokens handed over, the result taken back"
    )
    vector: LutVectorSpec
    prefill: PrefillAttentionSpec
    decode: DecodeAttentionSpec
    host: LutHostSpec | None = Field(
        default=None, description="absent: no product with weights that are not ternary"
    )
    cells: str | None = Field(
        default=None,
        description="library of cells (arch/libraries/cells) that results count the cores' area "
        "in. Default: no area",
    )
    energy: TernaryLutEnergySpec

    @property
    def peak_macs_per_ns(self) -> float:
        """Multiply-adds that look-ups stand for, of all cores."""
        lookups = self.cores * self.tables * self.lookups_per_table
        return lookups * self.group_size * self.clock_ghz

    @property
    def buffer_bytes(self) -> int:
        """Of the indices that the weight buffer holds, of all cores."""
        buffer = self.weight_buffer
        entries = buffer.regions * buffer.rows * buffer.columns
        return self.cores * entries * self.tables * self.index_bits // 8

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """An index tells a group's weights apart, and a beat holds its entries."""
        group, bits = pick(data, "group_size"), _bits(pick(data, "index_bits"))
        if _is_count(group) and group <= MAX_GROUP and bits and 2**bits < 3**group:
            yield (
                ("index",),
                f"{bits} bits are too few for the {3**group} weights of a group of {group}: "
                f"at least {(3**group - 1).bit_length()}",
            )
        yield from _narrow_beats(data, bits)
        yield from _odd_regions(pick(data, "weight_buffer"))


def _narrow_beats(data: object, index_bits: int) -> Iterator[Relation]:
    buffer, tables = pick(data, "weight_buffer"), pick(data, "tables")
    beat, entries = _bits(pick(buffer, "beat_bits")), pick(buffer, "entries_per_beat")
    if not (beat and index_bits and _is_count(entries) and _is_count(tables)):
        return
    needed = entries * tables * index_bits
    if needed > beat:
        yield (
            ("weight_buffer", "entries_per_beat"),
            f"{entries} entries of {tables} indices of {index_bits} bits are {needed} bits, "
            f"more than a beat of {beat}",
        )


def _odd_regions(buffer: object) -> Iterator[Relation]:
    regions = pick(buffer, "regions")
    if pick(buffer, "double_buffered") is True and _is_count(regions) and regions % 2:
        yield (
            ("weight_buffer", "regions"),
            f"{regions} regions have no halves: a double buffer needs an even number",
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _bits(value: object) -> int:
    """A width of a description, raw or built; 0 when it is absent or wrong (said elsewhere)."""
    if isinstance(value, int):
        return value
    try:
        return int(parse_quantity(value, "width"))
    except SpecError:
        return 0
