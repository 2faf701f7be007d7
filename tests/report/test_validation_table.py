"""What `validate` prints."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bankwidth.report.validation_table import print_validation


def case(identity: str, quantity: str, reference: Any, ours: Any, **more: Any) -> dict[str, Any]:
    is_equal = reference == ours
    rest = {"error_pct": 0.0 if is_equal else None, "tolerance_pct": 0.0, "ok": is_equal}
    names = {"id": identity, "quantity": quantity, "reference": reference, "ours": ours}
    return names | rest | more


def suite(*cases: dict[str, Any]) -> dict[str, Any]:
    held = sum(case["ok"] for case in cases)
    return {
        "suite": "dram", "n": len(cases), "ok": held, "source": "[b]index.json", "cases": cases,
    }  # fmt: skip


def lines(data: Any, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_validation(data, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 80])
def test_a_run_that_holds_is_one_line_whatever_the_width(width: int) -> None:
    data = suite(case("seqR", "cycles", 5, 5), case("seqR", "n", 1, 1), case("[i]x", "n", 2, 2))
    assert lines(data, width) == [
        "dram against [b]index.json",
        "ok    seqR  cycles 5, and 1 more",
        "ok    [i]x  n 2",
        "dram: 2 of 2 runs hold, 3 of 3 figures",
    ]


def test_what_fails_is_listed_below_its_run() -> None:
    failed = case("seqR", "cycles", 200, 201, error_pct=0.5)
    commands = case("seqR", "counts", {"RD": 2, "ACT": 1}, {"RD": 2, "ACT": 3, "WR": 1})
    assert lines(suite(case("seqR", "n", 1, 1), failed, commands, case("x", "n", 1, 1))) == [
        "dram against [b]index.json",
        "FAILS seqR",
        "        cycles: reference 200, ours 201, error +0.5 %, tolerance none",
        "        counts: reference ACT 1 WR 0, ours ACT 3 WR 1, tolerance none",
        "ok    x     n 1",
        "dram: 1 of 2 runs hold, 2 of 4 figures",
    ]


def test_errors_within_the_tolerance_are_shown() -> None:
    near = case("x", "time", 2.0, 2.02, error_pct=1.0, tolerance_pct=5.0, ok=True)
    assert lines(suite(near))[1] == (
        "ok    x  time: reference 2, ours 2.02, error +1 %, tolerance 5 %"
    )


def test_several_suites_follow_each_other() -> None:
    one = suite(case("x", "counts", {"RD": 2}, {"RD": 2}))
    assert lines([one, one]) == 2 * [
        "dram against [b]index.json",
        "ok    x  counts RD 2",
        "dram: 1 of 1 runs hold, 1 of 1 figures",
    ]
