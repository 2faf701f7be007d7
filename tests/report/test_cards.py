"""What a notebook shows for a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bankwidth.report.cards import key_figures
from bankwidth.report.words import (
    best_unit,
    format_count,
    format_dollars,
    short_energy,
    short_time,
    show,
)
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


def test_what_a_token_costs_is_shown_where_a_price_is_known(result: Result) -> None:
    # 445 us of $3.60 an hour: 0.445 millionths of a dollar for one token
    priced = dict(key_figures(replace(result, cost_dollars=4.45e-7)))
    assert priced["tokens per dollar"] == "2,247,191"
    assert priced["cost per M tokens"] == "$0.445"
    free = dict(key_figures(result))
    assert not [text for figure in free.items() for text in figure if "$" in text or "dol" in text]
    assert free["tokens per joule"] == priced["tokens per joule"] == "12.8"  # 78 mJ a token


def test_dollars_are_cents_and_below_one_three_digits() -> None:
    assert [format_dollars(x) for x in (7.318, 1234.5, 0.98765, 4e-6)] == [
        *("$7.32", "$1,234.50", "$0.988", "$4e-06"),
    ]
    assert show(7.318, "USD") == "$7.32"
    assert [format_count(x) for x in (136_645.2, 99.96, 0.7013)] == ["136,645", "100", "0.701"]
