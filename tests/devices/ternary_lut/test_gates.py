"""Blocks in gate equivalents: against synthesis, against hand counts, and how they grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut.gates import Gates, format_of, shipped_gates
from bankwidth.errors import SpecError
from bankwidth.spec import load_cells

GATES = shipped_gates()
bits = st.integers(1, 40)

# Own synthesis (Yosys 0.23, ABC) of the same blocks onto the same cells, in gate equivalents.
SYNTHESISED = {
    ("adder", 8): 40.7,
    ("adder", 16): 83.3,
    ("adder", 32): 168.7,
    ("subtractor", 16): 93.7,
    ("negator", 10): 40.3,
    ("negator", 24): 103.3,
    ("multiplier", 8, 8): 402.7,
    ("multiplier", 4, 4): 94.7,
    ("multiplier", 16, 16): 1658.7,
    ("multiplier", 8, 2): 66.7,
    ("selector", 1, 16): 22.3,
    ("selector", 4, 16): 121.0,
    ("selector", 13, 16): 254.7,
    ("selector", 13, 10): 172.3,
    ("selector", 40, 16): 798.7,
    ("selector", 121, 10): 2263.0,
    ("sign_flip", 8): 28.3,
    ("sign_flip", 16): 52.4,
}


@pytest.mark.parametrize("block", SYNTHESISED, ids=str)
def test_blocks_are_near_what_synthesis_makes_of_them(block: tuple[str, int]) -> None:
    name, *sizes = block
    found = getattr(GATES, name)(*sizes)
    assert found == pytest.approx(SYNTHESISED[block], rel=0.3)


def test_a_sum_of_two_words_is_full_adders_and_one_half_adder() -> None:
    cells = GATES.library.cells
    area = 7 * cells.full_adder_um2 + cells.half_adder_um2
    assert GATES.adder(8) == pytest.approx(area / cells.nand2_um2)


def test_one_word_is_let_through_and_not_selected() -> None:
    assert GATES.selector(1, 16) == pytest.approx(16 * GATES.and2)


def test_a_gate_equivalent_is_a_nand_in_the_size_of_the_process() -> None:
    doubled = GATES.library.model_copy(update={"gate_um2": 2 * GATES.um2})
    assert Gates(doubled).um2 == 2 * GATES.um2
    assert Gates(doubled).adder(8) == GATES.adder(8)


@given(width=bits)
def test_wider_blocks_are_larger(width: int) -> None:
    for block in (GATES.adder, GATES.subtractor, GATES.negator, GATES.sign_flip, GATES.counter):
        assert 0 < block(width) < block(width + 1)


@given(a=bits, b=bits)
def test_products_are_larger_than_the_sums_in_them(a: int, b: int) -> None:
    product = GATES.multiplier(a, b)
    assert product < GATES.multiplier(a, b + 1)
    assert product >= a * b * GATES.and2


@given(words=st.integers(1, 1100), width=bits)
def test_a_selector_grows_with_words_and_width(words: int, width: int) -> None:
    found = GATES.selector(words, width)
    assert found < GATES.selector(words, width + 1)
    assert found <= GATES.selector(words + 2, width)


@given(width=st.integers(2, 32), terms=st.integers(1, 5000))
def test_a_sum_has_as_many_bits_as_its_largest_value_needs(width: int, terms: int) -> None:
    largest = terms * (2 ** (width - 1) - 1)
    found = format_of(f"int{width}", GATES.library).sum_bits(terms)
    assert -(2 ** (found - 1)) < -largest
    assert largest < 2 ** (found - 1)
    assert found == 2 or largest >= 2 ** (found - 2)


@given(terms=st.integers(1, 5000))
def test_floats_keep_their_width(terms: int) -> None:
    assert format_of("fp16", GATES.library).sum_bits(terms) == 16


@pytest.mark.parametrize("name", ["int1", "int33", "int", "fp17", "intx", "int-8", ""])
def test_an_unknown_format_names_those_allowed(name: str) -> None:
    with pytest.raises(SpecError, match=r"allowed: int2 to int32, .*fp16"):
        format_of(name, GATES.library)


def test_a_misspelt_format_gets_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"did you mean 'bf16'\?"):
        format_of("bf-16", GATES.library)


def test_the_shipped_library_is_loaded_once() -> None:
    assert shipped_gates() is GATES
    assert GATES.library == load_cells()
