"""Activations made integers in the arrays, batch after batch of what all arrays hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.devices.sram_lut.test_engine import NEURAL_CACHE, chip

from bankwidth.devices.sram_lut.quantising import quantising_of
from bankwidth.errors import MappingError


def test_more_than_all_arrays_hold_takes_longer() -> None:
    small = chip(slice_bus_bits=10**9)  # the bus takes a cycle
    once = 4 * 8 * 256  # lanes of all arrays
    one, two = (quantising_of(small, NEURAL_CACHE, n, 8).cycles for n in (once, once + 1))
    assert two - 1 == 2 * (one - 1)


def test_the_bus_moves_singles_in_and_integers_out() -> None:
    found = quantising_of(chip(), NEURAL_CACHE, 4096, 8)
    assert found.bus_bits == 4096 * (32 + 8)
    assert found.port_rows == 16 * (32 + 8)  # arrays of 256 lanes


def test_words_are_converted_elsewhere() -> None:
    words = replace(chip(), layout="words", word_bits=32)
    with pytest.raises(MappingError, match="convert: host"):
        quantising_of(words, NEURAL_CACHE, 4096, 8)
