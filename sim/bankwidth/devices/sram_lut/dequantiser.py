"""Sums made floating point in the arrays: fp32 of a sum times its lane's scale.

The lane's scale is the weights' own, in fp16. The scale of a token, one number for all of its
results, is left to who reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.devices.sram_lut.cells import Layout
from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.devices.sram_lut.conversion import (
    Codes,
    LaneScale,
    check_layout,
    dequantise,
    rows_needed,
)
from bankwidth.errors import MappingError

SINGLE_BITS: Final = 32
SCALE_BITS: Final = 16
SCALE_ROW: Final = 0
RESULT_ROW: Final = SCALE_ROW + SCALE_BITS
SCRATCH_ROW: Final = RESULT_ROW + SINGLE_BITS
WIDEST_SUM: Final = 32


@dataclass(frozen=True, slots=True)
class Dequantiser:
    """Sums of `bits` times their lane's scale; it works in rows 0 to `rows`."""

    bits: int

    @property
    def rows(self) -> int:
        """Rows below the accumulators that it needs."""
        scale = LaneScale(SCALE_ROW, "fp16")
        return SCRATCH_ROW + rows_needed(dequantise, codes=Codes(bits=self.bits), scale=scale)

    def scales(self) -> Program:
        """Scales of the lanes in, as data `scale`: once for all members."""
        builder = ProgramBuilder()
        builder.write(SCALE_ROW, SCALE_BITS, "scale")
        return builder.build()

    def member(self, row: int) -> Program:
        """The sum at `row`, as fp32 at `RESULT_ROW`."""
        builder, scale = ProgramBuilder(), LaneScale(SCALE_ROW, "fp16")
        dequantise(builder, RESULT_ROW, row, SCRATCH_ROW, codes=Codes(bits=self.bits), scale=scale)
        return builder.build()


def dequantiser_of(layout: Layout, bits: int, name: str) -> Dequantiser:
    """For sums of so many bits. Raises MappingError where arrays cannot convert them."""
    check_layout(layout)
    if bits > WIDEST_SUM:
        raise MappingError(
            f"{name}: sums of {bits} bits, arrays convert up to {WIDEST_SUM}: use fewer bits of "
            f"activations, or mapping.sram_lut.convert: host"
        )
    return Dequantiser(bits)
