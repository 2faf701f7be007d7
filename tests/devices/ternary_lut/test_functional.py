"""Products through tables against integer products: equal to the last bit, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut.functional import choices, indices, tables, ternary_product
from bankwidth.errors import MappingError


@st.composite
def products(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    m, n, k = (draw(st.integers(1, most)) for most in (3, 20, 40))
    bits = draw(st.integers(1, 16))
    low, high = (-1, 1) if bits == 1 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = random.choice([low, high, 0], (m, k)) if draw(st.booleans()) else None
    x = random.integers(low, high + 1, (m, k)) if x is None else x
    return x, random.integers(-1, 2, (k, n)), bits


@given(
    product=products(),
    group=st.integers(1, 6),
    at_once=st.integers(1, 9),
    lookups=st.integers(1, 24),
    halved=st.booleans(),
)
def test_tables_give_the_integer_product(
    product: tuple[np.ndarray, np.ndarray, int],
    group: int,
    at_once: int,
    lookups: int,
    halved: bool,
) -> None:
    x, weights, bits = product
    ours = ternary_product(
        x,
        weights,
        group=group,
        tables_at_once=at_once,
        lookups=lookups,
        activation_bits=bits,
        halved=halved,
    )
    assert (ours == x @ weights).all()


def test_an_index_is_the_weights_of_a_group_plus_one_in_base_3() -> None:
    weights = np.array([[-1, 1], [0, 1], [1, 1], [1, 0]])
    # (0, 1, 2) is 0 + 3 + 18; (2, 2, 2) is 26; the last group is padded with zeros: 1 + 3 + 9.
    assert indices(weights, 3).tolist() == [[21, 26], [2 + 3 + 9, 13]]


def test_a_halved_table_keeps_13_of_27_sums() -> None:
    x = np.array([5, -7, 11])
    whole, half = tables(x, 3, halved=False), tables(x, 3, halved=True)
    assert whole.shape == (1, 27)
    assert half.shape == (1, 13)
    assert whole[0, 13] == 0
    assert (whole[0, 14:] == half[0]).all()
    assert (whole[0, :13][::-1] == -half[0]).all()


@given(group=st.integers(1, 6))
def test_choices_and_indices_are_each_others_inverse(group: int) -> None:
    every = choices(group)
    assert (indices(every.T, group)[0] == np.arange(3**group)).all()


def test_weights_that_are_not_ternary_are_refused() -> None:
    with pytest.raises(MappingError, match="must be -1, 0 or 1, found 2"):
        indices(np.array([[1], [2]]), 2)


@pytest.mark.parametrize(
    ("value", "bits", "said"),
    [
        (128, 8, "an activation of 8 bits must be -128 to 127, found 128"),
        (2, 1, "an activation of 1 bits must be -1 to 1, found 2"),
        (0, 0, "activations have 1 to 32 bits, not 0"),
        (0, 33, "activations have 1 to 32 bits, not 33"),
    ],
)
def test_activations_that_do_not_fit_are_refused(value: int, bits: int, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        ternary_product(
            np.array([[value]]),
            np.array([[1]]),
            group=1,
            tables_at_once=1,
            lookups=1,
            activation_bits=bits,
        )
