"""The engine against the oracle: every request ends at the same picosecond."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.nand.drives import ECC, drive_of
from tests.devices.nand.oracle import Oracle, Request

from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.requests import Requests

PAGE = 4096
FLAGS = (
    "multi_plane_read",
    "multi_plane_program",
    "cache_read",
    "cache_program",
    "partial_read",
)
LEVELS = ("channel", "chip", "die", "plane")
policies = st.fixed_dictionaries(dict.fromkeys(FLAGS, st.booleans()))
parts = st.fixed_dictionaries(
    {
        "planes": st.sampled_from([1, 2, 4]),
        "multi_plane": st.sampled_from(["same_page", "independent"]),
        "spare": st.sampled_from(["0 B", "256 B"]),
        "blocks_per_plane": st.just(32),  # room for all writes: no blocks are collected
        "timing": st.fixed_dictionaries(
            {
                "read": st.sampled_from(["3 us", "20 us", ["20 us", "30 us", "40 us"]]),
                "program": st.sampled_from(["5 us", "200 us", ["100 us", "300 us"]]),
            }
        ),
    }
)
drives = st.fixed_dictionaries(
    {
        "channels": st.sampled_from([1, 2]),
        "chips_per_channel": st.sampled_from([1, 2]),
        "dies_per_chip": st.sampled_from([1, 2]),
        "nand": parts,
        "policy": policies,
        "channel_rate": st.sampled_from(["333 MT/s", "1000 MT/s", "1400 MT/s"]),
        "controller": st.fixed_dictionaries({"cores": st.sampled_from([1, 3])}),
        "ecc": st.sampled_from([None, ECC]),
        "ftl": st.fixed_dictionaries({"striping": st.permutations(LEVELS)}),
    }
)
SECTORS = [8, 16, 24, 32, 64]
pages = st.one_of(st.integers(0, 250), st.sampled_from([0, 4, 8]))
reads = st.tuples(pages, st.one_of(st.sampled_from(SECTORS), st.integers(1, 64)), st.just(False))
writes = st.tuples(pages, st.sampled_from(SECTORS), st.just(True))
lists = st.lists(st.one_of(reads, writes), min_size=1, max_size=14)


def request_of(page: int, sectors: int, is_write: bool, capacity_bytes: int) -> Request:
    offset_bytes = page * PAGE % capacity_bytes
    size_bytes = min(sectors * 512, capacity_bytes - offset_bytes)
    return Request(offset_bytes, size_bytes, is_write)


def latencies(config: DriveConfig, requests: list[Request], depth: int) -> list[int]:
    listed = Requests(
        offset_bytes=np.array([r.offset_bytes for r in requests]),
        size_bytes=np.array([r.size_bytes for r in requests]),
        is_write=np.array([r.is_write for r in requests]),
    )
    found: list[int] = Drive(config).replay(listed, queue_depth=depth).latency_ps.tolist()
    return found


@settings(max_examples=300)
@given(changes=drives, asked=lists, depth=st.sampled_from([1, 2, 8, 32]))
def test_requests_end_when_the_oracle_says(
    changes: dict[str, Any], asked: list[tuple[int, int, bool]], depth: int
) -> None:
    config = drive_of(**changes)
    requests = [request_of(*words, config.capacity_bytes) for words in asked]
    assert latencies(config, requests, depth) == Oracle(config).run(requests, depth)
