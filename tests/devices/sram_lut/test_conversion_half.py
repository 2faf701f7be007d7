"""fp16 to fp32 and back: every number, ties, subnormal, infinite and not-a-number."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.conversion import half_to_single, single_to_half
from bankwidth.validate.lut_conversion import Operand, converted, stored, stored_half

EVERY = np.arange(1 << 16).astype(np.uint16).view(np.float16)


def test_every_half_is_the_same_number_in_fp32() -> None:
    found = converted(half_to_single, Operand(16, stored_half(EVERY)), 32)
    is_number = ~np.isnan(EVERY)
    assert (found == stored(EVERY.astype(np.float32)))[is_number].all()
    assert np.isnan(found.astype(np.int32).view(np.float32)[~is_number]).all()


def test_every_half_comes_back() -> None:
    found = converted(single_to_half, Operand(32, stored(EVERY.astype(np.float32))), 16)
    assert (found == stored_half(EVERY))[~np.isnan(EVERY)].all()


def test_half_way_between_two_halves_goes_to_the_even_one() -> None:
    numbers = np.unique(EVERY[np.isfinite(EVERY)].astype(np.float64))
    between = (numbers[:-1] + numbers[1:]) / 2
    some = np.concatenate([between[:40], between[30000:33500], between[::37]])
    ties = np.append(some, [65520.0, -65520.0]).astype(np.float32)
    x = np.concatenate([np.nextafter(ties, np.float32(d)) for d in (-np.inf, np.inf)] + [ties])
    with np.errstate(over="ignore"):
        expected = stored_half(x.astype(np.float16))
    assert (converted(single_to_half, Operand(32, stored(x)), 16) == expected).all()


@given(st.lists(st.integers(0, 2**32 - 1), min_size=16, max_size=16))
def test_any_single_becomes_numpys_half(bits: list[int]) -> None:
    x = np.array(bits, dtype=np.uint32).view(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        half = x.astype(np.float16)
    found = converted(single_to_half, Operand(32, stored(x)), 16)
    is_nan = np.isnan(x)
    assert found[~is_nan].tolist() == stored_half(half)[~is_nan].tolist()
    assert np.isnan(found[is_nan].astype(np.int16).view(np.float16)).all()


def test_not_a_number_stays_so_whatever_its_payload() -> None:
    x = np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0x7FFFFFFF], dtype=np.uint32)
    found = converted(single_to_half, Operand(32, stored(x.view(np.float32))), 16)
    assert np.isnan(found.astype(np.int16).view(np.float16)).all()
    assert (found < 0).tolist() == [False, True, False, False]
