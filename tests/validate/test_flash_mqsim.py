"""Runs of MQSim beside ours: what is compared, and wrong tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bankwidth.validate.flash_mqsim import (
    COLUMNS,
    byte_pair_ns,
    config_of_row,
    note_of,
    stock_config,
)
from bankwidth.validate.flash_suite import FLASH, run_flash
from bankwidth.validate.reference_rows import read_rows

TABLE = FLASH.folder / "mqsim.csv"
GOLDEN = FLASH.golden / "mqsim.csv"
# One page read of 4 KiB at 1000 MT/s and 3 us, one at a time, as MQSim ran it (and 4 programs).
READ = (
    "A,1,1,1,1,4096,1000,3000,600000,4,1.0,1,read,RANDOM_UNIFORM,4096,2000,114757.9,8714.0,8706,"
    "8714,2000,0,0,0"
)


def table(folder: Path, *changes: tuple[str, str], row: str = READ) -> Path:
    """A file with one row, with other cells in some columns."""
    cells = dict(zip(COLUMNS, row.split(","), strict=True)) | dict(changes)
    file = folder / "runs.csv"
    file.write_text(",".join(COLUMNS) + "\n" + ",".join(cells.values()) + "\n")
    return file


def failed(file: Path) -> list[tuple[str, str]]:
    cases = [case.to_json() for case in run_flash(file).cases]
    return [(case["quantity"], case["id"]) for case in cases if not case["ok"]]


@pytest.mark.parametrize("file", [TABLE, GOLDEN], ids=["here", "golden"])
def test_all_rows_hold(file: Path) -> None:
    if not file.is_file():
        pytest.skip("no ../shared/reference/flash")
    verdict = run_flash(file)
    assert len(verdict.cases) == 8 * len(read_rows(file))
    assert [case.to_json() for case in verdict.cases if not case.ok] == []


def test_one_nanosecond_too_many_fails_at_queue_depth_one(tmp_path: Path) -> None:
    assert not failed(table(tmp_path))
    ((quantity, name),) = failed(table(tmp_path, ("avg_lat_ns", "8715.0")))
    assert quantity == "avg_lat_ns"
    assert name.startswith("A 1x1x1x1, 4096 B pages, 1000 MT/s")


def test_more_columns_may_be_there_in_any_order(tmp_path: Path) -> None:
    row = next(iter(read_rows(table(tmp_path))))
    more = {"wall_s": "0.1", **dict(reversed(row.items())), "meta_B": "0"}
    file = tmp_path / "more.csv"
    file.write_text(",".join(more) + "\n" + ",".join(more.values()) + "\n")
    assert run_flash(file).ok


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"dist": "ZIPF"}, ("runs.csv:2", "unknown dist 'ZIPF'", "RANDOM_UNIFORM, STREAMING")),
        ({"op": "erase"}, ("runs.csv:2", "unknown op 'erase'", "read, write")),
        ({"ch": "0"}, ("runs.csv:2", "ch: need a whole number from 1, found 0")),
        ({"page_B": "1000"}, ("runs.csv:2", "page_B: need whole sectors of 512 bytes, found 1000")),
        ({"pcie_GBps_lane": "0"}, ("runs.csv:2", "pcie_GBps_lane: need a number above 0")),
        ({"qd": "many"}, ("runs.csv:2", "qd: need a number, found 'many'")),
        ({"IOPS": ""}, ("runs.csv:2", "IOPS is empty")),
    ],
)
def test_wrong_tables(
    bankwidth: Any, tmp_path: Path, changes: dict[str, str], parts: tuple[str, ...]
) -> None:
    file = table(tmp_path, *changes.items())
    bankwidth("validate", "flash", "--reference", file).refused(*parts)


def test_a_table_that_nothing_knows(bankwidth: Any, tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    bankwidth("validate", "flash", "--reference", file).refused("no reference has these columns")


@pytest.mark.parametrize(
    ("rate", "pair_ns", "said"),
    [
        (200, 10, None),
        (333, 6, None),
        (500, 4, None),
        (666, 2, "666 MT/s run as 1000"),
        (800, 2, "800 MT/s run as 1000"),
        (1000, 2, None),
        (1200, 0, "data take none"),
    ],
)
def test_rates_that_mqsim_cuts(rate: int, pair_ns: int, said: str | None) -> None:
    assert byte_pair_ns(rate) == pair_ns
    note = note_of(rate)
    assert said in note if said else note == ""


def test_a_run_that_failed_is_left_out(tmp_path: Path) -> None:
    row = next(iter(read_rows(table(tmp_path))))
    cells = [*row.values(), "ok"], [*row.values(), "timeout"]
    file = tmp_path / "two.csv"
    lines = [",".join([*COLUMNS, "status"]), *(",".join(line) for line in cells)]
    file.write_text("\n".join(lines) + "\n")
    assert len(run_flash(file).cases) == 8


def test_a_channel_of_two_bytes_takes_half_the_time(tmp_path: Path) -> None:
    (row,) = read_rows(table(tmp_path))
    stock = stock_config()
    one = config_of_row(stock, row)
    row["chan_width_B"] = "2"
    assert 2 * config_of_row(stock, row).page_transfer_ps == one.page_transfer_ps == 4_096_000


def test_the_drive_of_a_row(tmp_path: Path) -> None:
    (row,) = read_rows(table(tmp_path, ("ch", "4"), ("pcie_GBps_lane", "16.0")))
    config = config_of_row(stock_config(), row)
    assert (config.channels, config.planes, config.page_bytes) == (4, 1, 4096)
    assert config.read_ps == (3_020_000,)
    assert config.page_transfer_ps == 4_096_000
    # messages at 64 GB/s: 8, 8, 25 and 11 bytes per lane, cut to whole nanoseconds
    link = (config.nvme_doorbell_ps, config.nvme_request_ps, config.nvme_command_ps)
    assert (*link, config.nvme_completion_ps) == (0, 0, 1000, 0)
