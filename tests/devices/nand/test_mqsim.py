"""The oracle against MQSim's runs, and the drive in its compatibility mode against the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.nand.mqsim_oracle import SECTOR, Drive, Oracle, Request

from bankwidth.devices.nand import drive as nand_drive
from bankwidth.devices.nand.requests import Requests
from bankwidth.spec.files import ROOT
from bankwidth.validate.flash_mqsim import COMMANDS, config_of_row, stock_config
from bankwidth.validate.mqsim_addresses import random_offsets, streaming_offsets
from bankwidth.validate.reference_rows import Row, read_rows

GOLDEN = ROOT.parent / "shared" / "reference" / "flash" / "mqsim.csv"
LONGEST = 10_000  # requests: the oracle is slow


def rows_of(*families: str) -> list[Row]:
    rows = read_rows(GOLDEN) if GOLDEN.is_file() else []
    chosen = [row for row in rows if not families or row["name"].startswith(families)]
    return [row for row in chosen if int(row["n_req"]) <= LONGEST]


def drive_of(row: Row) -> Drive:
    return Drive(
        channels=row.count("ch"),
        chips=row.count("chips_per_ch"),
        dies=row.count("dies_per_chip"),
        planes=row.count("planes_per_die"),
        page_bytes=row.count("page_B"),
        mega_transfers=row.count("MTps"),
        read_ns=row.count("tR_ns"),
        program_ns=row.count("tPROG_ns"),
        lanes=row.count("pcie_lanes"),
        lane_gbps=row.number("pcie_GBps_lane"),
    )


def requests_of(row: Row, drive: Drive) -> list[Request]:
    offsets = random_offsets if row["dist"] == "RANDOM_UNIFORM" else streaming_offsets
    planes = drive.channels * drive.chips * drive.dies * drive.planes
    size = row.count("req_B")
    starts = offsets(row.count("n_req"), size, drive.page_bytes, planes)
    is_write = row["op"] == "write"
    return [Request(int(start) // SECTOR, size // SECTOR, is_write) for start in starts]


def figures(latencies: list[int], end_ns: int, commands: Any) -> dict[str, float]:
    return {
        "avg_lat_ns": round(sum(latencies) / len(latencies), 1),
        "min_lat_ns": min(latencies),
        "max_lat_ns": max(latencies),
        "sim_time_ns": end_ns,
        "cmd_read": commands["read"],
        "cmd_read_multiplane": commands["read_multi_plane"],
        "cmd_prog": commands["program"],
        "cmd_prog_multiplane": commands["program_multi_plane"],
    }


@pytest.mark.skipif(not GOLDEN.is_file(), reason="no ../shared/reference/flash")
@pytest.mark.parametrize("family", ["A", "B", "C", "D", "E", "F", "H"])
def test_the_oracle_is_mqsim_to_the_nanosecond(family: str) -> None:
    rows = rows_of(family)
    assert rows
    for row in rows:
        drive = drive_of(row)
        requests = requests_of(row, drive)
        oracle = Oracle(drive, requests, row.count("qd"))
        end_ns = oracle.run()
        found = figures([r.latency_ns for r in requests], end_ns, oracle.commands)
        assert found == {name: row.number(name) for name in found}, row.where


PAGE_BYTES = 4096
PAGE_SECTORS = PAGE_BYTES // SECTOR
DRIVES = st.builds(
    Drive,
    channels=st.integers(1, 3),
    chips=st.integers(1, 3),
    dies=st.integers(1, 2),
    planes=st.sampled_from([1, 2, 4]),
    page_bytes=st.just(PAGE_BYTES),
    mega_transfers=st.sampled_from([200, 333, 500, 1000]),
    read_ns=st.sampled_from([3_000, 50_000]),
    program_ns=st.sampled_from([100_000, 600_000]),
    lanes=st.sampled_from([1, 4]),
    lane_gbps=st.sampled_from([1.0, 2.0]),
    pages_per_block=st.just(256),
)
READS = st.builds(Request, st.integers(0, 900), st.integers(1, 40), st.just(False))
# Whole pages: MQSim reads the rest of a page that is written in part.
WRITES = st.builds(
    lambda page, pages: Request(page * PAGE_SECTORS, pages * PAGE_SECTORS, is_write=True),
    st.integers(0, 60),
    st.integers(1, 5),
)


@settings(max_examples=60)
@given(
    drive=DRIVES,
    requests=st.lists(READS | WRITES, min_size=1, max_size=120)
    | st.lists(READS, min_size=1, max_size=120),
    queue_depth=st.integers(1, 40),
)
def test_the_drive_is_the_oracle_to_the_nanosecond(
    drive: Drive, requests: Sequence[Request], queue_depth: int
) -> None:
    again = [Request(r.sector, r.sectors, r.is_write) for r in requests]
    oracle = Oracle(drive, again, queue_depth)
    oracle.run()
    run = nand_drive.Drive(config_of_row(stock_config(), row_of(drive))).replay(
        Requests(
            np.array([r.sector * SECTOR for r in requests]),
            np.array([r.sectors * SECTOR for r in requests]),
            np.array([r.is_write for r in requests]),
        ),
        queue_depth=queue_depth,
    )
    assert (run.latency_ps / 1000).tolist() == [r.latency_ns for r in again]
    commands = {name: run.counts[name] for name in COMMANDS.values()}
    assert commands == {name: oracle.commands[name] for name in commands}


def row_of(drive: Drive) -> Row:
    cells = {
        "name": "oracle",
        "ch": drive.channels,
        "chips_per_ch": drive.chips,
        "dies_per_chip": drive.dies,
        "planes_per_die": drive.planes,
        "page_B": drive.page_bytes,
        "MTps": drive.mega_transfers,
        "tR_ns": drive.read_ns,
        "tPROG_ns": drive.program_ns,
        "pcie_lanes": drive.lanes,
        "pcie_GBps_lane": drive.lane_gbps,
    }
    return Row({name: str(cell) for name, cell in cells.items()}, "oracle")
