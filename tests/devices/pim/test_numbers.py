"""Number formats: what a format holds stays, the rest goes to the nearest, ties to even."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.pim.numbers import FORMATS, Arithmetic, Floats, accumulated_error

BF16, FP16, FP32 = FORMATS["bf16"], FORMATS["fp16"], FORMATS["fp32"]
normal = st.floats(2**-13, 6e4, width=32)


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1.0, 1.0),
        (1.0 + 2**-8, 1.0),  # half way between 1 and 1 + 2^-7: to the even one
        (1.0 + 3 * 2**-8, 1.0 + 2**-6),  # half way between odd and even
        (1.0 + 2**-8 + 2**-20, 1.0 + 2**-7),
        (-257.0, -256.0),
        (3.3961776e38, float("inf")),  # beyond the largest bf16, 3.3895e38, by more than half
        (float("inf"), float("inf")),
    ],
)
def test_bf16_rounds_to_nearest_even(value: float, rounded: float) -> None:
    assert BF16.round(value) == np.float32(rounded)


def test_not_a_number_stays_one() -> None:
    odd = np.array([0x7F800001, 0xFFFFFFFF], dtype=np.uint32).view(np.float32)
    assert np.isnan(BF16.round(odd)).all()
    assert np.isnan(FP16.round(odd)).all()


@given(normal)
def test_one_rounding_is_within_the_unit_roundoff(value: float) -> None:
    for number in (BF16, FP16, FP32):
        error = abs(float(number.round(value)) - value)
        assert error <= number.unit_roundoff * value
        assert number.round(number.round(value)) == number.round(value)


@given(normal)
def test_bf16_is_the_nearest_of_its_neighbours(value: float) -> None:
    rounded = BF16.round(np.float32(value))
    bits = rounded.reshape(1).view(np.uint32)
    for step in (-0x10000, 0x10000):
        other = (bits.astype(np.int64) + step).astype(np.uint32).view(np.float32)[0]
        assert abs(float(rounded) - value) <= abs(float(other) - value)


def test_the_tree_adds_neighbours_first() -> None:
    """In fp32, 2^24 + 1 is 2^24: which sums are made first shows."""
    arithmetic = Arithmetic(operand=BF16, accumulator=FP32)
    big = 2.0**24
    assert arithmetic.column_sums(floats(big, 1, 1, -big)) == 1.0  # in a row: 0
    assert arithmetic.column_sums(floats(1, 1, big, -big)) == 2.0
    assert arithmetic.column_sums(floats(big, -big, 1)) == 1.0  # an odd one waits


def test_without_a_tree_each_lane_has_its_sum() -> None:
    arithmetic = Arithmetic(operand=FP16, accumulator=FP16, has_tree=False)
    assert arithmetic.column_sums(floats(1, 2, 3)).tolist() == [1, 2, 3]
    assert arithmetic.add(floats(2048), floats(1)) == 2048  # 12 bits do not fit


def test_roundings_are_product_tree_and_columns() -> None:
    assert Arithmetic(operand=BF16, accumulator=FP32).roundings(64, 16) == 1 + 4 + 64
    alone = Arithmetic(operand=FP16, accumulator=FP16, has_tree=False)
    assert alone.roundings(64, 16) == 1 + 64


def test_accumulated_error_says_nothing_beyond_its_range() -> None:
    assert accumulated_error(4, 2**-4) == pytest.approx(0.25 / 0.75)
    assert accumulated_error(16, 2**-4) == float("inf")
