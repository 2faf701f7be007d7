"""`replay` and `validate` as a user runs them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bankwidth.devices.dram import config_of, replay, words_of
from bankwidth.devices.dram.checker import first_violation
from bankwidth.devices.dram.command_file import read_commands
from bankwidth.replaying import load_dram

GOLDEN = Path(__file__).parent.parent / "validation" / "dram" / "devices"
HBM3 = GOLDEN / "HBM3.yaml"
LINES = {
    "plain": "R 0x0\nW 0x40\nR 4096\n",
    "ramulator": "LD 0x0\nST 0x40\nLD 4096\n",
    "dramsim3": "0x0 READ 0\n0x40 WRITE 0\n0x1000 READ 0\n",
}
SKIPPING_ONLY = ("cmd_hash", "skipped_requests")


# ---- replay


def test_replay_gives_the_promised_json(bankwidth: Any) -> None:
    data = bankwidth("replay", "hbm2-2000", "--pattern", "random", "--count", 5000, "--json").json
    promised = {
        "cycles", "last_accept_ck", "num_cmds", "cmd_hash", "counts", "row_hits", "row_misses",
        "row_conflicts", "avg_read_latency_ck", "bandwidth_bytes_per_ns", "peak_bytes_per_ns",
        "lost",
    }  # fmt: skip
    assert promised <= data.keys()
    assert set(data["lost"]) == {
        "row_misses", "refresh", "activation_window", "turnaround", "bank_group_gaps",
        "queue_starved",
    }  # fmt: skip
    gap = data["peak_bytes_per_ns"] - data["bandwidth_bytes_per_ns"]
    assert sum(data["lost"].values()) == pytest.approx(gap, rel=1e-12)
    assert data["row_hits"] + data["row_misses"] + data["row_conflicts"] == 5000
    assert data["energy_pj"] == pytest.approx(sum(data["energy_by_component_pj"].values()))
    moved = data["bandwidth_bytes_per_ns"] * data["cycles"] * data["tick_ps"] / 1000
    assert moved == pytest.approx(5000 * 32)


@pytest.mark.parametrize("style", LINES)
def test_every_line_format_gives_the_same(bankwidth: Any, tmp_path: Path, style: str) -> None:
    path = tmp_path / "requests.txt"
    path.write_text(LINES[style])
    data = bankwidth("replay", HBM3, path, "--json").json
    config = config_of(load_dram(HBM3))
    import numpy as np

    words = words_of(np.array([0, 0x40, 4096]), np.array([0, 1, 0]))
    assert data["cmd_hash"] == replay(config, words).cmd_hash


def test_gzip_and_standard_input(
    bankwidth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "requests.bin"  # gzip is known by its first bytes
    path.write_bytes(gzip.compress(LINES["plain"].encode()))
    from_file = bankwidth("replay", HBM3, path, "--json").out
    stdin = io.TextIOWrapper(io.BytesIO(LINES["plain"].encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert bankwidth("replay", HBM3, "-", "--json").out == from_file


def test_a_request_is_not_offered_before_its_cycle(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "timed.txt"
    path.write_text("0x0 READ 0\n0x40 READ 10000\n")
    data = bankwidth("replay", HBM3, path, "--json").json
    assert data["last_accept_ck"] == 20_000  # an HBM3 tick is half a cycle


@pytest.mark.parametrize("extra", [[], ["--rate", 4], ["--gap", 5], ["--mapper", "MOP4CLXOR"]])
def test_skipping_changes_nothing_but_the_hash(bankwidth: Any, extra: list[Any]) -> None:
    arguments = ("replay", "gddr6-16", "--pattern", "seq", "--count", "3e6", "--json", *extra)
    quick, slow = bankwidth(*arguments).json, bankwidth(*arguments, "--no-skip").json
    assert quick["skipped_requests"] > 0 == slow["skipped_requests"]
    assert quick["cmd_hash"] is None
    assert slow["cmd_hash"] is not None
    for key in SKIPPING_ONLY:
        del quick[key], slow[key]
    assert quick == slow


def test_commands_are_written_as_the_golden_ones_and_legal(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "commands.csv.gz"
    arguments = ("replay", HBM3, "--pattern", "random", "--count", 500, "--commands", path)
    data = bankwidth(*arguments, "--json").json
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "clk", "cmd", "Channel", "PseudoChannel", "Sid", "BankGroup", "Bank", "Row", "Column",
        "type", "arrive",
    ]  # fmt: skip
    assert len(rows) == data["num_cmds"]
    config = config_of(load_dram(HBM3))
    assert first_violation(read_commands(path, config), config) is None
    bankwidth(*arguments).refused("commands.csv.gz exists; --force overwrites it")
    assert bankwidth(*arguments, "--force").code == 0


def test_a_command_trace_is_checked(bankwidth: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    pattern = ("--pattern", "seq", "--count", 300)
    assert bankwidth("replay", HBM3, *pattern, "--commands", good).code == 0
    assert bankwidth("check", good, "--device", HBM3).out == f"{good}: every command is legal\n"
    lines = good.read_text().splitlines()
    first_read = next(i for i, line in enumerate(lines) if ",RD," in line)
    tick, rest = lines[first_read].split(",", 1)
    lines[first_read] = f"{int(tick) - 2},{rest}"
    bad.write_text("\n".join(lines) + "\n")
    ran = bankwidth("check", good, bad, "--device", HBM3, "--json")
    assert ran.code == 1
    assert ran.json[0] == {"file": str(good), "problem": None}
    assert "at least" in ran.json[1]["problem"]
    bankwidth("check", good, "--device", "ddr4-3200").refused("good.csv:1: ", "Rank")
    bankwidth("check", tmp_path / "none.csv", "--device", HBM3).refused("none.csv")
    bankwidth("check", good, "--device", HBM3, "--refresh", "Sometimes").refused("Sometimes")


def test_a_report_is_written_once(bankwidth: Any, tmp_path: Path) -> None:
    out = tmp_path / "look"
    arguments = ("replay", "ddr4-3200", "--pattern", "seq", "--count", 2000, "--out", out)
    assert bankwidth(*arguments, "--window", "0:1us").code == 0
    assert {path.name for path in out.iterdir()} == {"summary.json", "banks.csv", "report.html"}
    inside = json.loads((out / "summary.json").read_text())["window"]
    assert inside["window_ns"] == [0, 1000]
    lost = inside["peak_bytes_per_ns"] - inside["bandwidth_bytes_per_ns"]
    assert sum(inside["lost"].values()) == pytest.approx(lost)
    bankwidth(*arguments).refused("look is not empty", "--force")


def test_a_window_of_a_long_pattern_is_that_of_the_whole(bankwidth: Any) -> None:
    arguments = ("replay", "gddr6-16", "--pattern", "seq", "--window", "5us:9us", "--json")
    long, short = (bankwidth(*arguments, "--count", n).json for n in ("2e6", "100000"))
    assert long["skipped_requests"] > 0
    assert long["window"] == short["window"]


def test_replay_prints_for_people(bankwidth: Any) -> None:
    out = bankwidth("replay", "ddr5-4800", "--pattern", "stride", "--stride", "4KiB").out
    assert "Where the bandwidth goes" in out
    assert "row misses" in out


def test_several_channels_are_faster(bankwidth: Any) -> None:
    arguments = ("replay", "ddr4-3200", "--pattern", "random", "--count", 5000, "--json")
    one, four = (bankwidth(*arguments, "--channels", n).json for n in (1, 4))
    assert four["bandwidth_bytes_per_ns"] > 2 * one["bandwidth_bytes_per_ns"]
    assert four["peak_bytes_per_ns"] == 4 * one["peak_bytes_per_ns"]


# ---- wrong input


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("R 0x0\nX 0x40\n", "requests.txt:2: "),
        ("R 0x0\nR zz\n", "requests.txt:2: "),
        ("R 0x0\n\nR 0xFFFFFFFFFFF\n", "requests.txt:3: "),
        ("R -64\n", "requests.txt:1: "),
        ("LD 0x0\nR 0x40\n", "requests.txt:2: "),
        ("0x0 READ 5\n0x40 READ 4\n", "requests.txt:2: "),
        ("", "no requests"),
    ],
)
def test_malformed_requests(bankwidth: Any, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "requests.txt"
    path.write_text(text)
    bankwidth("replay", HBM3, path).refused(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither is given"),
        (["x.txt", "--pattern", "seq"], "both are given"),
        (["--pattern", "sequential"], "--pattern: unknown 'sequential', allowed: seq, random"),
        (["--pattern", "seq", "--count", "1.5"], "--count: '1.5' is no whole number"),
        (["--pattern", "seq", "--count", "0"], "--count: 0, at least 1"),
        (["--pattern", "seq", "--write-share", "2"], "--write-share: 2 is not between 0 and 1"),
        (["--pattern", "stride"], "--pattern stride needs --stride"),
        (["--pattern", "stride", "--stride", "4 lb"], "--stride: "),
        (["--pattern", "seq", "--mapper", "RoBaRaCoC"], "did you mean 'RoBaRaCoCh'?"),
        (
            ["--pattern", "seq", "--refresh", "Never"],
            "refresh: unknown 'Never', allowed: ",
        ),
        (["--pattern", "seq", "--refresh", "HBM34PerBankRefresh"], "has no refresh"),
        (["--pattern", "seq", "--channels", "3"], "channels: 3 is no power of two"),
        (["--pattern", "seq", "--rate", "0"], "rate must be 1 to"),
        (["--pattern", "seq", "--window", "5"], "--window: '5' is not FROM:TO"),
        (["--pattern", "seq", "--window", "5:2"], "window"),
        (["no-such-file.txt"], "no such file"),
    ],
)
def test_wrong_options(bankwidth: Any, arguments: list[str], message: str) -> None:
    bankwidth("replay", "ddr4-3200", *arguments).refused(message)


def test_a_device_that_is_no_dram(bankwidth: Any) -> None:
    message = "gpu/h200-sxm: is a gpu device; replay takes dram devices"
    bankwidth("replay", "gpu/h200-sxm", "--pattern", "seq").refused(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('  rcd: "22 ck"\n', "", "timing.rcd"),
        ('  rcd: "22 ck"\n', '  rcd: "-22 ck"\n', "timing.rcd"),
        ("rows: 65536", "rows: 65000", "organisation.rows: 65000 is no power of two"),
    ],
)
def test_a_wrong_device(bankwidth: Any, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (GOLDEN.parents[2] / "arch" / "devices" / "dram" / "ddr4-3200.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    bankwidth("replay", path, "--pattern", "seq").refused("mine.yaml:", message)


# ---- validate


def run_of(**changes: Any) -> dict[str, Any]:
    """A run in the format of the reference index; its figures are worked out by hand."""
    return {
        "id": "two-rows", "standard": "DDR4", "trace": "bigstride", "n": 3, "seed": "0x1",
        "refresh": "AllBank", "mapper": "RoBaRaCoCh", "scheduler": "FRFCFS", "row_policy": "Open",
        "channels": 1, "rate": 1, "gap": 1, "cycles": 147, "last_accept_clk": 2,
        "last_cmd_clk": 127, "num_cmds": 8, "cmd_hash": "0" * 16, "sum_accept_clk": 3,
        "sum_done_clk": 37 + 92 + 147, "counts": {"ACT": 3, "PREpb": 2, "RD": 3},
    } | changes  # fmt: skip


def test_validate_takes_another_reference(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps([run_of()]))
    ran = bankwidth("validate", "dram", "--reference", path, "--json")
    data = ran.json
    assert {"suite", "n", "ok", "cases"} <= data.keys()
    wrong = [case["quantity"] for case in data["cases"] if not case["ok"]]
    assert wrong == ["cmd_hash"]
    assert data["n"] - data["ok"] == 1
    assert ran.code == 1
    for case in data["cases"]:
        assert case.keys() >= {"id", "quantity", "reference", "ours", "error_pct", "tolerance_pct"}


def test_validate_prints_what_does_not_hold(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(json.dumps([run_of(cycles=150)]))
    ran = bankwidth("validate", "dram", "--reference", path)
    assert ran.code == 1
    assert "cycles" in ran.out


def test_validate_refuses_what_it_does_not_know(bankwidth: Any, tmp_path: Path) -> None:
    bankwidth("validate", "dramm").refused("unknown suite 'dramm', did you mean 'dram'?")
    path = tmp_path / "index.json"
    path.write_text(json.dumps([run_of(trace="seqq")]))
    bankwidth("validate", "dram", "--reference", path).refused("seqq", "seqR")
