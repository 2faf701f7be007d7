"""What `ops`, `compare`, `list` and `trace show` print."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from bankwidth.report import print_comparison, print_presets, print_table, print_trace
from bankwidth.results import Table

WIDTHS = pytest.mark.parametrize("width", [80, 120])


class Screen:
    """A terminal of some width that remembers its lines."""

    def __init__(self, width: int = 100) -> None:
        self.console = Console(file=io.StringIO(), width=width)

    @property
    def lines(self) -> list[str]:
        assert isinstance(self.console.file, io.StringIO)
        return [line.rstrip() for line in self.console.file.getvalue().splitlines()]


def ops_table(rows: int) -> Table:
    return Table(
        {
            "line": range(2, rows + 2),
            "operator": ["gemm"] * rows,
            "latency_s": [1.25e-5] * rows,
            "bound": ["[b]hbm[/b]"] * rows,
            "energy_pj": [3.5e9] * rows,
            "measured_s": [float("nan")] * rows,
        }
    )


COMPARISON: dict[str, Any] = {
    "families": {
        "gemm": {
            "n": 2,
            "mape_pct": 12.34,
            "median_ape_pct": 10.0,
            "bias_pct": -5.0,
            "p90_ape_pct": 20.0,
        }
    },
    "worst": [
        {
            **{"line": 7, "operator": "gemm", "m": "1", "n": "4096", "k": "4096", "dtype": "bf16"},
            **{"measured_s": 1e-3, "ours_s": 8.4e-6, "error_pct": -99.16, "bound": "hbm bandwidth"},
        }
    ],
}


def test_tables_print_numbers_with_units_and_leave_out_empty_columns() -> None:
    screen = Screen()
    print_table(ops_table(2), screen.console)
    assert screen.lines[0].split() == ["line", "operator", "latency", "bound", "energy"]
    assert screen.lines[1].split() == ["2", "gemm", "12.5", "us", "[b]hbm[/b]", "3.5", "mJ"]


def test_long_tables_say_how_many_rows_they_left_out() -> None:
    screen = Screen()
    print_table(ops_table(60), screen.console)
    assert len(screen.lines) == 1 + 50 + 1
    assert screen.lines[-1] == "50 of 60 rows; --json gives all"


@WIDTHS
def test_a_comparison_prints_families_and_worst_rows_within_the_width(width: int) -> None:
    screen = Screen(width)
    print_comparison(COMPARISON, screen.console)
    text = "\n".join(screen.lines)
    assert "12.3 %" in text
    assert "-99.2 %" in text
    assert "1 ms" in text
    assert "m=1 n=4096" in text
    assert max(map(len, screen.lines)) <= min(width, 100)


def test_presets_print_group_by_group_with_titles() -> None:
    screen = Screen()
    machine = {"name": "h200", "kind": "machine", "title": "NVIDIA H200 SXM, 141 GB"}
    print_presets({"machines": [machine], "devices": []}, screen.console)
    assert screen.lines[:3] == ["machines", "name  title", "h200  NVIDIA H200 SXM, 141 GB"]
    assert "devices" in screen.lines


def test_names_of_presets_are_whole_whatever_their_titles() -> None:
    screen = Screen(40)
    entry = {"name": "ssd/a-drive-with-a-long-name", "kind": "ssd", "title": "many words " * 9}
    print_presets({"devices": [entry, entry | {"name": "ssd/b"}]}, screen.console)
    assert [line.split()[0] for line in screen.lines[2:]] == [entry["name"], "ssd/b"]
    assert max(map(len, screen.lines)) <= 40


@WIDTHS
def test_a_trace_prints_its_needs_and_operators(width: int) -> None:
    screen = Screen(width)
    op = {"block": "layer", "repeat": 32, "name": "qkv_proj", "kind": "matmul"}
    sizes = {"flops": 100_663_296, "read_bytes": 100_671_488, "write_bytes": 24576}
    trace = {"model": "llama", "phase": "decode", "batch": 1, "context": 64}
    needs = {"weight_bytes": 13_500_000_000, "kv_bytes": 33_554_432, "activation_bytes": 65536}
    rest = {"far_bytes": 0, "meta": {}}
    print_trace({**trace, **needs, **rest, "operators": [op | sizes]}, screen.console)
    assert screen.lines[:2] == [
        "llama, decode, batch 1, context 64",
        "weights 13.5 GB, KV cache 33.6 MB, activations 65.5 kB",
    ]
    row = "layer 32 qkv_proj matmul 101 MFLOP 101 MB 24.6 kB"
    assert screen.lines[-1].split() == row.split()


def test_a_trace_says_what_changes_how_it_is_to_be_read() -> None:
    screen = Screen(120)
    trace = {"model": "llama", "phase": "decode", "batch": 1, "context": 64, "operators": []}
    needs = {"weight_bytes": 1, "kv_bytes": 1, "activation_bytes": 1, "far_bytes": 2_000_000}
    meta = {"techniques": "paged", "partial": True, "left_out": "aten::conv2d"}
    print_trace({**trace, **needs, "meta": meta}, screen.console)
    text = " ".join(screen.lines)
    assert "kept further away 2 MB" in text
    assert "with paged PARTIAL: left out are aten::conv2d" in text
