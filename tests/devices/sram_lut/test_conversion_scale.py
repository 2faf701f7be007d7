"""Fixed-point requantisation against Python's integers."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.conversion import (
    LaneMultiplier,
    Shift,
    gemmlowp_shifts,
    scale_integer,
)
from bankwidth.errors import SpecError
from bankwidth.validate.lut_conversion import SECOND, Operand, converted

ROUNDINGS = ("down", "half_up", "half_away", "half_even")


def shifted(x: int, shift: Shift) -> int:
    """One shift on exact fractions."""
    exact = Fraction(x, 1 << shift.bits)
    match shift.rounding:
        case "down":
            return floor(exact)
        case "half_up":
            return floor(exact + Fraction(1, 2))
        case "half_away":
            return floor(abs(exact) + Fraction(1, 2)) * (1 if x >= 0 else -1)
        case "half_even":
            return round(exact)
    raise AssertionError(shift.rounding)


def expected(x: int, multiplier: int, shifts: Any, out_bits: int, zero_point: int = 0) -> int:
    total = x * multiplier
    for shift in shifts:
        total = shifted(total, shift)
    half = 1 << (out_bits - 1)
    return max(-half, min(half - 1, total + zero_point))


def gemmlowp(x: int, multiplier: int, right_shift: int) -> int:
    """SaturatingRoundingDoublingHighMul and RoundingDivideByPOT as they are written there."""
    product = x * multiplier
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    total = abs(product + nudge) // (1 << 31) * (1 if product + nudge >= 0 else -1)
    mask = (1 << right_shift) - 1
    threshold = (mask >> 1) + (total < 0)
    return (total >> right_shift) + ((total & mask) > threshold)


@st.composite
def accumulators(draw: st.DrawFn) -> tuple[int, list[int]]:
    bits = draw(st.integers(2, 40))
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return bits, [low, high, 0, -1, *draw(st.lists(st.integers(low, high), max_size=4))]


SHIFTS = st.lists(st.builds(Shift, st.integers(0, 50), st.sampled_from(ROUNDINGS)), max_size=3)


@given(accumulators(), st.integers(-(2**31), 2**31), SHIFTS, st.integers(2, 40), st.data())
def test_a_known_multiplier_is_exact(
    x: tuple[int, list[int]], multiplier: int, shifts: list[Shift], out_bits: int, data: Any
) -> None:
    bits, values = x
    how: dict[str, Any] = {"multiplier": multiplier, "shifts": shifts, "out_bits": out_bits}
    how["zero_point"] = data.draw(st.sampled_from([0, 0, 1, -128, 2**out_bits]))
    found = converted(scale_integer, Operand(bits, np.array(values)), out_bits, bits=bits, **how)
    assert found.tolist() == [expected(value, **how) for value in values]


@given(accumulators(), st.integers(2, 20), SHIFTS, st.data())
def test_a_multiplier_per_lane_is_exact(
    x: tuple[int, list[int]], multiplier_bits: int, shifts: list[Shift], data: Any
) -> None:
    bits, values = x
    half = 1 << (multiplier_bits - 1)
    draws = st.lists(st.integers(-half, half - 1), min_size=len(values), max_size=len(values))
    multipliers = [-half, *data.draw(draws)][: len(values)]
    second = Operand(multiplier_bits, np.array(multipliers))
    how: dict[str, Any] = {"multiplier": LaneMultiplier(SECOND, multiplier_bits), "shifts": shifts}
    operand = Operand(bits, np.array(values))
    found = converted(scale_integer, operand, 8, second, bits=bits, out_bits=8, **how)
    pairs = zip(values, multipliers, strict=True)
    assert found.tolist() == [expected(a, b, shifts, 8) for a, b in pairs]


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=8, max_size=8),
    st.integers(2**30, 2**31 - 1),
    st.integers(0, 20),
)
def test_two_roundings_are_those_of_gemmlowp(
    values: list[int], multiplier: int, right_shift: int
) -> None:
    how: dict[str, Any] = {"multiplier": multiplier, "shifts": gemmlowp_shifts(right_shift)}
    operand = Operand(32, np.array(values))
    found = converted(scale_integer, operand, 32, bits=32, out_bits=32, **how)
    assert found.tolist() == [gemmlowp(x, multiplier, right_shift) for x in values]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_halves_of_both_signs(rounding: Any) -> None:
    values = np.arange(-9, 10)
    how: dict[str, Any] = {"bits": 5, "multiplier": 1, "out_bits": 5}
    found = converted(
        scale_integer, Operand(5, values), 5, shifts=[Shift(1, rounding)], **how
    ).tolist()
    at_half = {"down": (-2, 1), "half_up": (-1, 2), "half_away": (-2, 2), "half_even": (-2, 2)}
    assert (found[9 - 3], found[9 + 3]) == at_half[rounding]
    assert found == [shifted(int(x), Shift(1, rounding)) for x in values]


@pytest.mark.parametrize("rounding", ["half_up", "half_away"])
def test_a_half_that_goes_up_to_one_has_a_bit_for_its_sign(rounding: Any) -> None:
    """-8 x -1 / 16, and -8 x -8 / 128: all that is left of the product is its sign."""
    smallest = Operand(4, np.array([-8]))
    how: dict[str, Any] = {"bits": 4, "out_bits": 4}
    shifts = [[Shift(bits, rounding)] for bits in (4, 7)]
    found = converted(scale_integer, smallest, 4, multiplier=-1, shifts=shifts[0], **how)
    assert found.tolist() == [1]
    lane = LaneMultiplier(SECOND, 4)
    found = converted(
        scale_integer, smallest, 4, smallest, multiplier=lane, shifts=shifts[1], **how
    )
    assert found.tolist() == [1]


def test_wrong_descriptions_are_refused() -> None:
    with pytest.raises(SpecError, match="shift by -1: must be 0 or more"):
        Shift(-1)
    with pytest.raises(SpecError, match="did you mean 'half_even'"):
        Shift(3, "halfeven")  # type: ignore[arg-type]
    how: dict[str, Any] = {"multiplier": 3, "shifts": ()}
    operand = Operand(4, np.zeros(1, dtype=np.int64))
    with pytest.raises(SpecError, match="a result of 1 bits: scaling takes 2 bits or more"):
        converted(scale_integer, operand, 1, bits=4, out_bits=1, **how)
    with pytest.raises(SpecError, match="an accumulator of 1 bits"):
        converted(scale_integer, operand, 4, bits=1, out_bits=4, **how)
