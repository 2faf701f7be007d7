"""Golden runs: their requests by formula, and what of a replay must equal them.

A golden run is one of the reference simulator: its requests are a family with a count and a seed,
its figures go by the names of the reference's index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.chunk import Chunk, words_of
from bankwidth.devices.dram.commands import Level
from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.policies import Mapper, Refresh, RowPolicy, Scheduler
from bankwidth.devices.dram.replay import Replay, replay
from bankwidth.devices.dram.splitmix import splitmix64
from bankwidth.errors import SpecError, did_you_mean

Int64s = NDArray[np.int64]
Family = Callable[[DramConfig, Int64s, int], tuple[Int64s, Int64s]]  # -> burst, is_write
Figure = int | str | Mapping[str, int]
# Name in a golden run -> field of a replay.
RESULTS: Final = {
    "cycles": "cycles",
    "last_accept_clk": "last_accept_ck",
    "last_cmd_clk": "last_command_ck",
    "num_cmds": "num_cmds",
    "cmd_hash": "cmd_hash",
    "counts": "counts",
    "sum_accept_clk": "sum_accept_ck",
    "sum_done_clk": "sum_done_ck",
}
STATISTICS: Final = {
    "row_hits": "row_hits",
    "row_misses": "row_misses",
    "row_conflicts": "row_conflicts",
    "num_read_reqs_forwarded": "forwarded",
    "num_write_reqs_coalesced": "coalesced",
    "read_latency": "read_latency_sum_ck",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRun:
    """A run of the reference simulator: what was asked, and what came out."""

    id: str
    standard: str  # name of a golden configuration
    trace: str  # family of requests
    n: int  # requests
    seed: int
    scheduler: Scheduler
    row_policy: RowPolicy
    refresh: Refresh
    mapper: Mapper
    channels: int
    rate: int
    gap: int
    expected: Mapping[str, Figure]  # by names of RESULTS and STATISTICS


class Check(NamedTuple):
    """A figure of the reference beside ours."""

    quantity: str
    reference: Figure
    ours: Figure


def _bursts(config: DramConfig) -> int:
    return config.capacity_bytes // config.burst_bytes


def _row_bursts(config: DramConfig) -> int:
    """Bursts from one row of a bank to its next, where the row is the highest field."""
    return config.columns * config.num_banks


def _below(config: DramConfig, level: Level) -> int:
    """Bursts from one index of a level to its next, outermost levels lowest above the column."""
    outer = config.level_counts[: config.levels.index(level)]
    return config.columns * prod(outer)


def _random_bursts(config: DramConfig, seed: int, i: Int64s) -> Int64s:
    return (splitmix64(seed, i) % np.uint64(_bursts(config))).astype(np.int64)


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
    return _random_bursts(config, seed, i), np.zeros_like(i)


def _random_mix(config: DramConfig, i: Int64s, seed: int) -> tuple[Int64s, Int64s]:
    coin = splitmix64(seed + 1, i) & np.uint64(1)
    return _random_bursts(config, seed, i), coin.astype(np.int64)


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


def chunks_of(
    family: str, count: int, config: DramConfig, *, seed: int, chunk_requests: int = 1 << 16
) -> Iterator[Chunk]:
    """Requests of a trace family, in chunks. Raises SpecError for an unknown family."""
    if family not in FAMILIES:
        known = ", ".join(FAMILIES)
        hint = did_you_mean(family, FAMILIES)
        raise SpecError(f"unknown trace {family!r}, allowed: {known}{hint}")
    for first in range(0, count, chunk_requests):
        i = np.arange(first, min(first + chunk_requests, count), dtype=np.int64)
        burst, is_write = FAMILIES[family](config, i, seed)
        yield Chunk(words_of(burst * config.burst_bytes, is_write))


def requests_of(family: str, count: int, config: DramConfig, *, seed: int) -> Int64s:
    """Requests of a trace family, as words of a replay. Raises SpecError for an unknown family."""
    words = np.empty(count, dtype=np.int64)
    first = 0
    for chunk in chunks_of(family, count, config, seed=seed):
        words[first : first + len(chunk.words)] = chunk.words
        first += len(chunk.words)
    return words


def replay_golden(run: GoldenRun, config: DramConfig) -> Replay:
    """Replays the requests of a run under its policies."""
    return replay(
        config,
        chunks_of(run.trace, run.n, config, seed=run.seed),
        scheduler=run.scheduler,
        row_policy=run.row_policy,
        refresh=run.refresh,
        mapper=run.mapper,
        rate=run.rate,
        gap=run.gap,
        channels=run.channels,
    )


def checks(run: GoldenRun, result: Replay) -> list[Check]:
    """Every figure that the run gives, beside ours."""
    fields = RESULTS | STATISTICS
    return [
        Check(name, reference, getattr(result, fields[name]))
        for name, reference in run.expected.items()
    ]
