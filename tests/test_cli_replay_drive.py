"""`replay` of drives as a user runs it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bankwidth.devices.nand.patterns import DrivePattern
from bankwidth.replaying import replay_drive

# Two channels of two dies, 12 MiB: small enough that collecting garbage takes no time to reach.
SMALL = """
schema_version: 1
kind: ssd
name: small-drive
title: a small drive
source: made up
channels: 2
chips_per_channel: 2
dies_per_chip: 1
nand: {device: nand/mlc, blocks_per_plane: 16, pages_per_block: 16}
channel_rate: "333 MT/s"
host:
  {lanes: 4, rate_per_lane: "1 GB/s", max_payload: "128 B", packet_overhead: "28 B",
   command_latency: "0 ns", queue_depth: 64}
controller: {cores: 2, command_time: "1 us"}
ftl:
  {striping: [channel, chip, die, plane], over_provisioning: 0.25, gc_threshold_blocks: 2,
   lookup_time: "0 ns"}
dram: {capacity: "1 MiB", bandwidth: "8 GB/s"}
energy: {controller: "1 W", ecc: "0 pJ/bit", pcie: "6 pJ/bit", dram: "4 pJ/bit"}
"""
PAGE = 8192
LINES = "R 0 8192\nW 8k 8 KiB # a comment\nr 0x4000 16384\n"
FILES = {"summary.json", "resources.csv", "latencies.csv", "timeline.csv", "report.html"}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def replay(bankwidth: Any, small: Path) -> Any:
    return lambda *arguments: bankwidth("replay", small, *arguments)


def written(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------------------- what it says
def test_replay_gives_the_promised_json(replay: Any) -> None:
    pattern = ("--pattern", "random", "--block", "8k", "--count", 600, "--write-share", 0.3)
    data = replay(*pattern, "--qd", 8, "--seed", 5, "--json").json
    assert data["reads"] + data["writes"] == data["requests"] == 600
    assert 120 < data["writes"] < 240
    for side in ("read", "write"):
        latency = data["latency"][side]
        order = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns"]
        values = [latency[key] for key in order]
        assert values == sorted(values)
        assert latency["min_ns"] < latency["mean_ns"] < latency["max_ns"]
    assert data["iops"] == pytest.approx(600 / (data["time_ns"] * 1e-9))
    assert data["bandwidth_bytes_per_ns"] == pytest.approx(600 * PAGE / data["time_ns"])
    assert data["energy_pj"] == pytest.approx(sum(data["energy_by_component_pj"].values()))
    assert data["counts"]["host_pages_read"] == data["reads"]
    assert data["counts"]["host_pages_written"] == data["writes"]
    assert {"bus", "die", "ecc", "pcie_up", "pcie_down", "controller"} <= set(data["utilisation"])
    for used in data["utilisation"].values():
        assert 0 <= used["min"] <= used["mean"] <= used["max"] <= 1
    assert data["options"]["queue_depth"] == 8
    assert data["options"]["seed"] == 5


def test_a_lone_read_takes_the_sum_of_its_parts(replay: Any) -> None:
    """Command 290 ns, array 75 us, set-up 30 ns, 8640 bytes of a page at 3 ns each, the link."""
    data = replay("--pattern", "seq", "--block", "8k", "--count", 4, "--qd", 1, "--json").json
    stages = data["read_stages_ns"]
    assert stages["queue"] == 0
    assert stages["array"] == 290 + 75_000
    assert stages["data_out"] == 30 + (8192 + 448) * 3
    assert stages["link"] >= 64 * (128 + 28) / 4  # 64 packets over 4 lanes of 1 GB/s
    assert sum(stages.values()) == pytest.approx(data["latency"]["read"]["mean_ns"])
    assert data["bound"] == "latency"


def test_deeper_queues_are_never_slower_and_end_at_a_resource(replay: Any) -> None:
    pattern = ("--pattern", "random", "--block", "8k", "--count", 1500, "--json")
    runs = [replay(*pattern, "--qd", depth).json for depth in (1, 4, 16, 64)]
    iops = [run["iops"] for run in runs]
    assert iops == sorted(iops)
    assert iops[-1] > 2 * iops[0]
    assert runs[0]["bound"] == "latency"
    assert runs[-1]["bound"] == "die"


def test_writing_it_all_over_again_collects_garbage(replay: Any) -> None:
    pattern = ("--pattern", "random", "--block", "8k", "--write-share", 1, "--qd", 16)
    data = replay(*pattern, "--count", 8000, "--json").json
    assert data["counts"]["gc_program"] > 0
    assert data["wear"]["erases"] == data["counts"]["erase"] > 50
    amplification = 1 + data["counts"]["gc_program"] / 8000
    assert data["write_amplification"] == pytest.approx(amplification)


def test_what_the_buffer_took_is_written_after_the_last_request(
    bankwidth: Any, tmp_path: Path
) -> None:
    path = tmp_path / "buffered.yaml"
    path.write_text(SMALL.replace('"8 GB/s"}', '"8 GB/s", write_buffer: "512 KiB"}'))
    pattern = ("--pattern", "seq", "--block", "8k", "--write-share", 1, "--count", 32)
    data = bankwidth("replay", path, *pattern, "--json").json
    assert data["latency"]["write"]["max_ns"] < 750_000, "no program was waited for"
    assert data["counts"]["pages_programmed"] == 32
    assert data["settled_ns"] > data["time_ns"] + 750_000
    assert data["utilisation"]["die"]["max"] <= 1


def test_skipping_changes_nothing(replay: Any) -> None:
    pattern = ("--pattern", "seq", "--block", "16k", "--count", 6000, "--qd", 8, "--json")
    assert replay(*pattern).json == replay(*pattern, "--no-skip").json


def test_it_prints_for_people(replay: Any) -> None:
    out = replay("--pattern", "stride", "--stride", "64k", "--block", "16k", "--count", 300).out
    assert out.startswith("300 requests on a small drive\n")
    for heading in ("Latency", "How busy", "Where the time of a page read goes", "Counts"):
        assert heading in out


# ---------------------------------------------------------------------------- request files
def test_files_gzip_and_standard_input(
    replay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, packed = tmp_path / "requests.txt", tmp_path / "requests.bin"
    plain.write_text(LINES)
    packed.write_bytes(gzip.compress(LINES.encode()))
    data = replay(plain, "--qd", 2, "--json").json
    assert (data["read_bytes"], data["write_bytes"]) == (3 * PAGE, PAGE)
    assert replay(packed, "--qd", 2, "--json").json == data
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES.encode())))
    assert replay("-", "--qd", 2, "--json").json == data


def test_requests_come_at_their_arrivals(replay: Any, tmp_path: Path) -> None:
    path = tmp_path / "timed.txt"
    path.write_text("R 0 8k 0\nR 8k 8k 1 ms\nR 16k 8k 5 ms\n")
    data = replay(path, "--json").json
    latency = data["latency"]["read"]
    assert data["time_ns"] == pytest.approx(5e6 + latency["max_ns"], abs=1000)
    assert latency["max_ns"] < 150_000
    assert data["options"]["queue_depth"] is None
    assert data["bound"] == "arrivals"
    replay(path, "--qd", 4).refused("--qd: the requests have arrivals")


# ---------------------------------------------------------------------------- files
def test_the_event_trace_uses_nothing_twice_at_once(replay: Any, tmp_path: Path) -> None:
    path = tmp_path / "events.csv.gz"
    pattern = ("--pattern", "random", "--block", "8k", "--count", 400, "--write-share", 0.3)
    data = replay(*pattern, "--commands", path, "--json").json
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "start_ps", "end_ps", "kind", "channel", "die", "plane", "block", "page", "lpa",
    ]  # fmt: skip
    # Pages of several planes that move together have equal times.
    uses: dict[tuple[str, str], set[tuple[int, int]]] = defaultdict(set)
    for row in rows:
        place = {"BUS": row["channel"], "PCIE": row["kind"], "DIE": row["die"]}
        resource = row["kind"].partition("_")[0]
        use = int(row["start_ps"]), int(row["end_ps"])
        uses[resource, place.get(resource, "")].add(use)
    assert {("BUS", "0"), ("BUS", "1"), ("DIE", "3"), ("PCIE", "PCIE_UP")} <= uses.keys()
    for (resource, _), times in uses.items():
        if resource in ("BUS", "PCIE", "DIE"):
            assert all(one[1] <= other[0] for one, other in pairwise(sorted(times)))
    moved = sum(row["kind"] == "BUS_DATA_OUT" for row in rows)
    assert moved == data["counts"]["pages_out"]
    replay(*pattern, "--commands", path).refused("events.csv.gz exists; --force overwrites it")
    assert replay(*pattern, "--commands", path, "--force").code == 0


def test_a_report_is_written_once(replay: Any, tmp_path: Path) -> None:
    out = tmp_path / "look"
    arguments = ("--pattern", "random", "--block", "8k", "--count", 2000, "--out", out)
    assert replay(*arguments, "--window", "100us:400us").code == 0
    assert {path.name for path in out.iterdir()} == FILES
    summary = json.loads((out / "summary.json").read_text())
    assert summary["window_ns"] == [100_000, 400_000]
    timeline = written(out / "timeline.csv")
    assert {"PCIe to host", "ch0 bus", "ch1 bus", "ch0 die0"} <= {row["lane"] for row in timeline}
    assert all(100_000 <= float(row["start_ns"]) < 400_000 for row in timeline)
    dies = [row for row in written(out / "resources.csv") if row["resource"] == "die"]
    mean = sum(float(row["utilisation"]) for row in dies) / len(dies)
    assert mean == pytest.approx(summary["utilisation"]["die"]["mean"])
    replay(*arguments).refused("look is not empty", "--force", "timeline.csv")


@pytest.mark.parametrize("write_share", [0.0, 0.5])
def test_a_window_is_that_of_a_trace_of_everything(small: Path, write_share: float) -> None:
    source = DrivePattern(kind="random", count=2000, block_bytes=PAGE, write_share=write_share)
    window_ns = (200_000.0, 1_200_000.0)
    part, whole = (
        replay_drive(small, source, 16, window_ns=window_ns, with_trace=traced)
        for traced in (False, True)
    )
    assert part.timeline is not None
    assert len(part.timeline) > 50
    assert part.timeline == whole.timeline
    assert part.to_json() == whole.to_json()


@pytest.mark.slow
def test_a_second_process_loads_the_kernels_of_the_first(small: Path) -> None:
    command = [sys.executable, "-m", "bankwidth", "replay", str(small), "--pattern", "seq"]
    outputs = [
        subprocess.run([*command, "--count", "50", "--json"], capture_output=True, check=True)
        for _ in range(2)
    ]
    assert outputs[0].stdout == outputs[1].stdout


# ---------------------------------------------------------------------------- wrong input
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("R 0 8k\nX 0 8k\n", "requests.txt:2: 'X 0 8k': unknown operation 'X'"),
        ("R 0 8k\nread 0 8k\n", "requests.txt:2: 'read 0 8k': unknown operation 'read', did you"),
        ("R 12582912 512\n", "requests.txt:1: LBA 12582912 and 512 bytes from there end beyond"),
        ("R 0 0\n", "requests.txt:1: 'R 0 0': size is 0"),
        ("R 0 8k\n\nR 100 8k\n", "requests.txt:3: 'R 100 8k': offset 100 is no multiple"),
        ("R 0 8k 5\nR 0 8k 4\n", "requests.txt:2: 'R 0 8k 4': arrival at 4 ns after one at 5 ns"),
        ("", "no requests"),
    ],
)
def test_malformed_requests(replay: Any, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "requests.txt"
    path.write_text(text)
    replay(path).refused(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither is given"),
        (["x.txt", "--pattern", "seq"], "both are given"),
        (["--pattern", "sequential"], "--pattern: unknown 'sequential', allowed: seq, random"),
        (["--pattern", "randread"], "did you mean '--pattern random'?"),
        (["--pattern", "seq", "--count", "1.5"], "--count: '1.5' is no whole number"),
        (["--pattern", "seq", "--count", "1e9"], "--count: 1000000000, a drive takes 1 to"),
        (["--pattern", "seq", "--write-share", "2"], "--write-share: 2 is not between 0 and 1"),
        (["--pattern", "seq", "--block", "4 lb"], "--block: '4 lb': unknown unit 'lb'"),
        (["--pattern", "seq", "--block", "1000"], "--block: 1000 bytes, must be a multiple"),
        (["--pattern", "seq", "--block", "1g"], "--block: 1073741824 bytes are beyond the"),
        (["--pattern", "seq", "--qd", "0"], "--qd: 0, at least 1"),
        (["--pattern", "stride"], "--pattern stride needs --stride"),
        (["--pattern", "seq", "--window", "5"], "--window: '5' is not FROM:TO"),
        (["--pattern", "seq", "--window", "5:2"], "--window: 5 to 2 ns is no span of time"),
        (["--pattern", "seq", "--count", "9", "--window", "9s:10s"], "but all is done at"),
        (["--pattern", "seq", "--mapper", "MOP4CLXOR"], "--mapper is for DRAM devices; "),
        (["--pattern", "seq", "--row-policy", "Open"], "--row-policy is for DRAM devices; "),
        (["--pattern", "seq", "--rate", "1"], "--rate is for DRAM devices; "),
        (["no-such-file.txt"], "no-such-file.txt: no such file"),
    ],
)
def test_wrong_options(replay: Any, arguments: list[str], message: str) -> None:
    replay(*arguments).refused(message)


@pytest.mark.parametrize("option", [["--qd", "4"], ["--block", "4k"]])
def test_options_of_drives_are_not_for_dram(bankwidth: Any, option: list[str]) -> None:
    ran = bankwidth("replay", "hbm2-2000", "--pattern", "seq", *option)
    ran.refused(f"{option[0]} is for drives; hbm2-2000 is one of the DRAM devices")


def test_a_drive_that_is_full_refuses_to_be_written(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "full.yaml"
    path.write_text(SMALL.replace("over_provisioning: 0.25", "over_provisioning: 0.0"))
    pattern = ("--pattern", "random", "--block", "8k", "--write-share", 1, "--count", 8000)
    bankwidth("replay", path, *pattern).refused("free", "over-provisioning")


def test_a_wrong_drive(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL.replace("333 MT/s", "4000 MT/s"))
    bankwidth("replay", path, "--pattern", "seq").refused(
        "mine.yaml:", "4000 MT/s, the part runs at 10 to 1000 MT/s"
    )
