from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators import OUTSIDE, read_table
from bankwidth.operators.formats import Imported, import_trace
from bankwidth.operators.formats.measured import measured_table, write_measured

from .kineto_writer import Writer, decode_step, matmul

RECORDED = Path(__file__).parents[3] / "traces/kineto/llama-tiny-cpu.pt.trace.json.gz"


def test_the_table_is_read_as_the_operators_that_were_measured(tmp_path: Path) -> None:
    imported = import_trace(RECORDED, annotation="decode")
    path = tmp_path / "measured.csv"
    write_measured(imported, path)
    rows = read_table(path)
    operators = [op for block in imported.trace.blocks for op in block.operators]
    assert len(rows) == len(operators) == 15
    for row, operator in zip(rows, operators, strict=True):
        assert row.operator.flops == operator.flops
        assert row.operator.read_bytes == operator.read_bytes
        assert row.operator.kind == operator.kind
        assert row.operator.layer == OUTSIDE


def test_a_row_has_the_median_of_the_layers(tmp_path: Path) -> None:
    made = Writer()
    for time_us in (3.0, 50.0, 4.0):
        matmul(made, 4, 16, 8, time_us)
    path = tmp_path / "measured.csv.gz"
    write_measured(import_trace(made.save(tmp_path / "t.json")), path)
    (row,) = csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines())
    assert (row["operator"], row["count"], row["latency_ns"]) == ("matmul", "3", "4000.0")
    assert row["kernel"] == "gemm"
    (read,) = read_table(path)
    assert read.latency_s == pytest.approx(4e-6)


def test_what_has_no_time_of_its_own_is_left_out_and_said(tmp_path: Path) -> None:
    made = Writer()
    decode_step(made)
    text, lost = measured_table(import_trace(made.save(tmp_path / "t.json")))
    assert lost == ("7 executions of add are not in the table: no kernel ran for them alone",)
    assert "\nadd," not in text


def test_without_measurements_there_is_no_table(tmp_path: Path) -> None:
    trace = import_trace(RECORDED).trace
    with pytest.raises(TraceError, match="no measured times"):
        write_measured(Imported(trace=trace), tmp_path / "m.csv")


def test_a_file_is_not_overwritten_without_being_told_to(tmp_path: Path) -> None:
    imported = import_trace(RECORDED, annotation="decode")
    path = tmp_path / "m.csv"
    path.write_text("mine")
    with pytest.raises(OutputError, match="--force overwrites it"):
        write_measured(imported, path)
    write_measured(imported, path, force=True)
    assert path.read_text().startswith("operator,")
    with pytest.raises(OutputError, match="cannot be written"):
        write_measured(imported, tmp_path / "none" / "m.csv")
