"""Products on the bits of arrays are those of integers, for every precision, layout and dealing."""

from __future__ import annotations

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
    found = product_of(chip, product, numbers, tiling)
    assert (found == product.values.astype(np.int64) @ numbers).all()
