"""Golden runs: their requests by formula, and what of a replay must equal them.

A run is a mapping in the format of the reference index: standard, trace, n, seed, policies, and the
results of the reference simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.commands import Level
from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.replay import Replay, replay, words_of
from bankwidth.errors import SpecError, did_you_mean

Int64s = NDArray[np.int64]
Family = Callable[[DramConfig, Int64s, int], tuple[Int64s, Int64s]]  # -> burst, is_write
MASK_64: Final = (1 << 64) - 1
# Replay field -> key of a run's `stats`.
STATISTICS: Final = {
    "row_hits": "row_hits",
    "row_misses": "row_misses",
    "row_conflicts": "row_conflicts",
    "forwarded": "num_read_reqs_forwarded",
    "coalesced": "num_write_reqs_coalesced",
    "read_latency_sum_ck": "read_latency",
}
# Replay field -> key of a run.
RESULTS: Final = {
    "cycles": "cycles",
    "last_accept_ck": "last_accept_clk",
    "last_command_ck": "last_cmd_clk",
    "num_cmds": "num_cmds",
    "cmd_hash": "cmd_hash",
    "counts": "counts",
    "sum_accept_ck": "sum_accept_clk",
    "sum_done_ck": "sum_done_clk",
}


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """The first `count` numbers of the splitmix64 generator."""
    step = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = step + np.uint64(seed & MASK_64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _bursts(config: DramConfig) -> int:
    return config.capacity_bytes // config.burst_bytes


def _row_bursts(config: DramConfig) -> int:
    """Bursts from one row of a bank to its next, where the row is the highest field."""
    return config.columns * config.num_banks


def _below(config: DramConfig, level: Level) -> int:
    """Bursts from one index of a level to its next, outermost levels lowest above the column."""
    outer = config.level_counts[: config.levels.index(level)]
    return config.columns * prod(outer)


def _random_bursts(config: DramConfig, seed: int, count: int) -> Int64s:
    return (splitmix64(seed, count) % np.uint64(_bursts(config))).astype(np.int64)


def _sequential_reads(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    return i % _bursts(config), np.zeros_like(i)


def _sequential_writes(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    return i % _bursts(config), np.ones_like(i)


def _two_reads_one_write(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    """Reads stream from the start, writes from the middle."""
    turn, place = i // 3, i % 3
    is_write = (place == 2).astype(np.int64)
    burst = np.where(place == 2, _bursts(config) // 2 + turn, 2 * turn + place)
    return burst % _bursts(config), is_write


def _random_reads(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    return _random_bursts(config, seed, len(i)), np.zeros_like(i)


def _random_mix(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    coin = splitmix64(seed + 1, len(i)) & np.uint64(1)
    return _random_bursts(config, seed, len(i)), coin.astype(np.int64)


def _two_rows(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    """One bank, two rows in turn."""
    return i % 2 * _row_bursts(config) + i // 2 % config.columns, np.zeros_like(i)


def _bank_groups_in_turn(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    groups = config.level_counts[config.levels.index(Level.BANK_GROUP)]
    place = i // groups
    row = place // config.columns % config.rows
    burst = i % groups * _below(config, Level.BANK_GROUP) + place % config.columns
    return burst + row * _row_bursts(config), np.zeros_like(i)


def _one_bank_new_rows(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    return i % config.rows * _row_bursts(config), np.zeros_like(i)


FAMILIES: Final[dict[str, Family]] = {
    "seqR": _sequential_reads,
    "seqW": _sequential_writes,
    "mix21": _two_reads_one_write,
    "randR": _random_reads,
    "randRW": _random_mix,
    "pingpong": _two_rows,
    "bgstride": _bank_groups_in_turn,
    "bigstride": _one_bank_new_rows,
}


def requests_of(family: str, count: int, config: DramConfig, *, seed: int) -> Int64s:
    """Requests of a trace family, as words of a replay."""
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        hint = did_you_mean(family, FAMILIES)
        raise SpecError(f"unknown trace {family!r}, allowed: {known}{hint}")
    burst, is_write = FAMILIES[family](config, np.arange(count, dtype=np.int64), seed)
    return words_of(burst * config.burst_bytes, is_write)


def replay_golden(run: Mapping[str, Any], config: DramConfig) -> Replay:
    """Replays the requests of a run under its policies."""
    words = requests_of(run["trace"], run["n"], config, seed=int(str(run["seed"]), 0))
    return replay(
        config,
        words,
        scheduler=run["scheduler"],
        row_policy=run["row_policy"],
        refresh=run["refresh"],
        mapper=run["mapper"],
        rate=run["rate"],
        gap=run["gap"],
        channels=run["channels"],
    )


def differences(run: Mapping[str, Any], result: Replay) -> list[str]:
    """What differs from the reference, one line each; empty when everything is equal."""
    expected = {field: run[key] for field, key in RESULTS.items()}
    statistics = run.get("stats", {})
    expected |= {f: statistics[key] for f, key in STATISTICS.items() if key in statistics}
    return [
        f"{field}: {getattr(result, field)}, reference {value}"
        for field, value in expected.items()
        if getattr(result, field) != value
    ]
