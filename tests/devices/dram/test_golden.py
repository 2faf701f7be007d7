"""Every run of the reference index: cycles, counts, latencies and the hash of all commands."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramConfig, Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.golden import (
    FAMILIES,
    Check,
    GoldenRun,
    checks,
    chunks_of,
    replay_golden,
    requests_of,
)
from bankwidth.devices.dram.replay import replay
from bankwidth.devices.dram.splitmix import splitmix64
from bankwidth.errors import SpecError
from bankwidth.validate.golden_runs import read_index

Load = Callable[[str], DramConfig]
REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "dram"
NAMES = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")
DEFAULTS = "AllBank_RoBaRaCoCh_FRFCFS_Open_r1_g1"
LONG = 100_000  # requests


def golden_runs() -> list[Any]:
    """One test per run; the long ones are marked."""
    index = REFERENCE / "golden" / "index.json"
    if not index.is_file():
        return [pytest.param(None, marks=pytest.mark.skip("no ../shared/reference/dram"))]
    return [
        pytest.param(run, id=run.id, marks=[pytest.mark.slow] if run.n > LONG else [])
        for run, _ in read_index(index, NAMES)
    ]


@pytest.mark.validation
@pytest.mark.parametrize("run", golden_runs())
def test_run_equals_reference(run: GoldenRun, golden_config: Load) -> None:
    found = checks(run, replay_golden(run, golden_config(run.standard)))
    assert [check for check in found if check.ours != check.reference] == []
    assert len(found) in (8, 14)  # results, and mostly statistics


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


@pytest.mark.validation
def test_request_times_equal_reference(golden_config: Load, reference: Path) -> None:
    config = golden_config("HBM2")
    path = reference / "golden" / "req" / f"HBM2_randRW_10000_{DEFAULTS}.csv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split()
    words = requests_of("randRW", 10_000, config, seed=0xC0FFEE)
    record = replay(config, words, with_record=True).record
    expected = np.array([[int(x) for x in line.split(",")] for line in lines[1:]])
    np.testing.assert_array_equal(record, expected[:, -2:])


@pytest.mark.validation
def test_requests_of_every_family_equal_reference(golden_config: Load, reference: Path) -> None:
    sums = json.loads((reference / "trace_sha256.json").read_text())
    found = {}
    for key in (key for key in sums if key.endswith("_10000")):
        name, family, count = key.rsplit("_", 2)
        words = requests_of(family, int(count), golden_config(name), seed=0xC0FFEE)
        found[key] = hashlib.sha256(words.astype("<u8").tobytes()).hexdigest()
    assert found == {key: sums[key] for key in found}
    assert len(found) == 8 * 9


# ---------------------------------------------------------------------------- the requests
def test_splitmix64_by_its_published_sequence() -> None:
    # seed 1234567: first numbers as the generator's author gives them, and any place on its own
    first = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(1234567, np.arange(3)).tolist() == first
    assert splitmix64(1234567, np.array([2])).tolist() == first[2:]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    family=st.sampled_from(list(FAMILIES)),
    count=st.integers(0, 300),
    size=st.integers(1, 400),
    seed=st.integers(0, 2**64),
)
def test_chunks_are_parts_of_one_sequence(
    family: str, count: int, size: int, seed: int, golden_config: Load
) -> None:
    config = golden_config("HBM3")
    chunks = list(chunks_of(family, count, config, seed=seed, chunk_requests=size))
    whole = requests_of(family, count, config, seed=seed)
    assert [int(w) for chunk in chunks for w in chunk.words] == whole.tolist()
    assert len(chunks) == -(-count // size)
    assert all(0 <= word >> 1 < config.capacity_bytes for word in whole.tolist())


def test_unknown_family_is_refused(golden_config: Load) -> None:
    with pytest.raises(SpecError, match=r"unknown trace 'bgstrid'.*did you mean 'bgstride'"):
        requests_of("bgstrid", 1, golden_config("DDR4"), seed=1)


# ---------------------------------------------------------------------------- the figures
def test_checks_put_each_figure_beside_ours(golden_config: Load) -> None:
    run = GoldenRun(
        id="ten reads",
        standard="DDR4",
        trace="seqR",
        n=10,
        seed=1,
        scheduler=Scheduler.FRFCFS,
        row_policy=RowPolicy.OPEN,
        refresh=Refresh.ALL_BANK,
        mapper=Mapper.RO_BA_RA_CO_CH,
        channels=1,
        rate=2,
        gap=3,
        expected={"last_accept_clk": 12, "num_cmds": 11, "counts": {"ACT": 2}, "row_hits": 9},
    )
    result = replay_golden(run, golden_config("DDR4"))
    # two requests each at ticks 0, 3, 6, 9 and 12
    assert checks(run, result) == [
        Check("last_accept_clk", 12, 12),
        Check("num_cmds", 11, 11),
        Check("counts", {"ACT": 2}, result.counts),
        Check("row_hits", 9, 9),
    ]
    assert result.counts["ACT"] == 1
