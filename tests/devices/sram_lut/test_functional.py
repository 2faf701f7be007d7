"""Products on the bits of arrays are those of integers, for every precision, layout and dealing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.devices.sram_lut.problems import problems

from bankwidth.devices.sram_lut.engine import rows_of
from bankwidth.devices.sram_lut.functional import product_of
from bankwidth.devices.sram_lut.product import Chip, Product
from bankwidth.devices.sram_lut.tiling import tilings


@settings(deadline=None, max_examples=150)
@given(problems(), st.data())
def test_products_are_those_of_integers(
    problem: tuple[Chip, Product, NDArray[np.int64]], data: st.DataObject
) -> None:
    chip, product, numbers = problem
    ways = list(tilings(product.shape, chip.hardware, rows_of(chip, product)))
    tiling = data.draw(st.sampled_from(ways))
    found = product_of(chip, product, numbers, tiling=tiling)
    assert (found == product.values.astype(np.int64) @ numbers).all()


@settings(deadline=None, max_examples=15)
@given(problems(), st.integers(0, 2**32))
def test_sums_leave_as_single_precision_times_their_scale(
    problem: tuple[Chip, Product, NDArray[np.int64]], seed: int
) -> None:
    chip, product, numbers = problem
    chip = replace(chip, layout="transposed", word_bits=0)
    random = np.random.default_rng(seed)
    scales = random.uniform(1e-4, 2, product.lanes).astype(np.float16)
    found = product_of(chip, replace(product, convert=True), numbers, scales=scales)
    sums = (product.values.astype(np.int64) @ numbers).astype(np.float32)
    assert found.dtype == np.float32
    assert (found == sums * scales.astype(np.float32)).all()
