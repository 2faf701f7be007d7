"""Small products on small chips, of every precision, layout and algorithm."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.lookups import range_of
from bankwidth.devices.sram_lut.product import Chip, Operand, Product

CODINGS = st.sampled_from(["twos", "unsigned", "ternary", "binary"])


def integers(
    random: np.random.Generator, coding: Any, bits: int, shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Numbers of a coding, those at its ends often."""
    low, high = range_of(coding, bits)
    drawn = random.integers(low, high + 1, shape)
    ends = random.choice([low, high], shape)
    values = np.where(random.random(shape) < 0.3, ends, drawn)
    return np.where(values == 0, 1, values) if coding == "binary" else values


def operand(coding: Any, bits: int) -> Operand:
    width = {"ternary": 2, "binary": 1}.get(coding, bits)
    return Operand(bits=width, coding=coding, wire_bits=width)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Chip, Product, NDArray[np.int64]]:
    """A small chip, a product on it, and the numbers of its lanes."""
    layout: Any = draw(st.sampled_from(["transposed", "words"]))
    chip = Chip(
        slices=draw(st.integers(1, 4)), banks_per_slice=1, arrays_per_bank=draw(st.integers(1, 8)),
        rows=640, columns=draw(st.integers(1, 3)) * 32, layout=layout,
        word_bits=32 if layout == "words" else 0, buffers=draw(st.integers(1, 2)),
        slice_bus_bits=64, bank_port_bits=64,
    )  # fmt: skip
    algorithm: Any = draw(st.sampled_from(["weight_tables", "activation_tables", "multiply"]))
    members, inputs, lanes = (draw(st.integers(1, most)) for most in (5, 30, 70))
    numbers = operand(draw(CODINGS), draw(st.integers(2, 8)))
    index = operand(draw(CODINGS), draw(st.integers(2, 16)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    product = Product(
        name="p", algorithm=algorithm, lanes=lanes, inputs=inputs, numbers=numbers, index=index,
        values=integers(random, index.coding, index.bits, (members, inputs)), members=members,
        group=draw(st.integers(1, 5)), accumulator_bits=None, zeros=draw(st.booleans()),
        runs=draw(st.booleans()), needed_entries=draw(st.booleans()), convert=False,
    )  # fmt: skip
    return chip, product, integers(random, numbers.coding, numbers.bits, (inputs, lanes))
