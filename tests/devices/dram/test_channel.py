"""Streams through one channel: time, completions, counters, energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramChannel, DramConfig, Stream, config_of, energy_pj
from bankwidth.errors import SimulationError
from bankwidth.spec.dram import DramSpec

Load = Callable[[str], DramConfig]
Device = Callable[[str], DramSpec]
FAR = 10**9


def state_of(channel: DramChannel) -> dict[str, Any]:
    """Everything that a channel counts."""
    return {
        "counts": channel.counts,
        "rows": (channel.row_hits, channel.row_misses, channel.row_conflicts),
        "bytes": (channel.read_bytes, channel.write_bytes),
        "refresh_blocked_ck": channel.refresh_blocked_ck,
        "busy_ck": channel.busy_ck,
    }


def test_one_burst_by_hand(golden_config: Load) -> None:
    channel = DramChannel(golden_config("DDR4"))
    identity = channel.add(Stream(0, (1, 1, 1)))
    assert channel.advance(FAR) == [identity]
    assert channel.now_ck == channel.completion_ck(identity) == 1 + 16 + 16 + 4
    assert channel.busy_ck == 37
    assert channel.read_bytes == 64
    assert (channel.row_hits, channel.row_misses, channel.row_conflicts) == (0, 1, 0)


def test_write_is_done_when_issued(golden_config: Load) -> None:
    channel = DramChannel(golden_config("DDR4"))
    channel.add(Stream(0, (1, 1, 1), is_write=True))
    channel.advance(FAR)
    assert channel.now_ck == 1 + 16
    assert (channel.read_bytes, channel.write_bytes) == (0, 64)


def test_advance_stops_at_the_limit(golden_config: Load) -> None:
    channel = DramChannel(golden_config("HBM3"))
    channel.add(Stream(0, (1000, 1, 1)))
    assert channel.advance(500) == []
    assert channel.now_ck == 500
    with pytest.raises(SimulationError, match="cannot go back from tick 500 to 499"):
        channel.advance(499)


def test_advance_stops_at_the_first_completion(golden_config: Load) -> None:
    channel = DramChannel(golden_config("HBM3"))
    long = channel.add(Stream(0, (5000, 1, 1)))
    short = channel.add(Stream(1 << 20, (10, 1, 1)))
    assert channel.advance(FAR) == [short]
    first = channel.now_ck
    assert channel.advance(FAR) == [long]
    assert first < channel.now_ck == channel.completion_ck(long)


def test_streams_take_turns(golden_config: Load) -> None:
    alone = DramChannel(golden_config("HBM2"))
    alone.add(Stream(0, (4000, 1, 1)))
    alone.advance(FAR)
    shared = DramChannel(golden_config("HBM2"))
    one, two = (shared.add(Stream(i << 20, (2000, 1, 1))) for i in range(2))
    shared.advance(FAR)
    shared.advance(FAR)
    ends = sorted((shared.completion_ck(one), shared.completion_ck(two)))
    assert ends[0] > 0.9 * ends[1]
    assert shared.read_bytes == alone.read_bytes


def test_intervals_pace_a_stream(golden_config: Load) -> None:
    channel = DramChannel(golden_config("DDR4"), refresh="NoRefresh")
    channel.add(Stream(0, (1000, 1, 1), interval_ck=12.5))
    channel.advance(FAR)
    assert channel.now_ck == pytest.approx(999 * 12.5 + 40, abs=20)


def test_nested_stream_touches_its_rows_only(golden_config: Load) -> None:
    config = golden_config("DDR4")
    channel = DramChannel(config, refresh="NoRefresh", mapper="RoBaRaCoCh")
    # 3 rows of bank 0, 8 bursts of each, all of it twice
    row = config.columns * config.num_banks
    channel.add(Stream(0, (8, 3, 2), (1, row, 0), interval_ck=100))  # one at a time
    channel.advance(FAR)
    assert channel.counts["ACT"] == 6
    assert channel.counts["RD"] == 48


def test_idle_channel_still_refreshes(golden_config: Load) -> None:
    config = golden_config("HBM3")
    channel = DramChannel(config)
    channel.advance(10 * config.times["refi"] + 5)  # one command per rising edge
    assert channel.counts["REFab"] == 2 * 10
    assert channel.busy_ck == channel.refresh_blocked_ck == 0


def test_refresh_blocks_a_busy_channel_for_its_duration(golden_config: Load) -> None:
    config = golden_config("HBM3")
    channel = DramChannel(config)
    channel.add(Stream(0, (1_000_000, 1, 1)))
    channel.advance(20 * config.times["refi"])
    share = channel.refresh_blocked_ck / channel.now_ck
    refreshing = config.times["rfc"] / config.times["refi"]
    assert refreshing < share < 1.25 * refreshing


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (Stream(-1, (1, 1, 1)), "bursts -1 to -1 of a channel"),
        (Stream(0, (1 << 40, 1, 1)), "of a channel that has 33554432"),
        (Stream(0, (0, 1, 1)), "has no requests"),
        (Stream(0, (1, 1, 1), interval_ck=-1.0), "negative gap"),
    ],
)
def test_impossible_streams(stream: Stream, message: str, golden_config: Load) -> None:
    with pytest.raises(SimulationError, match=message):
        DramChannel(golden_config("HBM3")).add(stream)


def test_too_many_streams(golden_config: Load) -> None:
    channel = DramChannel(golden_config("HBM3"))
    for i in range(32):
        channel.add(Stream(i, (1, 1, 1)))
    with pytest.raises(SimulationError, match="more than 32 streams"):
        channel.add(Stream(0, (1, 1, 1)))


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_pieces_make_the_whole(data: st.DataObject, golden_config: Load) -> None:
    config = golden_config(data.draw(st.sampled_from(["DDR4", "LPDDR5", "HBM2", "HBM3"])))
    streams = [
        Stream(i << 18, (data.draw(st.integers(1, 3000)), 1, 1), is_write=bool(i % 2))
        for i in range(data.draw(st.integers(1, 3)))
    ]
    whole, pieces = DramChannel(config), DramChannel(config)
    for stream in streams:
        whole.add(stream)
        pieces.add(stream)
    left = len(streams)
    while left:
        left -= len(whole.advance(FAR))
    left = len(streams)
    while left:
        left -= len(pieces.advance(pieces.now_ck + data.draw(st.integers(1, 5000))))
    assert state_of(pieces) == state_of(whole)
    assert [pieces.completion_ck(i) for i in range(len(streams))] == [
        whole.completion_ck(i) for i in range(len(streams))
    ]


# ---------------------------------------------------------------------------- energy
def test_energy_of_given_commands_by_hand(device_spec: Device) -> None:
    config = config_of(device_spec("gddr6-16"))
    counts = {"ACT": 2, "PREpb": 2, "RD": 10, "RDA": 1, "WR": 3, "WRA": 0, "REFab": 1, "REFpb": 4}
    energy = energy_pj(counts, 1000.0, config)
    assert energy["activate"] == pytest.approx(2 * 2950)
    assert energy["read"] == pytest.approx(11 * 256 * 1.71)
    assert energy["write"] == pytest.approx(3 * 256 * 2.16)
    assert energy["io"] == pytest.approx(14 * 256 * 5.5)
    assert energy["refresh"] == pytest.approx(94_400 + 4 * 5900)
    assert energy["background"] == pytest.approx(263.75 * 1000)


def test_energy_from_currents_by_hand(device_spec: Device) -> None:
    config = config_of(device_spec("ddr4-3200"))
    # 8 devices, 1.2 V, 0.625 ns; activate: 57 mA x 74 - 52 x 52 - 37 x 22 = 700 mA ck
    assert config.energies.activate_pj == pytest.approx(8 * 1.2 * 700 * 0.625)
    assert config.energies.read_pj == pytest.approx(8 * 1.2 * (168 - 52) * 4 * 0.625)
    assert config.energies.write_pj == pytest.approx(8 * 1.2 * (150 - 52) * 4 * 0.625)
    assert config.energies.refresh_pj == pytest.approx(8 * 1.2 * (250 - 52) * 576 * 0.625)
    assert config.energies.background_mw == pytest.approx(8 * 1.2 * 52)


def test_split_activates_have_energy(device_spec: Device) -> None:
    channel = DramChannel(config_of(device_spec("lpddr5-6400")))
    channel.add(Stream(0, (64, 1, 1)))
    channel.advance(FAR)
    energy = channel.energy_pj()
    assert energy["activate"] == pytest.approx(channel.counts["ACT1"] * 1740)
    assert min(energy[part] for part in ("activate", "read", "io", "background")) > 0
