"""How a product is dealt to slices and arrays: tiles of lanes, members, and parts of the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bankwidth.devices.sram_lut.array_rows import ArrayRows, most_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Of a product: `lanes` numbers side by side, `members` that index them, summed over inputs."""

    lanes: int
    members: int
    inputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What there is: slices alike, arrays in each, lanes in each of those."""

    slices: int
    arrays: int
    lanes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """One way to deal it, as the slice with most to do sees it.

    A unit is a tile of lanes with some members; its `parts` arrays share its inputs. `units` of
    them work at once, wave after wave.
    """

    rows: ArrayRows
    lane_tiles: int  # of the slice
    outer_parts: int  # slices that share the inputs
    member_tiles: int
    parts: int
    part_inputs: int  # of one array
    units: int
    waves: int

    @property
    def rounds(self) -> int:
        """Of a wave: as many inputs as a buffer holds in each."""
        return -(-self.part_inputs // self.rows.round_inputs)

    @property
    def groups_per_round(self) -> int:
        """Groups of inputs that a buffer holds."""
        return self.rows.round_inputs // self.rows.group


def tilings(shape: Shape, hardware: Hardware, rows: ArrayRows) -> Iterator[Tiling]:
    """Every way that is tried; `rows` gives widths, group and buffers. None where nothing fits.

    Members of an array are as many as their accumulators fit, evenly dealt, or a power of two,
    which divides arrays better. Powers of two stand for the numbers in between; half the arrays
    may be left idle, and half of these: so twice the arrays can always do as these do.
    """
    lane_tiles = -(-shape.lanes // hardware.lanes)
    for outer in _powers(max(1, hardware.slices // lane_tiles)):
        of_slice = -(-lane_tiles // (hardware.slices // outer))
        inputs = _groups(shape.inputs, outer, rows.group) * rows.group
        for parts in _powers(min(hardware.arrays, inputs // rows.group)):
            part_inputs = _groups(inputs, parts, rows.group) * rows.group
            for groups in _powers(min(MOST_GROUPS, part_inputs // rows.group)):
                for dealt in _with_members(shape, hardware, rows, groups * rows.group):
                    tiles = -(-shape.members // dealt.members)
                    for units in _at_once(of_slice * tiles, hardware.arrays, parts):
                        yield Tiling(
                            rows=dealt,
                            lane_tiles=of_slice,
                            outer_parts=outer,
                            member_tiles=tiles,
                            parts=parts,
                            part_inputs=part_inputs,
                            units=units,
                            waves=-(-of_slice * tiles // units),
                        )


MOST_GROUPS: Final = 8  # of a buffer: more only delay the first of them


def _with_members(
    shape: Shape, hardware: Hardware, rows: ArrayRows, round_inputs: int
) -> Iterator[ArrayRows]:
    """Rows for as many members as fit, and for a power of two; nothing where none fits."""
    wanted = replace(rows, round_inputs=round_inputs, members=0)
    fitting = min(shape.members, most_members(wanted, hardware.rows))
    if fitting:
        evenly = -(-shape.members // -(-shape.members // fitting))
        for members in dict.fromkeys((evenly, 1 << fitting.bit_length() - 1)):
            yield replace(wanted, members=members)


def _groups(inputs: int, ways: int, group: int) -> int:
    """Groups of the largest share."""
    return math.ceil(math.ceil(inputs / group) / ways)


def _powers(most: int) -> Iterator[int]:
    power = 1
    while power <= max(1, most):
        yield power
        power *= 2


def _at_once(units: int, arrays: int, parts: int) -> Iterator[int]:
    """Units that work at once, on all arrays, half of them, half of that, ..."""
    yield from dict.fromkeys(min(units, used // parts) for used in _halves(arrays) if used >= parts)


def _halves(number: int) -> Iterator[int]:
    while number:
        yield number
        number //= 2
