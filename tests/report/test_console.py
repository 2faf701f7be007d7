"""The terminal: fits its width, keeps numbers whole, and takes names for text."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from bankwidth.report.console import bar, print_result
from bankwidth.results import Result


def printed(result: Result, width: int) -> list[str]:
    text = io.StringIO()
    print_result(result, Console(file=text, width=width))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_or_100(result: Result, width: int) -> None:
    assert max(map(len, printed(result, width))) <= min(width, 100)


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut(result: Result, width: int) -> None:
    lines = printed(result, width)
    assert not [line for line in lines if "…" in line]


def test_headline_says_latency_distance_to_the_bound_rate_and_energy(result: Result) -> None:
    # per layer 111.21 us and 90.384 us at the bound, 0.96 of it in all; 4 layers
    assert printed(result, 80)[1] == (
        "latency 445 us = 1.23 x its lower bound 362 us, 2248 tokens/s, 78 mJ/token"
    )


def test_wide_terminals_get_the_bandwidth_and_the_meaning(result: Result) -> None:
    narrow, wide = "\n".join(printed(result, 80)), "\n".join(printed(result, 120))
    for shown in ("4.18 TB/s", "memory held by refresh"):
        assert shown in wide
        assert shown not in narrow


def test_names_are_never_read_as_markup(make_result: Callable[..., Result]) -> None:
    text = "\n".join(printed(make_result(1, name=lambda n: f"[red]{n[:3]}[/x]"), 120))
    assert "[red]qkv[/x]" in text


def test_a_run_without_tokens_or_bound_prints_what_is_known(
    make_result: Callable[..., Result],
) -> None:
    result = replace(make_result(1, tokens=0), lower_bound_ns=0.0)
    assert printed(result, 80)[1] == "latency 111 us, 19.5 mJ"


def test_bars_grow_in_eighths_and_have_an_ascii_form() -> None:
    assert bar(1.0) == "█" * 18
    assert bar(0.5, plain=True) == "#" * 9
    assert bar(1 / 144) == "▏"
    assert bar(float("nan")) == ""


def test_tables_and_results_render_in_rich(result: Result) -> None:
    text = io.StringIO()
    Console(file=text, width=100).print(result.summary, result)
    assert "latency_ns" in text.getvalue()
    assert "Where the energy goes" in text.getvalue()
