"""Standard cells of a process as data, and what blocks that are not worth deriving take of them.

Areas of cells are those of one published library. What counts is their ratio to its NAND2, the
gate equivalent; how large a gate equivalent is on the process at hand is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, DeviceSpec, Relation, Spec, pick

Area = Annotated[float, Field(gt=0)]
Gates = Annotated[float, Field(gt=0)]


class CellAreasSpec(Spec):
    """Areas of cells of least drive, in um2 of the library's own process."""

    inverter_um2: Area
    buffer_um2: Area
    nand2_um2: Area
    nand4_um2: Area
    and2_um2: Area
    or2_um2: Area
    xor2_um2: Area
    aoi22_um2: Area = Field(description="and-or-invert of two pairs")
    mux2_um2: Area
    half_adder_um2: Area
    full_adder_um2: Area
    flip_flop_um2: Area
    flip_flop_reset_um2: Area = Field(description="with asynchronous reset")


class FloatUnitsSpec(Spec):
    """Units of a floating-point format, in gate equivalents."""

    width: Count = Field(description="bits of a number")
    adder_gates: Gates
    multiplier_gates: Gates = Field(description="of two numbers, subnormal ones too")
    flushing_multiplier_gates: Gates = Field(description="that takes subnormal numbers for 0")
    ternary_multiplier_gates: Gates = Field(
        description="the multiplier behind a conversion of a weight of -1, 0 or 1 to the format, "
        "with what the few values leave of it"
    )


class DecodersSpec(Spec):
    """Decoders of packed ternary weights, in gate equivalents."""

    five_in_eight_gates: Gates = Field(description="a byte to five weights of two bits")
    two_bit_index_gates: dict[str, Gates] = Field(
        description="weights of two bits to a sign and an index, by the size of the group"
    )


class CellLibrarySpec(DeviceSpec):
    """Cells, and the size of a gate equivalent on the process they are used for."""

    kind: Literal["cells"]
    process_nm: Area = Field(description="that `gate_um2` is of")
    gate_um2: Area = Field(description="a NAND2 of least drive on that process")
    cells: CellAreasSpec
    formats: dict[str, FloatUnitsSpec] = Field(min_length=1, description="by name")
    decoders: DecodersSpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The NAND2 is the least of the cells with two inputs."""
        cells = pick(data, "cells")
        nand = pick(cells, "nand2_um2")
        for name in ("and2_um2", "or2_um2", "xor2_um2", "mux2_um2", "full_adder_um2"):
            area = pick(cells, name)
            if isinstance(area, int | float) and isinstance(nand, int | float) and area < nand:
                yield ("cells", name), f"{area:g} um2, below the NAND2's {nand:g}"
