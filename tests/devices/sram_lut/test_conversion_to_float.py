"""Integers to fp32, alone and times a scale, bit for bit as numpy has them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.constant_product import signed_digits
from bankwidth.devices.sram_lut.conversion import (
    Codes,
    LaneScale,
    ProgramScale,
    dequantise,
    int_to_float,
)
from bankwidth.errors import SpecError
from bankwidth.validate.lut_conversion import (
    SECOND,
    Operand,
    converted,
    product,
    stored,
    stored_half,
)

TINY = 2.0**-126
SINGLES = st.integers(0, 2**32 - 1).filter(lambda bits: (bits >> 23) % 256 != 255)
HALVES = st.integers(0, 2**16 - 1).filter(lambda bits: (bits >> 10) % 32 != 31)


@st.composite
def any_codes(draw: st.DrawFn) -> tuple[Codes, np.ndarray[Any, Any]]:
    """Codes of any width, with a zero point or without, and eight of them with both ends."""
    bits, signed = draw(st.integers(2, 31)), draw(st.booleans())
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    codes = Codes(bits=bits, signed=signed, zero_point=draw(st.sampled_from([0, 1, low, high])))
    values = draw(st.lists(st.integers(low, high), min_size=6, max_size=6))
    return codes, np.array([low, high, *values], dtype=np.int64)


def singles(bits: list[int]) -> np.ndarray[Any, Any]:
    return np.array(bits, dtype=np.uint32).view(np.float32)


def numbers(codes: Codes, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (values - codes.zero_point).astype(np.float32)


@given(any_codes())
def test_integers_of_every_width_are_those_of_numpy(drawn: Any) -> None:
    codes, values = drawn
    found = converted(int_to_float, Operand(codes.bits, values), 32, codes=codes)
    assert found.tolist() == stored(numbers(codes, values)).tolist()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8, 9, 11])
@pytest.mark.parametrize("signed", [True, False])
def test_every_code_of_a_narrow_width(bits: int, signed: bool) -> None:
    low = -(1 << (bits - 1)) if signed else 0
    values = np.arange(low, low + (1 << bits), dtype=np.int64)
    for zero_point in (0, 1 << (bits - 1)):
        codes = Codes(bits=bits, signed=signed, zero_point=zero_point)
        found = converted(int_to_float, Operand(bits, values), 32, codes=codes)
        assert found.tolist() == stored(numbers(codes, values)).tolist()


@pytest.mark.parametrize("bits", [25, 26, 28, 30, 32])
def test_wide_integers_are_rounded_to_nearest_and_ties_to_even(bits: int) -> None:
    top, unit = 1 << (bits - 2), 1 << (bits - 25)  # of fp32 at that magnitude
    near = [top + k * unit + part for k in (0, 1, 2, 2**23 - 1) for part in (0, 1, unit // 2)]
    around = [x + d for x in near for d in (-1, 0, 1)] + [2 * top - 1, -2 * top, 1 - 2 * top]
    values = np.array(around + [-x for x in around if x <= 2 * top - 1], dtype=np.int64)
    values = values[(values >= -2 * top) & (values < 2 * top)]
    found = converted(int_to_float, Operand(bits, values), 32, codes=Codes(bits=bits))
    assert found.tolist() == stored(values.astype(np.float32)).tolist()


def test_zero_is_the_positive_zero() -> None:
    codes = Codes(bits=4, signed=False, zero_point=8)
    found = converted(int_to_float, Operand(4, np.array([8, 9, 7])), 32, codes=codes)
    assert found[0] == 0
    assert found[1:].tolist() == stored(np.array([1.0, -1.0], dtype=np.float32)).tolist()


@given(any_codes(), st.lists(SINGLES, min_size=8, max_size=8))
def test_times_a_scale_per_lane_is_numpys_product(drawn: Any, scales: list[int]) -> None:
    codes, values = drawn
    scale = singles(scales)
    second = Operand(32, stored(scale))
    expected = product(numbers(codes, values), scale)
    found = converted(
        dequantise, Operand(codes.bits, values), 32, second, codes=codes, scale=LaneScale(SECOND)
    )
    assert found.tolist() == stored(expected).tolist()


@given(any_codes(), st.lists(HALVES, min_size=8, max_size=8))
def test_times_a_half_scale_per_lane_is_numpys_product(drawn: Any, scales: list[int]) -> None:
    codes, values = drawn
    scale = np.array(scales, dtype=np.uint16).view(np.float16)
    second = Operand(16, stored_half(scale))
    how = {"codes": codes, "scale": LaneScale(SECOND, "fp16")}
    found = converted(dequantise, Operand(codes.bits, values), 32, second, **how)
    expected = numbers(codes, values) * scale.astype(np.float32)
    assert found.tolist() == stored(expected).tolist()


@given(any_codes(), SINGLES.filter(lambda bits: (bits >> 23) % 256 != 0))
@example((Codes(bits=8), np.arange(-128, 128)), 0x3F800000)  # 1
@example((Codes(bits=8), np.arange(-128, 128)), 0x7F7FFFFF)  # the largest
def test_times_a_known_scale_is_numpys_product(drawn: Any, scale: int) -> None:
    codes, values = drawn
    known = singles([scale])
    how = {"codes": codes, "scale": ProgramScale(float(known[0]))}
    found = converted(dequantise, Operand(codes.bits, values), 32, **how)
    expected = product(numbers(codes, values), known)  # its magnitude is no less than the scale's
    assert found.tolist() == stored(expected).tolist()


@pytest.mark.parametrize("bits", [2, 8, 24, 32])
def test_results_on_both_sides_of_the_largest_number(bits: int) -> None:
    codes = Codes(bits=bits, signed=False)
    values = np.append((1 << np.arange(bits)) - 1, [(1 << bits) - 1, (1 << bits) - 2])
    for power in range(127 - bits - 2, 128):
        for significand in (1.0, 2.0 - 2.0**-23, 1.5):
            known = np.array([significand * 2.0**power], dtype=np.float32)
            how = {"codes": codes, "scale": ProgramScale(float(known[0]))}
            found = converted(dequantise, Operand(bits, values), 32, **how)
            expected = product(numbers(codes, values), known)
            assert found.tolist() == stored(expected).tolist()


def test_too_large_is_infinite_and_too_small_is_a_zero_of_its_sign() -> None:
    largest, smallest = np.finfo(np.float32).max, np.float32(TINY)
    subnormal = np.float32(TINY / 2)
    values = np.array([2, -2, 1, -1, 3, -3, 0, 0])
    scale = [largest, largest, smallest, smallest, subnormal, subnormal, largest, -largest]
    second = Operand(32, stored(np.array(scale, dtype=np.float32)))
    how = {"codes": Codes(bits=3), "scale": LaneScale(SECOND)}
    found = converted(dequantise, Operand(3, values), 32, second, **how)
    expected = [np.inf, -np.inf, TINY, -TINY, 0.0, -0.0, 0.0, -0.0]
    assert found.tolist() == stored(np.array(expected, dtype=np.float32)).tolist()


@given(st.integers(-(2**40), 2**40))
def test_signed_digits_are_sparse_and_add_up(factor: int) -> None:
    digits = signed_digits(factor)
    assert sum(digit << place for place, digit in digits) == factor
    places = [place for place, _ in digits]
    assert all(b - a >= 2 for a, b in itertools.pairwise(places))


@pytest.mark.parametrize("bits", [1, 33])
def test_widths_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(SpecError, match=f"integers of {bits} bits: conversion takes 2 to 32 bits"):
        Codes(bits=bits)


def test_a_zero_point_that_makes_numbers_too_wide_is_refused() -> None:
    with pytest.raises(SpecError, match="zero point -1: numbers would have 33 bits"):
        Codes(bits=32, signed=False, zero_point=-1)


@pytest.mark.parametrize("value", [0.0, math.inf, math.nan, 1e-40])
def test_a_known_scale_must_be_normal(value: float) -> None:
    with pytest.raises(SpecError, match="must be a normal number of fp32"):
        ProgramScale(value)


def test_a_known_scale_must_be_one_of_fp32() -> None:
    with pytest.raises(SpecError, match=r"the nearest is 0\.10000000149011612"):
        ProgramScale(0.1)


def test_an_unknown_format_of_a_scale_is_refused() -> None:
    how: dict[str, Any] = {"codes": Codes(bits=4), "scale": LaneScale(SECOND, "bf16")}  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="float format 'bf16': conversion knows fp32 and fp16"):
        converted(dequantise, Operand(4, np.arange(4)), 32, **how)
