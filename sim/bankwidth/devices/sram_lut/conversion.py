"""Type conversion in the arrays: makers of commands, the rows that they need, and their programs.

A maker appends commands to a builder: `maker(builder, dst, src, scratch, ...)` reads the value at
row `src`, writes the one at row `dst`, which must not overlap it, and uses rows from `scratch` on,
whose contents do not matter before and mean nothing after. All lanes do the same at once.

| maker | gives | file |
| --- | --- | --- |
| int_to_float | fp32 of an integer | int_to_float.py |
| dequantise | fp32 of an integer times a scale | dequantise.py |
| quantise | an integer of fp32 or fp16 times a scale | float_to_int.py |
| scale_integer | an integer times an integer, shifted and rounded | scale.py |
| half_to_single, single_to_half | fp32 of fp16, and back | half_float.py |
| absolute_maximum | the largest magnitude of neighbouring lanes | lane_maximum.py |

Under Neural Cache's costs, of all lanes of an array at once, with the scratch rows: int8 to fp32 96
cycles (14 rows); times a known scale about 320 (65), a scale of fp16 per lane 404 (75), of fp32 529
(93); int24 to fp32 232 (21), times a known scale about 580 (109), of fp32 per lane 1145 (135). fp32
to int8 with a known scale about 540 (114), with one per lane 1035 (140). An int32 accumulator to
int8 with a known multiplier and one rounding 527 (128). fp16 to fp32 149 (16), back 238 (55). The
largest of 256 lanes of fp32 802 (65).

Each looks at single bits of a value, which are rows only in the `transposed` layout
(`check_layout`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bankwidth.devices.sram_lut.cells import Layout
from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.devices.sram_lut.dequantise import dequantise
from bankwidth.devices.sram_lut.float_multiply import LaneScale, ProgramScale
from bankwidth.devices.sram_lut.float_to_int import quantise
from bankwidth.devices.sram_lut.half_float import half_to_single, single_to_half
from bankwidth.devices.sram_lut.int_to_float import Codes, int_to_float
from bankwidth.devices.sram_lut.lane_maximum import absolute_maximum
from bankwidth.devices.sram_lut.scale import (
    LaneMultiplier,
    Shift,
    gemmlowp_shifts,
    scale_integer,
)
from bankwidth.errors import MappingError

__all__ = [
    "Codes",
    "LaneMultiplier",
    "LaneScale",
    "Maker",
    "ProgramScale",
    "Shift",
    "absolute_maximum",
    "check_layout",
    "dequantise",
    "gemmlowp_shifts",
    "half_to_single",
    "int_to_float",
    "program_of",
    "quantise",
    "rows_needed",
    "scale_integer",
    "single_to_half",
]

Maker = Callable[..., int]
ELSEWHERE: Final = 64  # rows apart, so that nothing overlaps while rows are counted


def check_layout(layout: Layout) -> None:
    """Raises MappingError for arrays in which a value lies in one row."""
    if layout != "transposed":
        raise MappingError(
            f"type conversion in arrays of layout {layout!r}: it needs single bits of a value as "
            "rows, which only layout 'transposed' has; convert beside the arrays or on the host "
            "(mapping.sram_lut.convert: host)"
        )


def program_of(
    maker: Maker,
    dst: int,
    src: int,
    scratch: int,
    *,
    layout: Layout = "transposed",
    **options: Any,
) -> Program:
    """The program of one conversion. Raises MappingError for a layout that cannot do it."""
    check_layout(layout)
    builder = ProgramBuilder()
    maker(builder, dst, src, scratch, **options)
    return builder.build()


def rows_needed(maker: Maker, **options: Any) -> int:
    """Rows of scratch of a conversion, counted as it writes a program that nobody runs."""
    return maker(ProgramBuilder(), 0, ELSEWHERE, 2 * ELSEWHERE, **options)
