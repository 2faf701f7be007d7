"""Every run of the reference index: cycles, counts, latencies and the hash of all commands."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram.golden import differences, replay_golden, requests_of
from bankwidth.devices.dram.replay import replay
from bankwidth.errors import SpecError

Load = Callable[[str], DramConfig]
Runs = list[dict[str, Any]]
INDEX = Path(__file__).parents[4] / "shared" / "reference" / "dram" / "golden" / "index.json"
LONG = 100_000  # requests


def run_ids() -> list[Any]:
    """One test per run; the long ones are marked."""
    if not INDEX.is_file():
        return [pytest.param("", marks=pytest.mark.skip("no ../shared/reference/dram"))]
    runs = json.loads(INDEX.read_text())
    return [
        pytest.param(run["id"], marks=[pytest.mark.slow] if run["n"] > LONG else []) for run in runs
    ]


@pytest.mark.validation
@pytest.mark.parametrize("identity", run_ids())
def test_run_equals_reference(identity: str, golden_runs: Runs, golden_config: Load) -> None:
    run = next(run for run in golden_runs if run["id"] == identity)
    result = replay_golden(run, golden_config(run["standard"]))
    assert differences(run, result) == []


@pytest.mark.validation
@pytest.mark.parametrize("name", ["DDR4", "LPDDR5_2R", "HBM3"])
def test_commands_equal_reference(name: str, golden_config: Load, reference: Path) -> None:
    config = golden_config(name)
    path = reference / "golden" / "cmd" / f"{name}_mix21_10000_{DEFAULTS}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split()
    rows = [line.split(",") for line in lines[1:]]
    words = requests_of("mix21", 10_000, config, seed=0xC0FFEE)
    own = replay(config, words, with_commands=True).commands[: len(rows)]
    width = len(rows[0])
    expected = [[int(r[0]), config.command_names.index(r[1]), *map(int, r[2:])] for r in rows]
    np.testing.assert_array_equal(own[:, :width], expected)


DEFAULTS = "AllBank_RoBaRaCoCh_FRFCFS_Open_r1_g1"


@pytest.mark.validation
def test_request_times_equal_reference(golden_config: Load, reference: Path) -> None:
    config = golden_config("HBM2")
    path = reference / "golden" / "req" / f"HBM2_randRW_10000_{DEFAULTS}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split()
    words = requests_of("randRW", 10_000, config, seed=0xC0FFEE)
    record = replay(config, words, with_record=True).record
    expected = np.array([[int(x) for x in line.split(",")] for line in lines[1:]])
    np.testing.assert_array_equal(record, expected[:, -2:])


def test_differences_name_what_differs(golden_config: Load) -> None:
    config = golden_config("DDR4")
    run = {
        "trace": "seqR", "n": 10, "seed": "0xC0FFEE", "scheduler": "FRFCFS", "row_policy": "Open",
        "refresh": "AllBank", "mapper": "RoBaRaCoCh", "rate": 1, "gap": 1, "channels": 1,
    }  # fmt: skip
    result = replay_golden(run, config)
    truth = {
        "cycles": result.cycles, "last_accept_clk": 9, "last_cmd_clk": result.last_command_ck,
        "num_cmds": 11, "cmd_hash": result.cmd_hash, "counts": result.counts,
        "sum_accept_clk": 45, "sum_done_clk": result.sum_done_ck,
    }  # fmt: skip
    assert differences(run | truth, result) == []
    wrong = run | truth | {"cycles": 1, "stats": {"row_hits": 10}}
    assert differences(wrong, result) == [
        f"cycles: {result.cycles}, reference 1",
        "row_hits: 9, reference 10",
    ]


def test_unknown_family_is_refused(golden_config: Load) -> None:
    with pytest.raises(SpecError, match=r"unknown trace 'bgstrid'.*did you mean 'bgstride'"):
        requests_of("bgstrid", 1, golden_config("DDR4"), seed=1)
