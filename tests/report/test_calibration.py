"""What `calibrate` prints."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from bankwidth.report.calibration import print_calibration


def parameter(name: str, before: float, after: float, **more: Any) -> dict[str, Any]:
    return {
        "parameter": name, "unit": "ns", "before": before, "after": after, "low": 200.0,
        "high": 3000.0, "sensitivity_pct": 1.25, "is_fitted": True,
    } | more  # fmt: skip


def figures(n: int, mape_pct: float) -> dict[str, float]:
    return {"n": n, "mape_pct": mape_pct}


def calibration(*parameters: dict[str, Any], held_out_pct: float = 5.0) -> dict[str, Any]:
    fit = {"norm": figures(10, 30.0), "all": figures(60, 20.0)}
    before = {"[b]gemm": figures(7, 12.0), "all": figures(40, 22.0)}
    after = {"[b]gemm": figures(7, 3.0), "all": figures(40, held_out_pct)}
    return {
        "machine": "[i]mine",
        "seed": 3,
        "evaluations": 77,
        "rows": {"all": 100, "fit": 60, "sampled": 50, "held_out": 40},
        "parameters": list(parameters),
        "errors": {
            "fit": {"before": fit, "after": fit},
            "held_out": {"before": before, "after": after},
        },
    }


def printed(data: dict[str, Any], width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_calibration(data, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_parameter_is_a_row_with_unit_bounds_and_sensitivity() -> None:
    text = printed(calibration(parameter("engines.gpu.launch", 1260.0, 812.345)))
    assert "launch ns 1260 812.3 200 to 3000 1.25 %".split() in words(text)
    assert "parameter of engines.gpu unit before after bounds sensitivity".split() in words(text)
    assert text.startswith(
        "[i]mine: fitted to 50 of 60 rows, 40 held out (seed 3, 77 evaluations)\n"
    )


def test_keys_that_all_parameters_share_are_said_once() -> None:
    names = ("engines.gpu.matmul.start", "engines.gpu.matmul.split", "engines.gpu.launch")
    rows = words(printed(calibration(*(parameter(name, 300.0, 310.0) for name in names))))
    assert [row[0] for row in rows if "310" in row] == ["matmul.start", "matmul.split", "launch"]
    apart = words(printed(calibration(parameter("a.x", 300.0, 310.0), parameter("b", 1.0, 310.0))))
    assert [row[0] for row in apart if "310" in row] == ["a.x", "b"]


def test_errors_of_both_halves_are_shown_by_family() -> None:
    rows = words(printed(calibration(parameter("x", 300.0, 400.0))))
    assert "norm 10 30 % 30 %".split() in rows
    assert "[b]gemm 7 12 % 3 %".split() in rows
    assert "all 60 20 % 20 % 40 22 % 5 %".split() in rows
    assert "held-out rows: 22 % before, 5 % after".split() in rows


def test_what_did_not_move_or_hit_a_bound_is_said() -> None:
    same = parameter("same", 300.0, 300.0, is_fitted=False)
    text = printed(calibration(same, parameter("low", 300.0, 200.0), parameter("x", 300.0, 310.0)))
    assert "the rows do not tell same: left as before\n" in text
    assert "low is at a bound: are the bounds too narrow?\n" in text
    assert "x is at a bound" not in text


def test_a_worse_held_out_error_is_no_success() -> None:
    worse = printed(calibration(parameter("x", 300.0, 310.0), held_out_pct=23.0))
    assert "22 % before, 23 % after: worse than before, do not use it" in worse
    assert "worse" not in printed(calibration(parameter("x", 300.0, 310.0)))


def test_numbers_are_whole_in_a_narrow_terminal() -> None:
    text = printed(calibration(parameter("engines.gpu.launch", 1260.0, 812.345)), width=60)
    assert "812.3" in text
    assert "…" not in text
