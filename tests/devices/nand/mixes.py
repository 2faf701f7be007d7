"""Random drives and lists of requests for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from tests.devices.nand.drives import ECC

from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.requests import Requests

SECTOR = 512
Asked = tuple[int, int, bool]  # sector, sectors, is a write
LEVELS = ("channel", "chip", "die", "plane")
FLAGS = (
    "multi_plane_read",
    "multi_plane_program",
    "cache_read",
    "cache_program",
    "partial_read",
    "suspend",
)
parts = st.fixed_dictionaries(
    {
        "planes": st.sampled_from([1, 2, 4]),
        "multi_plane": st.sampled_from(["same_page", "independent"]),
        "spare": st.sampled_from(["0 B", "256 B"]),
        "timing": st.fixed_dictionaries(
            {
                "read": st.sampled_from(["3 us", "20 us", ["20 us", "30 us", "40 us"]]),
                "program": st.sampled_from(["20 us", "200 us", ["100 us", "300 us"]]),
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
        "policy": st.fixed_dictionaries(dict.fromkeys(FLAGS, st.booleans())),
        "channel_rate": st.sampled_from(["333 MT/s", "1000 MT/s", "1400 MT/s"]),
        "dram": st.fixed_dictionaries({"write_buffer": st.sampled_from(["0 B", "64 KiB"])}),
        "ftl": st.fixed_dictionaries({"striping": st.permutations(LEVELS)}),
        "ecc": st.sampled_from([None, ECC, {**ECC, "mean_retries_per_page": 0.2, "seed": 7}]),
    }
)
depths = st.sampled_from([1, 2, 8, 32])
SECTORS = [8, 16, 24, 64]  # whole pages
_sizes = st.one_of(st.sampled_from(SECTORS), st.integers(1, 64))
reads = st.tuples(st.integers(0, 2000), _sizes, st.just(False))
writes = st.tuples(st.integers(0, 2000), _sizes, st.just(True))
few_pages = st.tuples(st.integers(0, 8).map(lambda page: 8 * page), st.just(8), st.booleans())
mixes = st.lists(st.one_of(reads, writes, few_pages), min_size=1, max_size=60)


def requests_of(asked: list[Asked], config: DriveConfig, **more: Any) -> Requests:
    """A list that fits on the drive."""
    offsets = [sector * SECTOR % config.capacity_bytes for sector, _, _ in asked]
    sizes = [sectors * SECTOR for _, sectors, _ in asked]
    fitting = [min(s, config.capacity_bytes - o) for o, s in zip(offsets, sizes, strict=True)]
    return Requests(
        offset_bytes=np.array(offsets, dtype=np.int64),
        size_bytes=np.array(fitting, dtype=np.int64),
        is_write=np.array([is_write for _, _, is_write in asked]),
        **more,
    )


def overwrites(config: DriveConfig, count: int, pages: int, seed: int) -> Requests:
    """Page-sized writes to the first `pages` pages, in random order."""
    rng = np.random.default_rng(seed)
    return Requests(
        offset_bytes=rng.integers(0, pages, count) * config.page_bytes,
        size_bytes=np.full(count, config.page_bytes, dtype=np.int64),
        is_write=np.full(count, True),
    )
