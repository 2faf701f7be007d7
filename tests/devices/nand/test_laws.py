"""The drive against closed forms: rates of saturated parts within 1 %, latencies exactly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.devices.nand.drives import ECC, drive_of

from bankwidth.validate.flash_laws import (
    LATENCIES,
    LAWS,
    Law,
    binds,
    one_by_one_ps,
    published,
    read_bounds,
    read_latency_ps,
    steady_rate,
    write_bounds,
    write_latency_ps,
)

CLEARLY = 1.1  # how much more than the part that binds all others must pass


# ---------------------------------------------------------------------------- by hand
def test_a_bus_is_shared_by_its_dies() -> None:
    config = drive_of(controller={"command_time": "0 ns"})
    bounds = read_bounds(config)
    assert 1 / bounds["bus"] == 290_000 + 30_000 + 4_096_000
    assert 1 / bounds["dies"] == (290_000 + 20_000_000 + 30_000 + 4_096_000) / 2
    assert binds(bounds) == "dies"


def test_planes_share_the_array_not_the_bus() -> None:
    bounds = read_bounds(drive_of(), planes=2)
    assert 2 / bounds["bus"] == 940_000 + 30_000 + 580_000 + 2 * 4_096_000
    assert 2 * 2 / bounds["dies"] == 940_000 + 20_000_000 + 610_000 + 2 * 4_096_000


def test_cache_reads_hide_the_shorter_of_array_and_bus() -> None:
    cached = {"cache_read": True}
    assert 2 / read_bounds(drive_of(policy=cached))["dies"] == 290_000 + 20_000_000 + 3_000_000
    fast = drive_of(policy=cached, nand={"timing": {"read": "1 us"}})
    assert 2 / read_bounds(fast)["dies"] == 290_000 + 4_126_000 + 3_000_000


def test_the_latency_is_the_sum_of_its_stages() -> None:
    config = drive_of(ecc=ECC)
    nvme_ps = 4000 + 4000 + 11_500 + 1_000_000 + 5500
    flash_ps = 290_000 + 20_000_000 + 30_000 + 4_096_000
    assert read_latency_ps(config) == nvme_ps + 300_000 + flash_ps + 2_048_000 + 2_000_000 + 568_000


# ---------------------------------------------------------------------------- shipped drives
@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.device} {law.id}")
def test_a_law_holds(law: Law) -> None:
    assert binds(law.bounds(law.config)) == law.binds
    case = law.case()
    assert case.ok, f"{case.ours:g} MB/s, by the law {case.reference:g}"


def test_latencies_are_exact() -> None:
    cases = [case for case in published() if case.quantity == "ns"]
    assert len(cases) == 2 * len(LATENCIES)
    assert all(case.ok for case in cases)


# ---------------------------------------------------------------------------- any drive
parts = st.fixed_dictionaries(
    {
        "planes": st.sampled_from([1, 2, 4]),
        "spare": st.sampled_from(["0 B", "256 B", "500 B"]),
        "blocks_per_plane": st.just(1024),
        "timing": st.fixed_dictionaries(
            {
                "read": st.integers(2_000, 90_000).map(lambda ns: f"{ns} ns"),
                "program": st.integers(20_000, 900_000).map(lambda ns: f"{ns} ns"),
            }
        ),
    }
)
drives = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 3),
        "chips_per_channel": st.integers(1, 4),
        "dies_per_chip": st.integers(1, 2),
        "nand": parts,
        "channel_rate": st.sampled_from(["200 MT/s", "533 MT/s", "1200 MT/s", "3600 MT/s"]),
        "host": st.fixed_dictionaries({"lanes": st.sampled_from([1, 4, 8])}),
        "controller": st.fixed_dictionaries(
            {"cores": st.integers(1, 4), "command_time": st.sampled_from(["200 ns", "3 us"])}
        ),
        "ecc": st.sampled_from([None, ECC, {**ECC, "rate_per_decoder": "0.5 GB/s"}]),
    }
)


def is_clear(bounds: dict[str, Any]) -> bool:
    """One part binds, and no other nearly does."""
    least, next_least = sorted(bounds.values())[:2]
    return bool(next_least >= CLEARLY * least)


@settings(max_examples=60)
@given(changes=drives, cache=st.booleans(), together=st.booleans())
def test_reads_of_any_drive(changes: dict[str, Any], cache: bool, together: bool) -> None:
    policy = {"cache_read": cache, "multi_plane_read": together}
    config = drive_of(**changes, policy=policy)
    bounds = read_bounds(config, config.planes if together else 1)
    assume(is_clear(bounds))
    law = bounds[binds(bounds)]
    assert float(steady_rate(config, pages=2048) / law) == pytest.approx(1.0, abs=0.01)


@settings(max_examples=60)
@given(changes=drives, cache=st.booleans(), together=st.booleans())
def test_writes_of_any_drive(changes: dict[str, Any], cache: bool, together: bool) -> None:
    policy = {"cache_program": cache, "multi_plane_program": together}
    config = drive_of(**changes, policy=policy)
    bounds = write_bounds(config, config.planes if together else 1)
    assume(is_clear(bounds))
    law = bounds[binds(bounds)]
    found = steady_rate(config, is_write=True, pages=1024)
    assert float(found / law) == pytest.approx(1.0, abs=0.01)


@settings(max_examples=60)
@given(changes=drives)
def test_one_page_alone_on_any_drive(changes: dict[str, Any]) -> None:
    config = drive_of(**changes)
    assert one_by_one_ps(config) == read_latency_ps(config)
    assert one_by_one_ps(config, is_write=True) == write_latency_ps(config)
