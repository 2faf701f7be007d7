"""Event traces as files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from bankwidth.devices.nand.trace_file import check_trace_target, write_trace
from bankwidth.errors import OutputError

KINDS = ("BUS_COMMAND", "ECC")
DTYPE = np.dtype([(name, np.int64) for name in ("start_ps", "end_ps", "kind", "channel", "lpa")])
EVENTS = np.array([(0, 290_000, 0, 3, 17), (290_000, 300_000, 1, 3, -1)], dtype=DTYPE)
TEXT = "start_ps,end_ps,kind,channel,lpa\n0,290000,BUS_COMMAND,3,17\n290000,300000,ECC,3,-1\n"


def test_a_row_per_event_with_its_kind_by_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    write_trace(EVENTS, KINDS, path)
    assert path.read_text() == TEXT
    assert [file.name for file in tmp_path.iterdir()] == ["trace.csv"]


def test_gzip_by_its_name_with_equal_bytes(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    write_trace(EVENTS, KINDS, path)
    packed = path.read_bytes()
    assert gzip.decompress(packed).decode() == TEXT
    assert packed[3:8] == bytes(5), "neither a name nor a time"


def test_a_file_is_overwritten_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("mine")
    for refused in (
        check_trace_target,
        lambda p, force: write_trace(EVENTS, KINDS, p, force=force),
    ):
        with pytest.raises(OutputError, match=r"trace\.csv exists; --force overwrites it"):
            refused(path, force=False)
    assert path.read_text() == "mine"
    write_trace(EVENTS, KINDS, path, force=True)
    assert path.read_text() == TEXT


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*trace\.csv: no such folder"):
        write_trace(EVENTS, KINDS, tmp_path / "none" / "trace.csv")
    assert list(tmp_path.iterdir()) == []
