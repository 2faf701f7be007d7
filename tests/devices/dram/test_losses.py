"""Every tick of every data bus is data or put down to one cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram.golden import requests_of
from bankwidth.devices.dram.losses import LOSSES, num_buses
from bankwidth.devices.dram.replay import Replay, replay, words_of

Load = Callable[[str], DramConfig]
NAMES = ("DDR4", "DDR4_2R", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3")
FAMILIES = ("seqR", "seqW", "mix21", "randR", "randRW", "pingpong", "bgstride", "bigstride")


def lost_shares(result: Replay) -> dict[str, float]:
    time = result.bus_time
    return {name: ticks / time.total_ticks for name, ticks in time.lost_ticks.items()}


@given(data=st.data())
def test_parts_sum_to_the_whole(data: st.DataObject, golden_config: Load) -> None:
    config = golden_config(data.draw(st.sampled_from(NAMES)))
    words = requests_of(data.draw(st.sampled_from(FAMILIES)), 2000, config, seed=7)
    options: dict[str, Any] = {
        "row_policy": data.draw(st.sampled_from(["Open", "ClosedCAP"])),
        "mapper": data.draw(st.sampled_from(["RoBaRaCoCh", "MOP4CLXOR"])),
        "rate": data.draw(st.sampled_from([1, 4])),
        "gap": data.draw(st.sampled_from([1, 3, 20])),
        "channels": data.draw(st.sampled_from([1, 2])),
    }
    result = replay(config, words, **options)
    time = result.bus_time
    assert list(time.lost_ticks) == list(LOSSES)
    assert min(time.lost_ticks.values()) >= 0
    bursts = sum(result.counts.get(name, 0) for name in ("RD", "WR", "RDA", "WRA"))
    assert time.data_ticks == bursts * config.burst_ticks
    buses = num_buses(config) * options["channels"]
    assert time.total_ticks == buses * (time.window[1] - time.window[0])
    assert time.window[1] == result.cycles


@given(data=st.data())
def test_windows_tile_the_whole(data: st.DataObject, golden_config: Load) -> None:
    config = golden_config(data.draw(st.sampled_from(NAMES)))
    words = requests_of("randRW", 3000, config, seed=3)
    whole = replay(config, words).bus_time
    end = whole.window[1]
    cuts = sorted({0, end, *data.draw(st.lists(st.integers(1, end - 1), max_size=3))})
    parts = [replay(config, words, window=window).bus_time_inside for window in pairwise(cuts)]
    inside = [part for part in parts if part is not None]
    assert sum(part.data_ticks for part in inside) == whole.data_ticks
    for name, ticks in whole.lost_ticks.items():
        assert sum(part.lost_ticks[name] for part in inside) == ticks
    for part, (start, stop) in zip(inside, pairwise(cuts), strict=True):
        assert part.total_ticks == num_buses(config) * (stop - start)


def test_a_stop_after_the_window_changes_nothing_in_it(golden_config: Load) -> None:
    config = golden_config("HBM3")
    words = requests_of("randRW", 20_000, config, seed=3)
    window = (1000, 9000)
    whole = replay(config, words, window=window)
    part = replay(config, words, window=window, stops_after_window=True)
    assert part.bus_time_inside == whole.bus_time_inside
    assert part.num_cmds < whole.num_cmds


@pytest.mark.parametrize(
    ("family", "options", "cause"),
    [
        ("bigstride", {}, "row_misses"),  # one bank, a new row each time
        ("bgstride", {"refresh": "AllBank"}, "refresh"),  # all else is perfect
        ("seqW", {}, "bank_group_gaps"),  # consecutive bursts share a bank
        ("randRW", {"gap": 100}, "queue_starved"),  # hardly any requests
    ],
)
def test_the_largest_loss_is_the_obvious_one(
    family: str, options: dict[str, Any], cause: str, golden_config: Load
) -> None:
    config = golden_config("DDR4")
    words = requests_of(family, 50_000, config, seed=5)
    shares = lost_shares(replay(config, words, **options))
    assert max(shares, key=lambda name: shares[name]) == cause


def test_a_device_that_keeps_up_loses_to_nothing_but_starvation(golden_config: Load) -> None:
    config = golden_config("DDR4")
    words = requests_of("randRW", 20_000, config, seed=5)
    shares = lost_shares(replay(config, words, gap=60))
    assert shares["queue_starved"] == pytest.approx(1 - config.burst_ticks / 60, abs=2e-3)


def test_refresh_loses_what_refreshes_take(golden_config: Load) -> None:
    config = golden_config("DDR4")
    words = requests_of("bgstride", 400_000, config, seed=5)
    with_refresh, without = (
        lost_shares(replay(config, words, refresh=refresh)) for refresh in ("AllBank", "NoRefresh")
    )
    assert without["refresh"] == 0
    expected = config.times["rfc"] / config.times["refi"]
    assert expected < with_refresh["refresh"] < expected * 1.1  # and closing the banks before it


def test_switching_direction_costs_turnaround(golden_config: Load) -> None:
    config = golden_config("HBM2")
    bursts = np.arange(4000)
    words = words_of(bursts * config.burst_bytes, bursts // 64 % 2)
    reads = words_of(bursts * config.burst_bytes, bursts * 0)
    assert lost_shares(replay(config, words))["turnaround"] > 0.01
    assert lost_shares(replay(config, reads))["turnaround"] == 0


def test_activates_that_come_too_close_wait_for_their_window(golden_config: Load) -> None:
    config = golden_config("HBM3")
    words = requests_of("randR", 20_000, config, seed=5)
    rules = [
        dataclasses.replace(rule, gap_ticks=rule.gap_ticks * (8 if rule.window == 4 else 1))
        for rule in config.constraints
    ]
    slow = dataclasses.replace(config, constraints=tuple(rules))
    assert lost_shares(replay(slow, words))["activation_window"] > 0.3
    assert lost_shares(replay(config, words))["activation_window"] < 0.05
