"""Quantities: every dimension, every unit, and every way to get one wrong."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.units import (
    EXAMPLES,
    INTEGER_DIMENSIONS,
    UNITS,
    article,
    format_bytes,
    is_quantity,
    ns_to_ck,
    ns_to_ps,
    parse_quantity,
    ps_to_ns,
    unit_pattern,
)

EVERY_UNIT = [(dimension, unit) for dimension, units in UNITS.items() for unit in units]


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("350 ns", "time", 350.0),
        ("2.4 us", "time", 2400.0),
        ("18 ps", "time", 0.018),
        ("1.5 ms", "time", 1.5e6),
        ("1e-9 s", "time", 1.0),
        ("2 KiB", "size", 2048.0),
        ("141 GB", "size", 141e9),
        ("1 MiB", "size", 2.0**20),
        ("64 bit", "width", 64.0),
        ("4 B", "width", 32.0),
        ("4.8 TB/s", "bandwidth", 4800.0),
        ("1 GiB/s", "bandwidth", 1.073741824),
        ("6.4 GT/s", "pin rate", 6.4),
        ("3200 Mb/s", "pin rate", 3.2),
        ("700 MHz", "frequency", 0.7),
        ("1 PFLOPS", "compute rate", 1000.0),
        ("1.1 nJ", "energy", 1100.0),
        ("2 J", "energy", 2e12),
        ("3.5 pJ/bit", "energy per bit", 3.5),
        ("8 pJ/B", "energy per bit", 1.0),
        ("350 W", "power", 350e3),
        ("1100 mV", "voltage", 1.1),
        ("2 A", "current", 2000.0),
        ("36 ck", "cycles", 36.0),
    ],
)
def test_a_quantity_is_read_in_the_canonical_unit(text: str, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == value


def test_every_dimension_has_an_example_that_parses_and_starts_with_its_first_units() -> None:
    assert set(EXAMPLES) == set(UNITS)
    for dimension, example in EXAMPLES.items():
        assert parse_quantity(example, dimension) > 0
        assert example.split()[1] in UNITS[dimension]
    assert set(UNITS) > INTEGER_DIMENSIONS


@given(st.sampled_from(EVERY_UNIT), st.fractions(0, 10**6, max_denominator=10**4))
def test_scaling_is_exact_up_to_one_rounding(place: tuple[str, str], number: Fraction) -> None:
    dimension, unit = place
    text = f"{float(number):.6f}"
    exact = Fraction(text) * Fraction(repr(UNITS[dimension][unit]))
    assert parse_quantity(f"{text} {unit}", dimension) == float(exact)


@given(st.integers(0, 10**6), st.sampled_from(["GB", "MB", "kB", "GiB", "TiB"]))
def test_sizes_with_decimals_come_out_whole(hundredths: int, unit: str) -> None:
    size = parse_quantity(f"{hundredths / 100:.2f} {unit}", "size")
    exact = Fraction(hundredths, 100) * Fraction(UNITS["size"][unit])
    assert size == float(exact)


def test_a_decimal_size_is_not_spoilt_by_binary_floats() -> None:
    assert 0.067 * 1e9 != 67_000_000  # what a float product gives
    assert parse_quantity("0.067 GB", "size") == 67_000_000


@given(st.sampled_from(EVERY_UNIT), st.sampled_from(sorted(UNITS)))
def test_a_unit_of_another_dimension_is_named(place: tuple[str, str], need: str) -> None:
    _, unit = place
    if unit in UNITS[need]:
        assert parse_quantity(f"1 {unit}", need) == pytest.approx(UNITS[need][unit])
        return
    with pytest.raises(SpecError, match=re.escape(f"need {article(need)}")):
        parse_quantity(f"1 {unit}", need)


def test_a_wrong_dimension_says_both_and_the_allowed_units() -> None:
    with pytest.raises(SpecError) as caught:
        parse_quantity("3 GB", "time")
    assert str(caught.value) == "'3 GB': GB is a size, need a time (ns, ps, us, ms, s)"


def test_an_energy_takes_the_right_article() -> None:
    with pytest.raises(SpecError, match=r"ns is a time, need an energy per bit \("):
        parse_quantity("3 ns", "energy per bit")


@pytest.mark.parametrize("text", [50, 1.5, "50", "1e-9", " 7 "])
def test_a_missing_unit_shows_how_to_write_it(text: object) -> None:
    with pytest.raises(SpecError, match=r"unit missing, write e\.g\. '350 ns'"):
        parse_quantity(text, "time")


@pytest.mark.parametrize(
    "text", [True, None, [1], {"a": 1}, "fast", "", "ns", "16:30", "1..2 ns", "--1 ns"]
)
def test_what_is_no_number_is_refused(text: object) -> None:
    with pytest.raises(SpecError, match=r"is not a time, write e\.g\. '350 ns'"):
        parse_quantity(text, "time")


def test_a_unit_in_wrong_case_gets_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"unknown unit 'KB', a size .*did you mean 'kB'\?"):
        parse_quantity("1 KB", "size")


def test_an_unknown_unit_lists_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"unknown unit 'furlong', a time is written in ns, ps, us"):
        parse_quantity("1 furlong", "time")


@pytest.mark.parametrize("micro", ["\N{MICRO SIGN}s", "\N{GREEK SMALL LETTER MU}s"])
def test_both_micro_letters_are_read(micro: str) -> None:
    assert parse_quantity(f"2.4 {micro}", "time") == 2400.0
    assert is_quantity(f"2.4 {micro}")


@pytest.mark.parametrize("text", ["1e999 ns", "1e400 s", "9" * 99 + "9" * 300 + " ns"])
def test_absurd_numbers_are_refused_quickly(text: str) -> None:
    with pytest.raises(SpecError):
        parse_quantity(text, "time")


def test_signs_and_underscores_are_read() -> None:
    assert parse_quantity("-3 W", "power") == -3000.0
    assert parse_quantity("+1_000 ns", "time") == 1000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3 ns", True), ("4.8 TB/s", True), ("3", False), ("H100 SXM", False), ("2 parts", False)],
)
def test_quantities_are_told_from_texts(text: str, expected: bool) -> None:
    assert is_quantity(text) is expected


@given(st.sampled_from(EVERY_UNIT), st.integers(-99, 10**6))
def test_the_editor_pattern_accepts_what_the_parser_accepts(
    place: tuple[str, str], number: int
) -> None:
    dimension, unit = place
    assert re.search(unit_pattern(dimension), f"{number} {unit}")
    assert not re.search(unit_pattern(dimension), f"{number}")


@given(st.integers(-(2**50), 2**50))
def test_picoseconds_round_trip(time_ps: int) -> None:
    assert ns_to_ps(ps_to_ns(time_ps)) == time_ps


@pytest.mark.parametrize(
    ("time_ns", "tck_ps", "cycles"),
    [
        (14.0, 1000, 14),
        (14.001, 1000, 15),
        (13.75, 625, 22),
        (13.76, 625, 23),
        (0.0, 625, 0),
        (14.00005, 1000, 14),  # forgiven: half of 1e-4
        (14.0002, 1000, 15),
    ],
)
def test_times_are_rounded_up_to_cycles(time_ns: float, tck_ps: int, cycles: int) -> None:
    assert ns_to_ck(time_ns, tck_ps) == cycles


@given(st.integers(0, 10**6), st.sampled_from([250, 312, 333, 500, 625, 1000, 2353]))
def test_whole_cycles_survive_the_way_over_ns(cycles: int, tck_ps: int) -> None:
    assert ns_to_ck(cycles * tck_ps / 1000, tck_ps) == cycles


@pytest.mark.parametrize(
    ("size", "text"), [(13.5e9, "13.5 GB"), (141e9, "141 GB"), (999.0, "999 B"), (2e12, "2 TB")]
)
def test_sizes_are_printed_with_decimal_prefixes(size: float, text: str) -> None:
    assert format_bytes(size) == text
