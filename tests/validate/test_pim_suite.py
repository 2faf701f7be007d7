"""`bankwidth validate pim`: files are known by their columns, wrong ones get one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bankwidth.report.design_validation import groups_of, print_design_validation, told
from bankwidth.validate.pim_suite import PIM, run_pim

AIM = "case,params,memory_system_cycles,tCK_ns\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text)
    return path


def test_a_file_is_known_by_its_columns(tmp_path: Path) -> None:
    file = _file(tmp_path, "more," + AIM + "x,wr_gb,opsize=16,67,0.5\ny,af,1,90,0.5\n")
    verdict = run_pim(file)
    assert [case.ok for case in verdict.cases] == [True, False]
    (group,) = verdict.details["groups"]
    assert (group["name"], group["n"], group["ok"]) == ("rows", 2, 1)
    assert group["max_error_pct"] == pytest.approx(100 / 90)


def test_cases_follow_their_groups(tmp_path: Path) -> None:
    rows = [_file(tmp_path, AIM + "af,1,89,0.5\n"), tmp_path / "b.csv"]
    rows[1].write_text(AIM + "ewmul,opsize=1,28,0.5\nwr_gb,opsize=16,67,0.5\n")
    data = run_pim(rows).to_json()
    found = [(group["name"], [case["id"] for case in cases]) for group, cases in groups_of(data)]
    assert found == [("rows", ["af 1"]), ("b", ["ewmul opsize=1", "wr_gb opsize=16"])]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b\n1,2\n", ("rows.csv", "no reference has these columns: a,b")),
        (AIM, ("rows.csv", "no rows")),
        (AIM + "wr_gb,opsize=16,67\n", ("rows.csv:2", "3 cells, the header has 4")),
        (AIM + "wr_gb,opsize=16,many,0.5\n", ("rows.csv:2", "need a number, found 'many'")),
        (AIM + "wr_gb,opsize=16,-1,0.5\n", ("rows.csv:2", "need a number from 0, found -1")),
        (AIM + "wr_gb,opsize=16,6.5,0.5\n", ("rows.csv:2", "need a whole number")),
        (AIM + "wr_bg,opsize=16,67,0.5\n", ("rows.csv:2", "unknown case 'wr_bg'")),
        (AIM + "gemv_x,out=512,67,0.5\n", ("rows.csv:2", "gemv_x out=512")),
        (AIM + "wr_gb,opsize=16,67,0.4\n", ("rows.csv:2", "the device's clock is 500 ps")),
    ],
)
def test_wrong_files(bankwidth: Any, tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    bankwidth("validate", "pim", "--reference", _file(tmp_path, text)).refused(*parts)


def test_what_does_not_hold_is_printed(bankwidth: Any, tmp_path: Path) -> None:
    file = _file(tmp_path, AIM + "af,1,90,0.5\nwr_gb,opsize=16,67,0.5\n")
    ran = bankwidth("validate", "pim", "--reference", file)
    assert ran.code == 1
    assert "FAILS af 1  cycles: reference 90, ours 89, error -1.11 %" in ran.out
    assert "pim: 1 of 2 figures hold" in ran.out
    assert "wr_gb" not in ran.out


def test_published_figures_are_all_printed_with_their_reasons() -> None:
    case = {
        "id": "token", "quantity": "time_ms", "reference": 3.8, "ours": 3.1, "error_pct": -18.4,
        "tolerance_pct": 10.0, "ok": False, "note": "no driver between layers",
    }  # fmt: skip
    held = case | {"id": "energy", "ok": True, "error_pct": 1.0}
    group = {
        "name": "ianus published", "n": 2, "ok": 1, "mean_error_pct": 9.7, "max_error_pct": 18.4,
    }  # fmt: skip
    console = Console(record=True, width=200)
    suite: dict[str, Any] = {
        "suite": "pim", "source": "papers", "groups": [group], "cases": [case, held],
        "n": 2, "ok": 1, "explained": 1, "other": [["token", "time_ms"]],
    }  # fmt: skip
    print_design_validation(suite, console)
    text = console.export_text()
    assert "other " + told(case) in text
    assert "FAILS" not in text
    assert "no driver between layers" in text
    assert "ok    " + told(held) in text
    assert "pim: 1 of 2 figures hold; 1 published ones are other than ours and say why" in text
    print_design_validation(suite | {"other": [], "explained": 0}, console)
    assert "FAILS " + told(case) in console.export_text()


def test_every_design_brings_rows_or_figures() -> None:
    from importlib import import_module

    for design in PIM.designs:
        module = import_module(f"bankwidth.validate.{design}")
        assert hasattr(module, "REFERENCES") or hasattr(module, "published"), design
    assert PIM.folder.is_dir()
