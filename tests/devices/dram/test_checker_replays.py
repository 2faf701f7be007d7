"""What the engine issues keeps every rule, and no request is lost, for requests of every kind."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.dram import DramConfig, Replay, config_of, replay, words_of
from bankwidth.devices.dram.checker import first_violation, issued_of
from bankwidth.devices.dram.command_file import command_writer, read_commands
from bankwidth.devices.dram.golden import requests_of
from bankwidth.spec.dram import DramSpec

Load = Callable[[str], DramConfig]
Device = Callable[[str], DramSpec]
Int64s = NDArray[np.int64]
GOLDEN = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")
SHIPPED = ("ddr4-3200", "ddr5-4800", "lpddr5-6400", "gddr6-16", "hbm2e-3190", "hbm3e-6250")
INDEX = Path(__file__).parents[4] / "shared" / "reference" / "dram" / "golden" / "index.json"
many = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


# ---------------------------------------------------------------------------- request mixes
def sequential(config: DramConfig, i: Int64s, seed: int) -> Int64s:
    return i


def random(config: DramConfig, i: Int64s, seed: int) -> Int64s:
    bursts = config.capacity_bytes // config.burst_bytes
    return np.random.default_rng(seed).integers(0, bursts, len(i))


def few_rows(config: DramConfig, i: Int64s, seed: int) -> Int64s:
    """Random columns of a few rows: hits, conflicts and equal addresses."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, config.rows, 3)[rng.integers(0, 3, len(i))]
    bank = rng.integers(0, config.num_banks, 2)[rng.integers(0, 2, len(i))]
    return rng.integers(0, config.columns, len(i)) + config.columns * (
        bank + config.num_banks * rows
    )


def new_rows_of_one_bank(config: DramConfig, i: Int64s, seed: int) -> Int64s:
    return i * config.columns * config.num_banks


def rotating(config: DramConfig, i: Int64s, seed: int) -> Int64s:
    """Ranks, bank groups and banks in turn, a column on at each round."""
    return i % config.num_banks * config.columns + i // config.num_banks


KINDS = (sequential, random, few_rows, new_rows_of_one_bank, rotating)
PATTERNS = {"read": (0,), "write": (1,), "in turn": (0, 1), "two to one": (0, 0, 1)}


@st.composite
def phases(draw: st.DrawFn, config: DramConfig) -> Int64s:
    """Some requests of one kind and direction, from a place of its own."""
    kind, seed = draw(st.sampled_from(KINDS)), draw(st.integers(0, 2**32))
    i = np.arange(draw(st.sampled_from([1, 10, 60, 200])), dtype=np.int64)
    bursts = config.capacity_bytes // config.burst_bytes
    start = draw(st.integers(0, bursts - 1))
    burst = (start + kind(config, i, seed)) % bursts
    is_write = np.resize(np.array(PATTERNS[draw(st.sampled_from(sorted(PATTERNS)))]), len(i))
    return words_of(burst * config.burst_bytes, is_write)


@st.composite
def requests(draw: st.DrawFn, config: DramConfig) -> Int64s:
    """Phases one after the other, or dealt into each other."""
    parts = draw(st.lists(phases(config), min_size=1, max_size=4))
    if draw(st.booleans()):
        dealt = itertools.zip_longest(*(part.tolist() for part in parts))
        return np.array([w for deal in dealt for w in deal if w is not None], dtype=np.int64)
    return np.concatenate(parts)


@st.composite
def policies(draw: st.DrawFn, config: DramConfig) -> dict[str, Any]:
    refreshes = ["AllBank", "NoRefresh"] + ["PerBank"] * ("refipb" in config.times)
    refreshes += ["HBM34PerBankRefresh"] * (config.standard == "HBM3")
    return {
        "scheduler": draw(st.sampled_from(["FRFCFS", "FRFCFS-RowHit"])),
        "row_policy": draw(st.sampled_from(["Open", "ClosedCAP"])),
        "refresh": draw(st.sampled_from(refreshes)),
        "mapper": draw(st.sampled_from(["RoBaRaCoCh", "ChRaBaRoCo", "MOP4CLXOR"])),
        "rate": draw(st.sampled_from([1, 2, 4, 16])),
        "gap": draw(st.sampled_from([1, 1, 3, 20, 200])),
        "channels": draw(st.sampled_from([1, 1, 1, 2])),
    }


# ---------------------------------------------------------------------------- what must hold
def check_rules(result: Replay, config: DramConfig, refresh: str) -> None:
    found = first_violation(issued_of(result.commands, config), config, refresh=refresh)
    assert found is None, str(found)


def check_conservation(result: Replay, words: Int64s) -> None:
    """Every request is served once, and by the device unless the queues could."""
    counts = result.counts
    writes = int((words & 1).sum())
    reads = len(words) - writes
    assert counts["RD"] + counts["RDA"] + result.forwarded == reads
    assert counts["WR"] + counts["WRA"] + result.coalesced == writes
    reached = len(words) - result.forwarded - result.coalesced
    assert result.row_hits + result.row_misses + result.row_conflicts == reached
    assert sum(counts.values()) == result.num_cmds == len(result.commands)


def check_times(result: Replay, words: Int64s, config: DramConfig) -> None:
    """No request is done before it is accepted; reads of the device take their latency."""
    accepted, done = result.record.T
    assert (np.diff(accepted) >= 0).all()
    assert (done >= accepted).all()
    is_quick = (words & 1 == 0) & (done < accepted + 1 + config.read_latency_ticks)
    assert is_quick.sum() <= result.forwarded
    assert result.cycles == done.max()
    assert result.sum_accept_ck == accepted.sum()
    assert result.sum_done_ck == done.sum()


def check(data: st.DataObject, golden_config: Load, device_spec: Device) -> None:
    """Draws a configuration, policies and requests, and replays them."""
    name = data.draw(st.sampled_from(GOLDEN + SHIPPED))
    config = golden_config(name) if name in GOLDEN else config_of(device_spec(name))
    words, chosen = data.draw(requests(config)), data.draw(policies(config))
    result = replay(config, words, with_commands=True, with_record=True, **chosen)
    check_rules(result, config, chosen["refresh"])
    check_conservation(result, words)
    check_times(result, words, config)


@settings(many, max_examples=100)
@given(data=st.data())
def test_replays_keep_every_rule(
    data: st.DataObject, golden_config: Load, device_spec: Device
) -> None:
    check(data, golden_config, device_spec)


@pytest.mark.nightly
@settings(many, max_examples=1000)
@given(data=st.data())
def test_replays_keep_every_rule_many_times(
    data: st.DataObject, golden_config: Load, device_spec: Device
) -> None:
    check(data, golden_config, device_spec)


# ---------------------------------------------------------------------------- long runs
LONG = [
    (name, refresh)
    for name in GOLDEN
    for refresh in ("AllBank", "PerBank", "HBM34PerBankRefresh")
    if refresh == "AllBank"
    or (refresh == "PerBank" and name in ("LPDDR5", "LPDDR5_2R", "HBM2", "HBM3"))
    or name == "HBM3"
]


@pytest.mark.parametrize("family", ["mix21", "randRW"])
@pytest.mark.parametrize(("name", "refresh"), LONG)
def test_long_replays_refresh_in_time(
    name: str, refresh: str, family: str, golden_config: Load
) -> None:
    config = golden_config(name)
    words = requests_of(family, 4000, config, seed=5)
    options: dict[str, Any] = {"refresh": refresh, "mapper": "MOP4CLXOR", "gap": 8}
    result = replay(config, words, with_commands=True, with_record=True, **options)
    assert sum(result.counts.get(name, 0) for name in ("REFab", "REFpb")) > 2
    check_rules(result, config, refresh)
    check_conservation(result, words)


# ---------------------------------------------------------------------------- command files
@pytest.mark.parametrize("name", ["LPDDR5_2R", "HBM3"])
@pytest.mark.parametrize("file", ["commands.csv", "commands.csv.gz"])
def test_a_written_command_file_is_read_as_it_was(
    name: str, file: str, tmp_path: Path, golden_config: Load
) -> None:
    config = golden_config(name)
    words = requests_of("randRW", 1000, config, seed=5)
    with command_writer(tmp_path / file, config) as sink:
        result = replay(config, words, sinks=[sink], with_commands=True)
    read = list(read_commands(tmp_path / file, config))
    assert read == list(issued_of(result.commands, config))
    assert first_violation(read, config) is None


# ---------------------------------------------------------------------------- the reference
def reference_files() -> list[Any]:
    """One file of commands for each standard and set of policies."""
    if not INDEX.is_file():
        return [pytest.param({}, marks=pytest.mark.skip("no ../shared/reference/dram"))]
    keys = ("standard", "refresh", "scheduler", "row_policy", "mapper", "rate", "gap", "channels")
    runs = json.loads(INDEX.read_text())
    files = {path.name[: -len(".csv.gz")] for path in (INDEX.parent / "cmd").glob("*.csv.gz")}
    chosen = {tuple(run[key] for key in keys): run for run in runs if run["id"] in files}
    return [pytest.param(run, id=run["id"]) for run in chosen.values()]


@pytest.mark.validation
@pytest.mark.parametrize("run", reference_files())
def test_commands_of_the_reference_keep_every_rule(
    run: dict[str, Any], golden_config: Load
) -> None:
    config = golden_config(run["standard"])
    path = INDEX.parent / "cmd" / f"{run['id']}.csv.gz"
    commands = itertools.islice(read_commands(path, config), 2000)
    assert first_violation(commands, config, refresh=run["refresh"]) is None
