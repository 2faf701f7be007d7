"""AttAcc against its Ramulator: all rows hold, wrong rows get one message."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from bankwidth.errors import TraceError
from bankwidth.spec.files import ROOT
from bankwidth.validate.pim_attacc import (
    COLUMNS_CACHED,
    COLUMNS_MICRO,
    compare_cached,
    compare_micro,
)
from bankwidth.validate.reference_rows import Row, read_rows
from bankwidth.validate.verdicts import Case

GOLDEN = ROOT.parent / "shared" / "reference" / "pim"
TABLES = ROOT / "validation" / "pim"
MICRO, CACHED = "attacc_micro.csv", "attacc_cached.csv"
FILES = {  # table here -> golden table
    MICRO: "attacc_ramulator_micro.csv",
    CACHED: "attacc_ramulator_cached.csv",
}


def _rows(folder: Path, columns: tuple[str, ...], *rows: str) -> list[Row]:
    file = folder / "rows.csv"
    file.write_text("\n".join([",".join(columns), *rows]) + "\n")
    return read_rows(file)


def _micro(folder: Path, *rows: str) -> list[Case]:
    return list(compare_micro(_rows(folder, COLUMNS_MICRO, *rows)))


def _cached(folder: Path, *rows: str) -> list[Case]:
    return list(compare_cached(_rows(folder, COLUMNS_CACHED, *rows)))


def _cycles(cases: list[Case]) -> Iterator[float]:
    for case in cases:
        if case.quantity == "cycles":
            assert case.error_pct is not None
            yield abs(case.error_pct)


@pytest.mark.validation
@pytest.mark.parametrize("folder", [GOLDEN, TABLES], ids=["golden", "here"])
def test_runs_of_the_published_code(folder: Path) -> None:
    file = folder / (FILES[MICRO] if folder == GOLDEN else MICRO)
    if not file.exists():
        pytest.skip("the golden table is not here")
    cases = list(compare_micro(read_rows(file)))
    assert all(case.ok for case in cases)
    of_banks = [case for case in cases if not case.id.startswith("buffer")]
    assert set(_cycles(of_banks)) == {0.0}
    assert max(_cycles(cases)) < 0.1


@pytest.mark.validation
@pytest.mark.parametrize("folder", [GOLDEN, TABLES], ids=["golden", "here"])
def test_figures_published_with_the_code(folder: Path) -> None:
    file = folder / (FILES[CACHED] if folder == GOLDEN else CACHED)
    if not file.exists():
        pytest.skip("the golden table is not here")
    cases = list(compare_cached(read_rows(file)))
    assert all(case.ok for case in cases)
    shared = [case for case in cases if not case.id.startswith("bank")]
    assert max(_cycles(shared)) < 0.11
    errors = list(_cycles(cases))
    assert sum(error == 0 for error in errors) > len(errors) / 2


@pytest.mark.parametrize("table", [MICRO, CACHED])
def test_tables_are_of_the_golden_rows(table: str) -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden table is not here")
    with (GOLDEN / FILES[table]).open() as file:
        golden = list(csv.DictReader(file))
    assert all(dict(row) in golden for row in read_rows(TABLES / table))


def test_cycles_and_commands_of_a_row(tmp_path: Path) -> None:
    cycles, commands, *wrong = _micro(
        tmp_path, "bank,1,1,128,128,2,273,32,1,8,24,8", "bank,1,1,128,128,2,290,33,1,8,24,8"
    )
    assert (cycles.quantity, cycles.ours, cycles.tolerance_pct, cycles.ok) == (
        "cycles", 273, 2.0, True,
    )  # fmt: skip
    assert (commands.quantity, commands.tolerance_pct, commands.ok) == ("commands", 0.0, True)
    assert commands.ours == {"mac": 32, "softmax": 1, "mvgb": 8, "mvsb": 24, "wrgb": 8}
    assert [case.ok for case in wrong] == [False, False]
    assert cycles.id == commands.id == "bank limited 1 heads of 128 x 2 B, 128 tokens"


def test_rows_published_twice_say_so(tmp_path: Path) -> None:
    row = "2048,17,128,2,BA,True,{},1,1,1,1,1"
    one, _, two, _ = _cached(tmp_path, row.format(5000), row.format(5001))
    assert one.note.endswith("; also published as 5001")
    assert two.note.endswith("; also published as 5000")
    assert one.ours == two.ours


def test_published_figures_are_of_earlier_controllers(tmp_path: Path) -> None:
    """Only units per bank with several heads per channel are of the first one."""
    rows = ["256,{},128,2,{},True,1,1,1,1,1,1".format(*of) for of in
            ((16, "BA"), (17, "BA"), (17, "BG"))]  # fmt: skip
    notes = [case.note for case in _cached(tmp_path, *rows) if case.quantity == "cycles"]
    assert [note.split(" controller")[0] for note in notes] == ["earlier", "first", "earlier"]
    (now, _) = _micro(tmp_path, "bank,1,17,128,256,2,1,1,1,1,1,1")
    first = _cached(tmp_path, rows[1])[0]
    assert now.note == ""
    assert isinstance(now.ours, int)
    assert isinstance(first.ours, int)
    assert now.ours < first.ours


def test_rows_of_the_controller_between_say_so(tmp_path: Path) -> None:
    row = "2048,130,128,2,BA,True,{},1,1,1,1,1"
    first, _, after, _ = _cached(tmp_path, row.format(38138), row.format(37593))
    assert first.error_pct == 0
    assert "one after it" not in first.note
    assert "equal under the one after it" in after.note
    assert after.ok


def test_a_last_head_alone_repeats_its_softmax_in_published_figures(tmp_path: Path) -> None:
    """512 keys are two parts: softmax behind each, and once more behind their last results."""
    (_, commands) = _cached(tmp_path, "512,1,128,2,BG,True,1,512,3,48,32,8")
    assert commands.ok
    (_, once) = _micro(tmp_path, "bg,1,1,128,512,2,1,512,1,16,32,8")
    assert once.ok


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("banks,1,1,128,128,2,273,32,1,8,24,8", "rows.csv:2: unknown level 'banks', did you mean"),
        ("bank,2,1,128,128,2,273,32,1,8,24,8", "rows.csv:2: unknown power_limited '2'"),
        ("bank,1,0,128,128,2,273,32,1,8,24,8", "rows.csv:2: nhead: need a whole number from 1"),
        ("bank,1,1,128,128,2,0,32,1,8,24,8", "rows.csv:2: cycles: need a whole number from 1"),
        ("bank,1,1,128,128,2,273,many,1,8,24,8", "rows.csv:2: mac: need a number, found 'many'"),
        ("bank,1,1,128,9000000,2,273,1,1,8,24,8", "rows.csv:2: bank limited .* rows per bank"),
        ("bank,1,1,128,128,33,273,1,1,8,24,8", "rows.csv:2: .* a column has 32 bytes"),
    ],
)
def test_wrong_rows(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        _micro(tmp_path, row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("128,1,128,2,BANK,True,1,1,1,1,1,1", "rows.csv:2: unknown pim_type 'BANK'"),
        ("128,1,128,2,BA,1,1,1,1,1,1,1", "rows.csv:2: unknown power_constraint '1'"),
        ("128,1,128,2,BA,True,,1,1,1,1,1", "rows.csv:2: cycle is empty"),
    ],
)
def test_wrong_published_rows(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        _cached(tmp_path, row)
