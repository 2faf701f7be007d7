"""What compute SRAM is, and what is asked of it, in plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.dequantiser import SINGLE_BITS
from bankwidth.devices.sram_lut.lookups import Coding, Lookups, lookups
from bankwidth.devices.sram_lut.tiling import Hardware, Shape

Algorithm = Literal["weight_tables", "activation_tables", "multiply"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """Compute SRAM in plain numbers."""

    slices: int
    banks_per_slice: int
    arrays_per_bank: int
    rows: int
    columns: int
    layout: Literal["transposed", "words"]
    word_bits: int
    buffers: int
    slice_bus_bits: int
    bank_port_bits: int

    @property
    def lanes(self) -> int:
        """Of one array."""
        return self.columns // self.word_bits if self.layout == "words" else self.columns

    @property
    def hardware(self) -> Hardware:
        """What a product is dealt to."""
        return Hardware(
            slices=self.slices,
            arrays=self.banks_per_slice * self.arrays_per_bank,
            lanes=self.lanes,
            rows=self.rows,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """Integers of a product; `wire_bits` of each go over the bus."""

    bits: int
    coding: Coding
    wire_bits: float

    @property
    def value_bits(self) -> int:
        """As two's complement in an array: what has no sign, or is -1 and 1, is a bit wider."""
        if self.coding in ("ternary", "binary"):
            return 2
        return self.bits + 1 if self.coding == "unsigned" else self.bits


@dataclass(frozen=True, kw_only=True)
class Product:
    """What is asked: numbers in the lanes, and integers [members, inputs] that index them."""

    name: str
    algorithm: Algorithm
    lanes: int
    inputs: int
    numbers: Operand
    index: Operand
    values: NDArray[np.signedinteger]  # [members, inputs], or of the first members: they repeat
    members: int
    group: int
    accumulator_bits: int | None
    zeros: bool
    runs: bool
    needed_entries: bool
    convert: bool  # sums leave as fp32 times their lane's scale

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        return Shape(lanes=self.lanes, members=self.members, inputs=self.inputs)

    @property
    def sum_bits(self) -> int:
        """Width that no sum exceeds."""
        return self.numbers.value_bits + self.index.value_bits + (self.inputs - 1).bit_length()

    @property
    def out_bits(self) -> int:
        """Of a result, as it leaves."""
        return SINGLE_BITS if self.convert else self.accumulated_bits

    @property
    def accumulated_bits(self) -> int:
        """Of a sum in the arrays: as chosen, or as many as it needs."""
        return self.accumulator_bits or self.sum_bits

    def look_up(self) -> Lookups:
        """The look-ups of the members that `values` has."""
        return lookups(
            self.values,
            self.index.bits,
            self.group,
            coding=self.index.coding,
            zeros=self.zeros,
            runs=self.runs,
        )
