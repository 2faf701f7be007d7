"""What `validate gpu` prints, in the terminal and as Markdown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bankwidth.report.gpu_validation import gpu_markdown, print_gpu_validation
from bankwidth.report.validation_table import print_validation


def case(family: str, mape_pct: float, bar_pct: float | None, **more: Any) -> dict[str, Any]:
    figures = {"n": 1200, "mape_pct": mape_pct, "median_ape_pct": 3.0, "bias_pct": -2.0}
    return {
        "id": f"{family}, h200, vllm", "family": family, "device": "h200", "library": "vllm",
        "tolerance_pct": bar_pct, "ok": bar_pct is None or mape_pct <= bar_pct,
        **figures, "p90_ape_pct": 11.0, "unseen": {"mape_pct": 6.5, "n": 600},
        "by_size": {"10-100 us": {"n": 1200, "mape_pct": mape_pct}}, "bar_source": "goals", **more,
    }  # fmt: skip


def suite(*cases: dict[str, Any]) -> dict[str, Any]:
    worst = {
        "group": "rope, h200, vllm", "table": "a/[b]x.csv", "line": 7, "operator": "rope",
        "shape": "tokens=1", "measured_s": 1e-5, "ours_s": 2e-5, "error_pct": 100.0, "bound": "x",
    }  # fmt: skip
    return {
        "suite": "gpu", "n": len(cases), "ok": sum(case["ok"] for case in cases),
        "source": "[b]2 tables", "cases": list(cases), "worst": [worst],
        "skipped": [
            {"table": "a/y.csv", "rows": 5, "reason": "no machine describes 'a40'"},
            {"table": "a/z.csv", "rows": 0, "reason": "not an operator table"},
        ],
    }  # fmt: skip


DATA = suite(case("gemm bf16", 6.0, 7.0), case("rope", 20.0, 15.0), case("moe", 40.0, None))


def lines(data: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_gpu_validation(data, console)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_errors_bars_and_verdicts_are_in_one_line_each() -> None:
    found = lines(DATA, 140)
    assert found[0] == "gpu against [b]2 tables"
    rows = {cells(line)[0]: cells(line) for line in found[2:6]}
    assert rows["gemm bf16"] == [
        *("gemm bf16", "h200", "vllm", "6.0 %", "7 %", "yes", "6.5 %", "1,200", "3.0 %", "-2.0 %"),
        "11.0 %",
    ]
    assert rows["rope"][3:6] == ["20.0 %", "15 %", "no"]
    assert rows["moe"][3:6] == ["40.0 %", "none", "6.5 %"]  # without a bar no verdict


@pytest.mark.parametrize("width", [72, 86, 96, 104, 118])
def test_numbers_are_whole_in_a_narrow_terminal(width: int) -> None:
    found = lines(DATA, width)
    assert max(len(line) for line in found[1:11]) <= width
    rope = next(line for line in found if line.startswith("rope"))
    assert cells(rope)[:6] == ["rope", "h200", "vllm", "20.0 %", "15 %", "no"]
    assert "1,200" in rope
    assert any("(1,200)" in line for line in found) is (width >= 96)
    assert ("11.0 %" in rope) is (width >= 118)


def test_sizes_worst_rows_and_what_was_left_out_follow() -> None:
    found = "\n".join(lines(DATA, 110))
    assert "6.0 % (1,200)" in found
    assert "+100 %  rope, h200, vllm: measured 10 us, ours 20 us" in found
    assert "tokens=1, a/[b]x.csv:7" in found
    assert cells(next(line for line in found.splitlines() if "a40" in line))[-1] == "5"
    assert cells(next(line for line in found.splitlines() if "z.csv" in line))[-1] == "all"
    assert found.endswith("gpu: 1 of 2 bars hold; 1 groups have no bar; 3,600 rows and layers")


def test_the_table_of_suites_prints_it_so_too() -> None:
    console = Console(file=io.StringIO(), width=110)
    print_validation(DATA, console)
    assert isinstance(console.file, io.StringIO)
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == lines(DATA, 110)


def test_nothing_measured_is_said() -> None:
    found = lines(suite() | {"source": "no measured table", "worst": [], "skipped": []}, 80)
    assert found[0] == "gpu against no measured table"
    assert found[-1] == "gpu: 0 of 0 bars hold; 0 groups have no bar; 0 rows and layers"


def test_markdown_has_a_row_for_each_group_in_every_table() -> None:
    text = gpu_markdown(DATA)
    rows = [line for line in text.splitlines() if line.startswith("| rope | h200 | vllm |")]
    assert rows == [
        "| rope | h200 | vllm | 20.0 % | 15 % | no | 6.5 % | 1,200 | 3.0 % | -2.0 % | 11.0 % |",
        "| rope | h200 | vllm |  | 20.0 % (1,200) |  |  |",
    ]
    widths = {line.count("|") for line in text.splitlines() if "h200" in line or "family" in line}
    assert widths == {12, 8}
    assert "| a/y.csv | no machine describes 'a40' | 5 |" in text


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert "| a\\|b |" in gpu_markdown(suite(case("rope", 1.0, None, library="a|b")))
