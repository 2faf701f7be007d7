"""Instructions that convert stored weights: against FasterTransformer's converters, by hand."""

from __future__ import annotations

import pytest

from bankwidth.devices.gpu.dequantise import conversion_instructions

SCALE = 1 / 2  # one half2 multiply for two weights


def test_four_and_eight_bits_are_as_published() -> None:
    assert conversion_instructions(4) == (1 + 4 + 4) / 8 + SCALE  # shift, lop3, half2 of eight
    assert conversion_instructions(8) == (2 + 2) / 4 + SCALE  # prmt, half2 of four


@pytest.mark.parametrize(("bits", "planes"), [(1, 1), (2, 1), (3, 2), (5, 2), (6, 2), (7, 3)])
def test_each_plane_of_bits_is_merged_in(bits: int, planes: int) -> None:
    assert conversion_instructions(bits) == planes * (1 / 2 + 1 / 8) + 1 / 2 + SCALE


def test_powers_of_three_are_multiplied_apart() -> None:
    assert conversion_instructions(2, in_powers_of_three=True) > conversion_instructions(7)
