"""fp32 and fp16 to integers, and the largest magnitude of lanes, as numpy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import ProgramBuilder
from bankwidth.devices.sram_lut.conversion import (
    LaneScale,
    ProgramScale,
    absolute_maximum,
    quantise,
)
from bankwidth.devices.sram_lut.float_rounding import Single
from bankwidth.devices.sram_lut.float_to_int import store_integer
from bankwidth.devices.sram_lut.floating import Exponent
from bankwidth.devices.sram_lut.workspace import converting
from bankwidth.errors import SpecError
from bankwidth.validate.lut_conversion import (
    SECOND,
    Operand,
    converted,
    flushed,
    stored,
    stored_half,
)

WIDTHS = st.integers(2, 16)
FINITE = st.integers(0, 2**32 - 1).filter(lambda bits: (bits >> 23) % 256 != 255)
EDGES = [0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 0.49999997, 0.50000006, 1e-40, 3.4e38, -3.4e38]


def most(bits: int) -> int:
    return (1 << (bits - 1)) - 1


def singles(bits: list[int]) -> np.ndarray[Any, Any]:
    return np.array(bits, dtype=np.uint32).view(np.float32)


def expected(x: Any, scale: Any, bits: int) -> list[int]:
    """numpy's own float32 arithmetic, subnormal numbers as zero."""
    with np.errstate(over="ignore", under="ignore"):
        factors = (flushed(np.asarray(each, dtype=np.float32)) for each in (x, scale))
        whole = np.rint(np.multiply(*factors))
    found: list[int] = np.clip(whole, -most(bits), most(bits)).astype(np.int64).tolist()
    return found


def per_lane(x: Any, scale: Any, bits: int) -> list[int]:
    operands = Operand(32, stored(x)), Operand(32, stored(scale))
    how = {"bits": bits, "scale": LaneScale(SECOND)}
    found: list[int] = converted(quantise, operands[0], bits, operands[1], **how).tolist()
    return found


def known(x: Any, scale: float, bits: int) -> list[int]:
    how = {"bits": bits, "scale": ProgramScale(scale)}
    found: list[int] = converted(quantise, Operand(32, stored(x)), bits, **how).tolist()
    return found


@given(WIDTHS, st.lists(st.tuples(FINITE, FINITE), min_size=8, max_size=8))
def test_any_number_times_any_scale_of_its_lane(bits: int, pairs: list[tuple[int, int]]) -> None:
    x, scale = (singles([pair[i] for pair in pairs]) for i in (0, 1))
    assert per_lane(x, scale, bits) == expected(x, scale, bits)


@given(WIDTHS, st.integers(0, 2**32 - 1))
def test_numbers_within_the_range_of_the_result(bits: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, 64).astype(np.float32)
    scale = (most(bits) / random.uniform(0.5, 4, 64)).astype(np.float32)
    assert per_lane(x, scale, bits) == expected(x, scale, bits)
    assert known(x, float(scale[0]), bits) == expected(x, scale[0], bits)


@given(WIDTHS, FINITE.filter(lambda bits: (bits >> 23) % 256 != 0))
def test_a_known_scale_of_any_size(bits: int, stored_scale: int) -> None:
    scale = singles([stored_scale])
    x = np.array([*EDGES, 1 / 3, *(np.arange(-3, 4) / np.float64(scale[0]))])
    with np.errstate(over="ignore"):
        x = np.where(np.abs(x) < 3.4e38, x, 1.0).astype(np.float32)
    assert known(x, float(scale[0]), bits) == expected(x, scale, bits)


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
def test_halves_go_to_the_even_neighbour_and_the_ends_are_symmetric(bits: int) -> None:
    ends = 2 * most(bits) + 4
    twice = np.arange(-ends, ends + 1)
    halves = twice[(np.abs(twice) < 300) | (np.abs(twice) > ends - 300)] / 2
    x = np.concatenate([halves, EDGES]).astype(np.float32)
    found = known(x, 1.0, bits)
    assert found == expected(x, 1.0, bits)
    assert (min(found), max(found)) == (-most(bits), most(bits))


def test_the_product_is_rounded_to_fp32_before_it_is_rounded_to_an_integer() -> None:
    """0.1 x 25 is a little above 2.5, and in fp32 just that: 2, where one rounding would give 3."""
    x, scale = np.float32(0.1), np.float32(25.0)
    assert float(x) * float(scale) > 2.5
    assert x * scale == np.float32(2.5)
    assert known(np.array([x]), 25.0, 8) == [2]
    assert per_lane(np.array([x]), np.array([scale]), 8) == [2]


@pytest.mark.parametrize("bits", [4, 8])
def test_every_number_of_fp16(bits: int) -> None:
    half = np.arange(1 << 16).astype(np.uint16).view(np.float16)
    half = half[np.isfinite(half)]
    how: dict[str, Any] = {"bits": bits, "format": "fp16"}
    for scale in (1.0, float(np.float32(most(bits) / 2.7)), 65536.0):
        found = converted(
            quantise, Operand(16, stored_half(half)), bits, scale=ProgramScale(scale), **how
        )
        assert found.tolist() == expected(half.astype(np.float32), np.float32(scale), bits)


def test_lanes_that_are_zero_stay_so_whatever_their_exponent() -> None:
    """Lane 0 is 0 for all that exponent and mantissa say, lane 1 is as large as they say."""
    builder = ProgramBuilder()
    row, nonzero, sign, scratch = 16, 60, 61, 64
    for place, bits, name in ((row, 33, "number"), (nonzero, 1, "nonzero"), (sign, 1, "sign")):
        builder.write(place, bits, name)
    with converting(builder, scratch) as work:
        store_integer(work, 0, Single(row, 10, sign, nonzero, Exponent((), 0, 0, 300)), 8)
    builder.read(0, 8, "y")
    data = {"number": np.array([300 << 23] * 2), "nonzero": np.array([0, 1]), "sign": np.zeros(2)}
    found = Cells(scratch + work.taken, 2).execute(
        builder.build(), {name: lanes.astype(np.int64) for name, lanes in data.items()}
    )
    assert found["y"].tolist() == [0, 127]


@pytest.mark.parametrize("bits", [1, 17])
def test_widths_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(SpecError, match=f"quantising to {bits} bits: conversion takes 2 to 16"):
        known(np.ones(1), 1.0, bits)


@given(st.integers(1, 40), st.lists(st.floats(width=32, allow_nan=False), min_size=40, max_size=40))
def test_the_largest_magnitude_of_neighbours(lanes: int, values: list[float]) -> None:
    x = np.array(values, dtype=np.float32)
    found = converted(absolute_maximum, Operand(32, stored(x)), 32, lanes=lanes)
    largest = [np.abs(x[i : i + lanes]).max() for i in range(len(x))]
    assert found.tolist() == stored(np.array(largest)).tolist()


def test_the_largest_magnitude_of_halves() -> None:
    x = np.array([0.5, -3.0, 6e-8, -65504.0], dtype=np.float16)
    how: dict[str, Any] = {"lanes": 2, "format": "fp16"}
    found = converted(absolute_maximum, Operand(16, stored_half(x)), 16, **how)
    largest = np.array([3.0, 3.0, 65504.0, 65504.0], dtype=np.float16)
    assert found.tolist() == stored_half(largest).tolist()


def test_no_lanes_have_no_largest() -> None:
    with pytest.raises(SpecError, match="the largest of 0 lanes: there must be at least 1"):
        converted(absolute_maximum, Operand(32, np.zeros(1, dtype=np.int64)), 32, lanes=0)


def test_a_block_is_quantised_with_the_scale_found_in_the_arrays() -> None:
    """What the host does between: it reads one lane, divides, and writes a new program."""
    x = np.random.default_rng(3).normal(0, 2, 256).astype(np.float32)
    largest = converted(absolute_maximum, Operand(32, stored(x)), 32, lanes=256)[:1]
    inverse = np.float32(127) / largest.astype(np.int32).view(np.float32)[0]
    found = known(x, float(inverse), 8)
    assert found == expected(x, inverse, 8)
    assert max(map(abs, found)) == 127
