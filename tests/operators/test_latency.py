"""The column of the measured time: its unit, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import read_table
from bankwidth.operators.latency import is_latency, latency_column


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("latency_s", 2.5), ("latency_ms", 2.5e-3), ("time_us", 2.5e-6), ("latency_ns", 2.5e-9)],
)
def test_the_name_of_the_column_says_the_unit(name: str, seconds: float) -> None:
    column = latency_column(["operator", name, "latency_p10_s"], "t.csv:1")
    assert column is not None
    assert column.seconds({name: "2.5"}, "t.csv:2") == pytest.approx(seconds, rel=1e-15)
    assert column.seconds({name: ""}, "t.csv:2") is None


@pytest.mark.parametrize(
    "name", ["latency_p10_s", "sustained_latency_s", "time_utc", "timing", "s"]
)
def test_other_columns_are_no_measured_time(name: str) -> None:
    assert not is_latency(name)
    assert latency_column(["operator", name], "t.csv:1") is None


def test_two_times_are_refused() -> None:
    with pytest.raises(
        TraceError, match=r"t\.csv:1: mixed units: 2 columns .*latency_us, latency_ms"
    ):
        latency_column(["latency_us", "m", "latency_ms"], "t.csv:1")


@pytest.mark.parametrize("name", ["latency", "time"])
def test_a_time_without_unit_is_refused(name: str) -> None:
    with pytest.raises(TraceError, match=rf"t\.csv:1: column '{name}' has no unit: .*{name}_us"):
        latency_column([name, "m"], "t.csv:1")


@pytest.mark.parametrize("column", ["unit", "latency_unit", "time_unit"])
def test_a_column_of_units_must_agree_in_every_row(column: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    head = f"operator,m,n,k,dtype,latency_us,{column}\n"
    path.write_text(head + "gemm,1,2,3,bf16,5,us\ngemm,1,2,3,bf16,5,\ngemm,1,2,3,bf16,5,µs\n")
    assert [row.latency_s for row in read_table(path)] == [5e-6] * 3
    path.write_text(head + "gemm,1,2,3,bf16,5,us\ngemm,1,2,3,bf16,5,ms\n")
    with pytest.raises(TraceError, match=rf"t\.csv:3: mixed units: column {column} says 'ms'"):
        read_table(path)


@pytest.mark.parametrize("text", ["0", "-1e-6", "nan", "inf", "-inf", "fast", "1e-"])
def test_a_time_must_be_a_finite_number_above_0(text: str) -> None:
    column = latency_column(["latency_us"], "t.csv:1")
    assert column is not None
    with pytest.raises(TraceError, match=r"t\.csv:7: latency_us must be"):
        column.seconds({"latency_us": text}, "t.csv:7")


@given(time_ns=st.integers(1, 10**12))
def test_the_same_time_in_any_unit_is_the_same(time_ns: int) -> None:
    texts = {"s": f"{time_ns}e-9", "ms": f"{time_ns}e-6", "us": f"{time_ns}e-3", "ns": f"{time_ns}"}
    for unit, text in texts.items():
        column = latency_column([f"latency_{unit}"], "")
        assert column is not None
        found = column.seconds({f"latency_{unit}": text}, "")
        assert found == pytest.approx(time_ns * 1e-9, rel=1e-14)
