"""Addresses as MQSim draws them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.validate.mqsim_addresses import (
    SECTOR_BYTES,
    last_sector,
    random_offsets,
    streaming_offsets,
    uniform,
)

PAGE = 4096
PLANES = st.sampled_from([1, 2, 8, 64])


def test_a_small_seed_steps_the_recurrences_of_the_paper() -> None:
    """Seed 0 moves one step from three ones; the next value by hand from both recurrences."""
    m1, m2 = 4294967087, 4294944443
    one, two = [1, 1, 1], [1, 1, 1]
    for _ in range(2):
        one = [*one[1:], (1403580 * one[1] - 810728 * one[0]) % m1]
        two = [*two[1:], (527612 * two[2] - 1370589 * two[0]) % m2]
    expected = ((one[2] - two[2]) % m1 + 1) * 2.328306549295728e-10
    assert next(uniform(0)) == pytest.approx(expected, rel=1e-15)


def test_it_is_uniform() -> None:
    numbers = np.array(list(islice(uniform(799), 20_000)))
    assert numbers.min() > 0
    assert numbers.max() <= 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), rel=0.1)


def test_a_seed_is_a_number_of_steps() -> None:
    firsts = {seed: next(uniform(seed)) for seed in (0, 1, 199, 200, 799)}
    assert firsts[200] == firsts[1]  # 2 * 2^0 and 1 * 2^1
    assert len(set(firsts.values())) == 4


@given(planes=PLANES, pages=st.integers(1, 8))
def test_random_requests_are_whole_pages_of_the_working_set(planes: int, pages: int) -> None:
    offsets = random_offsets(50, pages * PAGE, PAGE, planes)
    assert not (offsets % PAGE).any()
    assert offsets.max() + pages * PAGE <= (last_sector(planes, PAGE) + 1) * SECTOR_BYTES


@given(planes=PLANES, pages=st.integers(1, 8))
def test_streaming_goes_on_where_it_ended_or_begins_again(planes: int, pages: int) -> None:
    size = pages * PAGE
    offsets = streaming_offsets(200, size, PAGE, planes)
    follows = np.diff(offsets) == size
    assert (follows | (offsets[1:] == 0)).all()
    assert follows.sum() >= 195


def test_streaming_begins_again_at_the_end() -> None:
    size = 1024 * PAGE
    offsets = streaming_offsets(100, size, PAGE, 1)  # 30 720 pages are used of one plane
    assert (offsets == 0).sum() >= 3
    assert offsets.max() + size <= (last_sector(1, PAGE) + 1) * SECTOR_BYTES
