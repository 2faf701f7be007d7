"""Look-ups: they sum to the integer product in every coding, and no signed form has fewer."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.lookups import (
    MAX_BITS,
    Coding,
    Lookups,
    coding_of,
    first_alike,
    lookups,
    needed,
    planes_of,
    range_of,
)
from bankwidth.errors import SpecError

CODINGS: tuple[Coding, ...] = ("twos", "unsigned", "ternary", "binary")


def drawn(coding: Coding, bits: int, shape: tuple[int, int], seed: int, small: bool) -> Any:
    """Integers of a coding, the least and greatest among them; small ones repeat their sign."""
    rng = np.random.default_rng(seed)
    low, high = range_of(coding, bits)
    if coding == "binary":
        return rng.choice([-1, 1], size=shape)
    if small:
        return rng.integers(max(low, -2), min(high, 2), size=shape, endpoint=True)
    values = rng.integers(low, high, size=shape, endpoint=True)
    values.flat[0], values.flat[-1] = low, high
    return values


def subset_sums(numbers: Any, group: int) -> Any:
    """[groups, 2^group]: the tables of numbers, one sum at a time."""
    padded = np.pad(numbers, (0, -len(numbers) % group)).reshape(-1, group)
    bits = (np.arange(1 << group)[:, None] >> np.arange(group)) & 1
    return padded @ bits.T


def summed(found: Lookups, tables: Any) -> Any:
    """What the look-ups add up to for each member."""
    sign = np.where(found.negate, -1, 1)
    terms = sign * tables[found.group, found.pattern] << found.shift.astype(np.int64)
    sums = np.zeros(found.members, dtype=np.int64)
    np.add.at(sums, found.member, terms)
    return sums


@given(
    coding=st.sampled_from(CODINGS),
    bits=st.integers(1, 16),
    group=st.integers(1, 8),
    members=st.integers(1, 5),
    k=st.integers(1, 30),
    zeros=st.booleans(),
    runs=st.booleans(),
    small=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_look_ups_sum_to_the_integer_product(
    coding: Coding,
    bits: int,
    group: int,
    members: int,
    k: int,
    zeros: bool,
    runs: bool,
    small: bool,
    seed: int,
) -> None:
    values = drawn(coding, bits, (members, k), seed, small)
    numbers = np.random.default_rng(seed + 1).integers(-300, 300, size=k)
    found = lookups(values, bits, group, coding=coding, zeros=zeros, runs=runs)
    assert (summed(found, subset_sums(numbers, group)) == values @ numbers).all()
    places = list(zip(found.group, found.member, found.shift, strict=True))
    assert places == sorted(places)
    assert not (zeros and (found.pattern == 0).any())


@cache
def fewest_terms(bits: int) -> dict[int, int]:
    """Of each number, the terms of its shortest sum of powers of two with signs, by trying all."""
    fewest: dict[int, int] = {}
    for signs in product((-1, 0, 1), repeat=bits + 1):
        number = sum(sign << shift for shift, sign in enumerate(signs))
        fewest[number] = min(fewest.get(number, bits + 1), sum(map(abs, signs)))
    return fewest


@pytest.mark.parametrize("coding", ["twos", "unsigned"])
@given(bits=st.integers(1, 7), group=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_each_different_pattern_takes_the_fewest_terms_there_are(
    coding: Coding, bits: int, group: int, seed: int
) -> None:
    values = drawn(coding, bits, (1, group), seed, small=False)
    planes = planes_of(coding, bits)
    counts: dict[int, int] = {}
    for plane in planes:
        pattern = sum(int(v >> plane.shift & 1) << place for place, v in enumerate(values[0]))
        counts[pattern] = counts.get(pattern, 0) + plane.weight
    counts.pop(0, None)
    expected = sum(fewest_terms(bits)[count] for count in counts.values())
    assert len(lookups(values, bits, group, coding=coding)) == expected


@given(seed=st.integers(0, 2**32 - 1), group=st.integers(1, 6), bits=st.integers(1, 12))
def test_an_option_more_never_looks_up_more(seed: int, group: int, bits: int) -> None:
    values = drawn("twos", bits, (3, 20), seed, small=bool(seed % 2))
    count = {
        options: len(lookups(values, bits, group, zeros=options[0], runs=options[1]))
        for options in product((False, True), repeat=2)
    }
    assert count[False, False] == 3 * bits * -(-20 // group)
    for options, found in count.items():
        assert count[True, True] <= found <= count[False, False], options


def rows(found: Lookups) -> list[tuple[int, int, int, int, bool]]:
    """group, member, pattern, shift, negate of each look-up."""
    columns = (found.group, found.member, found.pattern, found.shift, found.negate)
    return [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def test_a_run_is_two_look_ups_and_one_where_it_reaches_the_sign() -> None:
    # 5 bits: 7 = 00111 and -4 = 11100; bit 2 is in both, bits 0 and 1 in the first alone
    values = np.array([[7, -4]])
    as_they_are = [(0, 0, 1, 0, False), (0, 0, 1, 1, False), (0, 0, 3, 2, False)]
    sign = [(0, 0, 2, 3, False), (0, 0, 2, 4, True)]
    assert rows(lookups(values, 5, 2, runs=False)) == as_they_are + sign
    # bits 0 and 1: 4 - 1; bits 3 and 4: 8 - 16 = -8
    assert rows(lookups(values, 5, 2)) == [
        (0, 0, 1, 0, True),
        (0, 0, 1, 2, False),
        (0, 0, 3, 2, False),
        (0, 0, 2, 3, True),
    ]


def test_runs_apart_are_recoded_together() -> None:
    # 27 = 11011b is 32 - 4 - 1 although bit 2 lies between the runs
    found = lookups(np.array([[27]]), 6, 1)
    assert rows(found) == [(0, 0, 1, 0, True), (0, 0, 1, 2, True), (0, 0, 1, 5, False)]


def test_the_table_s_first_entry_is_looked_up_unless_zeros_are_known() -> None:
    values = np.array([[0, 0], [1, 0]])
    assert rows(lookups(values, 2, 2, zeros=False, runs=False)) == [
        (0, 0, 0, 0, False),
        (0, 0, 0, 1, True),
        (0, 1, 1, 0, False),
        (0, 1, 0, 1, True),
    ]
    assert rows(lookups(values, 2, 2)) == [(0, 1, 1, 0, False)]
    assert len(lookups(values[:1], 2, 2)) == 0


def test_binary_is_twice_the_ones_above_0_less_all_but_none_for_numbers_that_lack() -> None:
    found = lookups(np.array([[-1, 1, 1]]), 1, 2, coding="binary", runs=False)
    assert rows(found) == [
        (0, 0, 3, 0, True),
        (0, 0, 2, 1, False),
        (1, 0, 1, 0, True),
        (1, 0, 1, 1, False),
    ]
    # with runs 2 - 1 of the same pattern is one look-up
    assert rows(lookups(np.array([[-1, 1, 1]]), 1, 2, coding="binary"))[2:] == [(1, 0, 1, 0, False)]


def test_ternary_looks_up_what_is_above_0_and_what_is_below() -> None:
    assert rows(lookups(np.array([[1, 0, -1]]), 2, 3, coding="ternary")) == [
        (0, 0, 1, 0, False),
        (0, 0, 4, 0, True),
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    group=st.integers(1, 6),
    members=st.integers(1, 4),
    bits=st.integers(1, 8),
)
def test_the_entries_needed_can_be_built_one_number_at_a_time(
    seed: int, group: int, members: int, bits: int
) -> None:
    found = lookups(drawn("twos", bits, (members, 13), seed, small=False), bits, group)
    entries = needed(found)
    assert entries.shape == (found.groups, 1 << group)
    for row, entry in np.argwhere(entries).tolist():
        others = entry & (entry - 1)
        assert others == 0 or entries[row, others]
        lower = (entry & -entry) - 1
        patterns = found.pattern[found.group == row].tolist()
        assert entry in [pattern & ~lower for pattern in patterns], "no look-up needs it"
    assert entries[found.group, found.pattern].all()


def test_the_entries_that_a_sum_is_built_from_lack_its_lowest_numbers() -> None:
    # one pattern: 1101b needs 1100b and 1000b
    entries = needed(lookups(np.array([[1, 0, 1, 1]]), 2, 4))
    assert np.flatnonzero(entries[0]).tolist() == [0b1000, 0b1100, 0b1101]


def test_all_entries_are_needed_by_enough_members() -> None:
    values = np.random.default_rng(1).integers(-128, 127, size=(64, 30))
    assert needed(lookups(values, 8, 3))[:, 1:].all()


@given(seed=st.integers(0, 2**32 - 1), group=st.integers(1, 5), k=st.integers(1, 12))
def test_members_alike_are_those_with_the_same_integers_in_a_group(
    seed: int, group: int, k: int
) -> None:
    values = np.random.default_rng(seed).integers(-1, 1, size=(9, k))
    first = first_alike(values, group)
    for row in range(-(-k // group)):
        part = values[:, row * group : (row + 1) * group].tolist()
        assert first[row].tolist() == [part.index(numbers) for numbers in part]


def test_formats_are_codings() -> None:
    names = ("int1", "int4", "int8", "ternary", "q4_0", "q2_k")
    assert [coding_of(name) for name in names] == [
        "binary", "twos", "twos", "ternary", "twos", "unsigned",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "coding", "said"),
    [
        ([[0, 8]], "twos", r"8 at \[0, 1\], twos of 4 bits: -8 to 7"),
        ([[0], [-1]], "unsigned", r"-1 at \[1, 0\], unsigned of 4 bits: 0 to 15"),
        ([[2]], "ternary", "-1 to 1"),
        ([[1, 0]], "binary", "-1 or 1"),
        ([1, 0], "twos", r"shape \[members, k\], found int64 of shape \[2\]"),
        ([[]], "twos", r"found float64 of shape \[1, 0\]"),
        ([[0.5]], "twos", "found float64"),
    ],
)
def test_what_is_not_in_the_coding_is_refused(values: Any, coding: Coding, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        lookups(np.array(values), 4, 2, coding=coding)


@pytest.mark.parametrize("bits", [0, MAX_BITS + 1])
def test_widths_have_bounds(bits: int) -> None:
    with pytest.raises(SpecError, match=f"integers of {bits} bits"):
        lookups(np.zeros((1, 1), dtype=np.int64), bits, 2)


@pytest.mark.parametrize("group", [0, 17])
def test_groups_have_bounds(group: int) -> None:
    with pytest.raises(SpecError, match=f"a group of {group} numbers"):
        lookups(np.zeros((1, 1), dtype=np.int64), 4, group)


def test_parts_of_a_long_batch_are_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    values = drawn("twos", 8, (6, 100), 3, small=False)
    for runs in (False, True):
        whole = rows(lookups(values, 8, 4, runs=runs))
        with monkeypatch.context() as patch:
            patch.setattr("bankwidth.devices.sram_lut.lookups._CELLS", 1)
            assert rows(lookups(values, 8, 4, runs=runs)) == whole
