"""Commands on real bits against integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.errors import SimulationError

LAYOUTS = st.sampled_from(["transposed", "words"])
WIDTHS = st.integers(1, 12)


def cells(layout: Any) -> Cells:
    return Cells(64, 256, layout, 32)


def wrapped(value: int, bits: int) -> int:
    """Two's complement of the low bits."""
    low = int(value % 2**bits)
    return low - (1 << bits) if low >= 1 << (bits - 1) else low


def place(layout: str, slot: int) -> int:
    """The row of a value: 16 rows each where values stand upright."""
    return slot if layout == "words" else 16 * slot


@st.composite
def operand(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A width (below zero: unsigned) and the values of three lanes."""
    bits, signed = draw(WIDTHS), draw(st.booleans())
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = draw(st.lists(st.integers(low, high), min_size=3, max_size=3))
    return (bits if signed else -bits), values


def run(layout: Any, word: str, a: Any, b: Any, bits: int) -> list[int]:
    builder = ProgramBuilder()
    rows = [place(layout, slot) for slot in range(3)]
    builder.write(rows[0], abs(a[0]), "a")
    builder.write(rows[1], abs(b[0]), "b")
    getattr(builder, word)(rows[2], rows[0], rows[1], bits, a[0], b[0])
    builder.read(rows[2], bits, "y")
    data = {"a": np.array(a[1]), "b": np.array(b[1])}
    found: list[int] = cells(layout).execute(builder.build(), data)["y"][:3].tolist()
    return found


@given(LAYOUTS, operand(), operand(), st.integers(1, 16))
def test_sums_differences_and_products_are_those_of_integers(
    layout: str, a: tuple[int, list[int]], b: tuple[int, list[int]], bits: int
) -> None:
    pairs = list(zip(a[1], b[1], strict=True))
    if bits >= max(abs(a[0]), abs(b[0])):
        assert run(layout, "add", a, b, bits) == [wrapped(x + y, bits) for x, y in pairs]
        assert run(layout, "subtract", a, b, bits) == [wrapped(x - y, bits) for x, y in pairs]
        assert run(layout, "multiply", a, b, bits) == [wrapped(x * y, bits) for x, y in pairs]


@given(LAYOUTS, operand(), st.integers(-(2**15), 2**15 - 1), st.integers(0, 15), st.booleans())
def test_accumulating_at_a_shift(
    layout: str, a: tuple[int, list[int]], start: int, shift: int, negate: bool
) -> None:
    builder = ProgramBuilder()
    builder.write(place(layout, 0), abs(a[0]), "a")
    builder.write(place(layout, 1), 16, "sum")
    builder.accumulate(place(layout, 1), place(layout, 0), 16, a[0], shift, negate=negate)
    builder.read(place(layout, 1), 16, "y")
    data = {"a": np.array(a[1]), "sum": np.full(3, start)}
    found = cells(layout).execute(builder.build(), data)["y"][:3].tolist()
    sign = -1 if negate else 1
    assert found == [wrapped(start + sign * (x << shift), 16) for x in a[1]]


@pytest.mark.parametrize("layout", ["transposed", "words"])
def test_tagged_commands_write_only_the_lanes_with_the_tag(layout: Any) -> None:
    builder = ProgramBuilder()
    builder.write(place(layout, 0), 4, "a")
    builder.write(place(layout, 1), 4, "b")
    builder.tag(place(layout, 0))
    builder.copy(place(layout, 1), place(layout, 0), 4, tagged=True)
    builder.tag(place(layout, 0), inverted=True)
    builder.clear(place(layout, 1), 4, tagged=True)
    builder.read(place(layout, 1), 4, "y")
    data = {"a": np.array([1, 2, 3, 4]), "b": np.array([7, 7, 7, 7])}
    assert cells(layout).execute(builder.build(), data)["y"][:4].tolist() == [1, 0, 3, 0]


@pytest.mark.parametrize("layout", ["transposed", "words"])
def test_logic_and_lane_shifts(layout: Any) -> None:
    builder = ProgramBuilder()
    rows = [place(layout, slot) for slot in range(3)]
    builder.write(rows[0], 4, "a")
    builder.write(rows[1], 4, "b")
    for word in ("and", "or", "xor"):
        builder.logic(word, rows[2], rows[0], rows[1], 4)
        builder.read(rows[2], 4, word)
    builder.invert(rows[2], rows[0], 4)
    builder.read(rows[2], 4, "not")
    builder.lane_shift(rows[2], rows[0], 4, 2)
    builder.read(rows[2], 4, "moved")
    data = {"a": np.array([1, 2, 3]), "b": np.array([3, 6, -4])}
    out = cells(layout).execute(builder.build(), data)
    assert out["and"][:3].tolist() == [1, 2, 0]
    assert out["or"][:3].tolist() == [3, 6, -1]
    assert out["xor"][:3].tolist() == [2, 4, -1]
    assert out["not"][:3].tolist() == [-2, -3, -4]
    assert out["moved"][:3].tolist() == [3, 0, 0]
    assert out["moved"][-1] == 0


def test_rows_beyond_the_array_are_refused() -> None:
    builder = ProgramBuilder()
    builder.clear(60, 8)
    with pytest.raises(SimulationError, match="rows 60 to 67 of an array of 64"):
        cells("transposed").execute(builder.build())
    builder = ProgramBuilder()
    builder.clear(0, 40)
    with pytest.raises(SimulationError, match="40 bits in words of 32"):
        cells("words").execute(builder.build())


def test_programs_keep_their_data_when_joined() -> None:
    first, second = ProgramBuilder(), ProgramBuilder()
    first.write(0, 4, "a")
    second.write(4, 4, "b")
    second.read(0, 4, "y")
    second.read(4, 4, "z")
    program = first.build().then(second.build())
    out = cells("transposed").execute(program, {"a": np.array([5]), "b": np.array([-6])})
    assert (out["y"][0], out["z"][0]) == (5, -6)
