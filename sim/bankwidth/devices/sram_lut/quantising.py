"""Activations made integers in the arrays, before their bits index tables.

Against the largest magnitude of their token: the arrays find their lanes', the largest of these is
found beside them, and its reciprocal comes back as the scale of all lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.devices.sram_lut.conversion import (
    LaneScale,
    absolute_maximum,
    check_layout,
    quantise,
)
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.dequantiser import SINGLE_BITS
from bankwidth.devices.sram_lut.product import Chip


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantising:
    """Activations made integers in all arrays at once."""

    cycles: int
    array_cycles: int  # of all arrays that take part
    port_rows: int
    bus_bits: int


def quantising_of(chip: Chip, costs: Costs, elements: int, bits: int) -> Quantising:
    """fp32 in, largest magnitudes out, scales in, integers out: dealt to all arrays of all slices.

    Raises MappingError where arrays cannot convert, SpecError for widths that they cannot.
    """
    check_layout(chip.layout)
    arrays = chip.slices * chip.hardware.arrays
    used = -(-elements // chip.lanes)
    batches = -(-used // arrays)
    program = _quantise(bits, chip.lanes)
    own = costs.total(program)
    moved = -(-elements // chip.slices) * (SINGLE_BITS + bits)
    rows = SINGLE_BITS + bits
    return Quantising(
        cycles=batches * own + math.ceil(moved / chip.slice_bus_bits),
        array_cycles=used * own,
        port_rows=used * rows,
        bus_bits=moved * chip.slices,
    )


def _quantise(bits: int, lanes: int) -> Program:
    source, scale, scratch = 0, SINGLE_BITS, 3 * SINGLE_BITS
    largest = 2 * SINGLE_BITS
    builder = ProgramBuilder()
    builder.write(source, SINGLE_BITS, "x")
    absolute_maximum(builder, largest, source, scratch, lanes=lanes)
    builder.read(largest, SINGLE_BITS, "largest")
    builder.write(scale, SINGLE_BITS, "scale")
    quantise(builder, largest, source, scratch, bits=bits, scale=LaneScale(scale))
    builder.read(largest, bits, "integers")
    return builder.build()
