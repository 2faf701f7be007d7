from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.npu.array import (
    DATAFLOWS,
    Array,
    output_stationary_ck,
    weight_stationary_ck,
)

SIZES = st.integers(1, 700)


def test_output_stationary_by_hand() -> None:
    # 2 x 3 tiles of 128 x 64, 384 / 4 clocks each, and a skew of 128 + 64 - 2.
    array = Array(rows=128, columns=64, macs=4)
    assert output_stationary_ck(array, 256, 192, 384) == 6 * 96 + 190


def test_one_row_of_x_does_not_wait_for_rows_that_are_not_there() -> None:
    array = Array(rows=128, columns=64, macs=4)
    assert output_stationary_ck(array, 1, 64, 64) == 16 + 63


def test_weight_stationary_by_hand() -> None:
    # 2 x 2 tiles; 128 clocks to load the first one, then 256 rows of x each, and the skew.
    array = Array(rows=128, columns=128, macs=1)
    assert weight_stationary_ck(array, 256, 256, 256) == 128 + 4 * 256 + 254


def test_tiles_take_as_long_as_the_loading_of_the_next_one() -> None:
    array = Array(rows=128, columns=128, macs=1)
    assert weight_stationary_ck(array, 1, 1280, 128) == 128 + 9 * 128 + 1 + 254


@pytest.mark.parametrize("clocks", DATAFLOWS.values())
@given(m=SIZES, n=SIZES, k=SIZES)
def test_no_product_is_faster_than_all_multipliers_at_work(
    clocks: Callable[[Array, int, int, int], int], m: int, n: int, k: int
) -> None:
    array = Array(rows=16, columns=8, macs=4)
    assert clocks(array, m, n, k) * 16 * 8 * 4 >= m * n * k


@pytest.mark.parametrize("clocks", DATAFLOWS.values())
@given(m=SIZES, n=SIZES, k=SIZES)
def test_more_work_never_takes_less_time(
    clocks: Callable[[Array, int, int, int], int], m: int, n: int, k: int
) -> None:
    array = Array(rows=16, columns=8, macs=2)
    now = clocks(array, m, n, k)
    more = ((m + 1, n, k), (m, n + 1, k), (m, n, k + 1))
    assert all(clocks(array, *size) >= now for size in more)
