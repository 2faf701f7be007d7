"""Tables: equal lengths, fixed content, units, plain values out."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from bankwidth.errors import OutputError, SimulationError, UserError
from bankwidth.results import COLUMNS, Table, column


@pytest.fixture
def table() -> Table:
    return Table({"name": ["q", "k"], "time_ns": [1.5, None], "count": np.array([3, 2**60])})


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(SimulationError, match="'b': 1"):
        Table({"a": [1, 2], "b": [1]})


def test_length_counts_rows_and_iteration_gives_columns(table: Table) -> None:
    assert len(table) == 2
    assert list(table) == ["name", "time_ns", "count"]
    assert len(Table({})) == 0


def test_content_cannot_be_changed_from_inside_or_outside() -> None:
    source = np.array([1.0, 2.0])
    table = Table({"time_ns": source})
    source[0] = 9.0
    assert table["time_ns"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        table["time_ns"][0] = 9.0


def test_misspelt_column_names_the_close_one(table: Table) -> None:
    with pytest.raises(KeyError, match="did you mean 'time_ns'"):
        table["tme_ns"]


def test_rows_are_plain_python_and_absent_is_none(table: Table) -> None:
    rows = table.rows()
    assert rows == [
        {"name": "q", "time_ns": 1.5, "count": 3},
        {"name": "k", "time_ns": None, "count": 2**60},
    ]
    assert {type(value) for row in rows for value in row.values()} == {str, float, int, type(None)}
    json.dumps(rows, allow_nan=False)


def test_infinite_and_mixed_columns_are_refused() -> None:
    with pytest.raises(SimulationError, match="time_ns is infinite in row 1"):
        Table({"time_ns": [1.0, float("inf")]})
    with pytest.raises(SimulationError, match="mixes"):
        Table({"name": ["a", 1, None]})
    with pytest.raises(SimulationError, match="2 dimensions"):
        Table({"time_ns": np.zeros((2, 2))})


def test_units_come_from_the_registry_the_form_of_the_name_or_the_caller(table: Table) -> None:
    assert table.unit("time_ns") == "ns"
    assert column("bytes_hbm") == ("B", "bytes read from and written to hbm")
    assert column("energy_hbm_pj").unit == "pJ"
    assert column("energy_static_pj") == COLUMNS["energy_static_pj"]
    assert Table({"speed": [1]}, {"speed": "m/s"}).unit("speed") == "m/s"
    with pytest.raises(KeyError, match="no column 'speed'"):
        table.unit("speed")


def test_every_column_with_a_unit_suffix_has_that_unit() -> None:
    suffixes = {"_ns": "ns", "_pj": "pJ", "_mw": "mW"}
    for name, (unit, meaning) in COLUMNS.items():
        assert meaning
        for suffix, wanted in suffixes.items():
            if name.endswith(suffix) and not name.endswith("_per_ns"):
                assert unit == wanted, name


def test_csv_has_a_header_and_leaves_absent_values_empty(table: Table, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_bytes().decode()
    assert text == f"name,time_ns,count\nq,1.5,3\nk,,{2**60}\n"


def test_csv_floats_read_back_to_the_same_bits() -> None:
    value = 0.1 + 0.2
    assert float(Table({"time_ns": [value]}).to_csv_text().split()[1]) == value


def test_csv_into_nowhere_is_one_clear_error(table: Table, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*No such file"):
        table.to_csv(tmp_path / "no" / "t.csv")


def test_take_by_mask_and_by_index(table: Table) -> None:
    assert table.take(table["count"] > 3).rows()[0]["name"] == "k"
    assert table.take(np.array([1, 0]))["name"].tolist() == ["k", "q"]


def test_pickling_keeps_content_units_and_immutability(table: Table) -> None:
    copy = pickle.loads(pickle.dumps(table))
    assert copy == table
    assert not copy["time_ns"].flags.writeable


def test_pandas_frame_has_the_same_columns(table: Table) -> None:
    pandas = pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert list(frame.columns) == list(table)
    assert pandas.isna(frame["time_ns"][1])
    frame.loc[0, "time_ns"] = 7.0  # the frame is a copy
    assert table["time_ns"][0] == 1.5


def test_without_pandas_the_command_that_brings_it_is_named(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install"):
        table.to_pandas()


def test_notebook_form_escapes_and_says_how_many_rows_it_left_out() -> None:
    text = Table({"name": ["<b>x</b>"] * 30, "time_ns": [1.0] * 30})._repr_html_()
    assert "<b>" not in text
    assert "time_ns [ns]" in text
    assert "20 of 30 rows" in text
