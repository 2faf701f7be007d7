"""Shipped drives in the engine against what they are rated at; no figure of theirs is fitted to it.

Where a drive is far from its rating the reason stands beside it: what the engine does not model.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.devices.nand.drive import Drive, DriveRun
from bankwidth.devices.nand.requests import Requests
from bankwidth.spec import SsdSpec, load_device

KIB = 1024


@cache
def config(name: str) -> DriveConfig:
    spec = load_device(f"ssd/{name}")
    assert isinstance(spec, SsdSpec)
    return config_of(spec)


def run(
    name: str, size_bytes: int, count: int, depth: int, *, in_sequence: bool, is_write: bool = False
) -> DriveRun:
    slots = config(name).capacity_bytes // size_bytes
    scattered = np.random.default_rng(1).integers(0, slots, count)
    offsets = (np.arange(count) if in_sequence else scattered) * size_bytes
    sizes, writes = np.full(count, size_bytes), np.full(count, is_write)
    return Drive(config(name)).replay(Requests(offsets, sizes, writes), queue_depth=depth)


def gb_per_s(done: DriveRun, size_bytes: int) -> float:
    return len(done.latency_ps) * size_bytes / done.end_ps * 1000


@pytest.mark.parametrize(
    ("name", "rated", "within"),
    [
        ("samsung-980-pro", 7.0, 0.02),
        ("samsung-sz985", 3.2, 0.12),  # its link would carry 3.55
        ("solidigm-d5-p5316", 7.0, 0.08),  # its link would carry 7.47
        ("crucial-t700", 12.4, 0.04),
        ("ufs-4", 4.2, 0.01),
        ("apple-ssd", 7.4, 0.04),
    ],
)
def test_reads_in_sequence_are_as_rated(name: str, rated: float, within: float) -> None:
    done = run(name, 128 * KIB, 8000, 64, in_sequence=True)
    assert gb_per_s(done, 128 * KIB) == pytest.approx(rated, rel=within)


@pytest.mark.parametrize(
    ("name", "rated_per_us", "least", "most"),
    [
        ("samsung-980-pro", 1.0, 0.55, 0.70),  # rated of data in its cache of SLC, not modelled
        ("samsung-sz985", 0.75, 1.0, 1.17),  # the link carries more
        ("solidigm-d5-p5316", 0.8, 1.0, 1.4),  # its firmware is not known
        ("crucial-t700", 1.5, 0.8, 1.0),
    ],
)
def test_scattered_reads_against_their_rating(
    name: str, rated_per_us: float, least: float, most: float
) -> None:
    done = run(name, 4 * KIB, 30000, 240, in_sequence=False)
    assert least <= len(done.latency_ps) / done.end_ps * 1e6 / rated_per_us <= most


def test_a_lone_read_of_z_nand_takes_what_is_published() -> None:
    """12 to 20 us."""
    done = run("samsung-sz985", 4 * KIB, 500, 1, in_sequence=False)
    assert 12 <= done.latency_ps.mean() / 1e6 <= 20


def test_writes_of_the_980_pro_beyond_its_cache() -> None:
    """Published: 2.0 GB/s; 32 dies that program 82 MB/s each would be 2.62."""
    done = run("samsung-980-pro", 128 * KIB, 20000, 64, in_sequence=True, is_write=True)
    assert 2.0 <= gb_per_s(done, 128 * KIB) <= 2.8


def test_the_980_pro_draws_what_is_published() -> None:
    """6.2 W at most: Samsung's data sheet, of reads in sequence."""
    done = run("samsung-980-pro", 128 * KIB, 8000, 64, in_sequence=True)
    watts = sum(done.energy_pj().values()) / done.end_ps
    assert watts == pytest.approx(6.2, rel=0.1)
