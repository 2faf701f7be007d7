"""What a notebook shows for a result."""

from __future__ import annotations

from collections.abc import Callable

from bankwidth.report.words import best_unit, short_energy, short_time, show
from bankwidth.results import Result


def test_a_result_in_a_notebook_shows_key_figures_and_top_operators(result: Result) -> None:
    text = result._repr_html_()
    for shown in ("latency over bound", "1.23 x", "row hit rate", "98.1 %", "gate_up_proj"):
        assert shown in text
    assert "other (2)" in text  # seven operators, the top five named


def test_hostile_names_are_escaped_in_a_notebook(make_result: Callable[..., Result]) -> None:
    assert "<script" not in make_result(1, name=lambda n: f"<script>{n}")._repr_html_()


def test_units_suit_the_size_and_keep_three_digits() -> None:
    assert short_time(3_558_720.0) == "3.56 ms"
    assert short_time(0.0) == "0 ns"
    assert short_time(0.25) == "250 ps"
    assert short_energy(2.5e12) == "2.5 J"
    assert short_energy(3.2e15) == "3200 J"
    assert best_unit(999.0, "time") == (1.0, "ns")
    assert show(0.5, "1") == "50.0 %"
    assert show(4800.0, "B/ns") == "4.8 TB/s"
    assert show(12.0, "FLOP") == "12 FLOP"
