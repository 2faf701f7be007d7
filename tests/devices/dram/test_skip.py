"""Adding whole periods at once changes nothing but the time it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramChannel, DramConfig, Stream

Load = Callable[[str], DramConfig]
NAMES = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")
FAR = 10**12
# (bursts in a run, runs, stride of the runs in bursts); one run: a plain sequence
SHAPES = ((60_000, 1, 0), (20_000, 1, 0), (64, 700, 512), (100, 300, 256), (3000, 12, 0))


def all_of(channel: DramChannel, ends: dict[int, int]) -> dict[str, Any]:
    """Everything that a run leaves behind."""
    return {
        "now": channel.now_ck,
        "counts": channel.counts,
        "rows": (channel.row_hits, channel.row_misses, channel.row_conflicts),
        "bytes": (channel.read_bytes, channel.write_bytes),
        "waits": (channel.refresh_blocked_ck, channel.busy_ck),
        "energy": channel.energy_pj(),
        "lost": channel.bus_time(),
        "sent": channel.last_accept_ck,
        "ends": ends,
    }


def serve(channel: DramChannel, arrivals: list[tuple[int, Stream]], piece_ck: int) -> Any:
    """Adds streams at their ticks and runs until all are done."""
    waiting = sorted(arrivals, key=lambda arrival: arrival[0])
    running, ends = 0, {}
    while waiting or running:
        while waiting and waiting[0][0] <= channel.now_ck:
            channel.add(waiting.pop(0)[1])
            running += 1
        limit = min(waiting[0][0] if waiting else FAR, channel.now_ck + piece_ck)
        for identity in channel.advance(limit):
            ends[identity] = channel.completion_ck(identity)
            running -= 1
    return all_of(channel, ends)


@st.composite
def streams(draw: st.DrawFn, config: DramConfig) -> Stream:
    run, repeats, stride = draw(st.sampled_from(SHAPES))
    bursts = config.capacity_bytes // config.burst_bytes
    place = draw(st.integers(0, 7)) * (bursts // 8) + draw(st.integers(0, 5000))
    return Stream(
        place,
        (run, repeats, 1),
        (1, stride, 0),
        is_write=draw(st.booleans()),
        interval_ck=draw(st.sampled_from([0, 0, 0, 3.5, 8, 20])),
    )


def compare(data: st.DataObject, golden_config: Load) -> None:
    """Draws a channel and streams, and runs them with and without skipping."""
    config = golden_config(data.draw(st.sampled_from(NAMES)))
    refreshes = ["AllBank", "NoRefresh"] + ["PerBank"] * ("refipb" in config.times)
    refreshes += ["HBM34PerBankRefresh"] * (config.standard == "HBM3")
    options: dict[str, Any] = {
        "refresh": data.draw(st.sampled_from(refreshes)),
        "mapper": data.draw(st.sampled_from(["RoBaRaCoCh", "MOP4CLXOR", "ChRaBaRoCo"])),
        "scheduler": data.draw(st.sampled_from(["FRFCFS", "FRFCFS-RowHit"])),
        "row_policy": data.draw(st.sampled_from(["Open", "ClosedCAP"])),
    }
    arrival = st.tuples(st.sampled_from([0, 100, 30_000]), streams(config))
    arrivals = data.draw(st.lists(arrival, min_size=1, max_size=3))
    piece_ck = data.draw(st.sampled_from([FAR, 40_000]))
    options["rate"], options["gap"] = data.draw(st.sampled_from([(1, 1), (4, 1), (1, 3), (2, 20)]))
    skipping = serve(DramChannel(config, **options), arrivals, piece_ck)
    assert skipping == serve(DramChannel(config, skip=False, **options), arrivals, FAR)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_skipping_is_exact(data: st.DataObject, golden_config: Load) -> None:
    compare(data, golden_config)


@pytest.mark.nightly
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_skipping_is_exact_many_times(data: st.DataObject, golden_config: Load) -> None:
    compare(data, golden_config)


@pytest.mark.parametrize("refresh", ["AllBank", "NoRefresh"])
@pytest.mark.parametrize("name", ["DDR4", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3"])
def test_long_stream_is_exact_and_mostly_skipped(
    name: str, refresh: str, golden_config: Load
) -> None:
    config = golden_config(name)
    arrivals = [(0, Stream(0, (3_000_000, 1, 1)))]
    quick = DramChannel(config, refresh=refresh, mapper="RoBaRaCoCh")
    slow = DramChannel(config, refresh=refresh, mapper="RoBaRaCoCh", skip=False)
    assert serve(quick, arrivals, FAR) == serve(slow, arrivals, FAR)
    assert quick.skipped_requests > 1_500_000
    assert slow.skipped_requests == 0


def test_two_streams_are_skipped_together(golden_config: Load) -> None:
    config = golden_config("HBM2")
    arrivals = [(0, Stream(i << 22, (1_000_000, 1, 1))) for i in range(2)]
    options: dict[str, Any] = {"mapper": "MOP4CLXOR", "refresh": "NoRefresh"}
    quick, slow = DramChannel(config, **options), DramChannel(config, skip=False, **options)
    assert serve(quick, arrivals, FAR) == serve(slow, arrivals, FAR)
    assert quick.skipped_requests > 1_500_000


def test_restored_channel_does_not_remember_the_future(golden_config: Load) -> None:
    config = golden_config("HBM3")
    stream, late = Stream(0, (3_000_000, 1, 1)), Stream(1 << 23, (40_000, 1, 1), is_write=True)
    quick, slow = (DramChannel(config, refresh="NoRefresh", skip=skip) for skip in (True, False))
    quick.add(stream)
    quick.advance(50_000)
    saved = quick.snapshot()
    quick.advance(FAR)
    assert quick.skipped_requests > 0
    quick.restore(saved)
    slow.add(stream)
    slow.advance(50_000)
    ends = []
    for channel in (quick, slow):
        channel.advance(200_000)
        channel.add(late)
        ends.append([(channel.advance(FAR), channel.now_ck) for _ in range(2)])
    assert ends[0] == ends[1]
    assert all_of(quick, {}) == all_of(slow, {})


def test_never_beyond_the_limit(golden_config: Load) -> None:
    channel = DramChannel(golden_config("HBM3"), refresh="NoRefresh")
    channel.add(Stream(0, (30_000_000, 1, 1)))
    for limit in (100_000, 100_001, 5_000_000, 5_000_777):
        assert channel.advance(limit) == []
        assert channel.now_ck == limit
    assert channel.skipped_requests > 0


def test_time_hardly_depends_on_the_length(golden_config: Load) -> None:
    config = golden_config("HBM3")
    simulated = []
    for count in (3_000_000, 30_000_000):
        channel = DramChannel(config, mapper="MOP4CLXOR")
        channel.add(Stream(0, (count, 1, 1)))
        channel.advance(FAR)
        simulated.append(count - channel.skipped_requests)
    assert simulated[1] < 1.5 * simulated[0]


def test_a_state_looked_at_twice_in_a_tick_is_no_period(golden_config: Load) -> None:
    options: dict[str, Any] = {
        "refresh": "NoRefresh", "mapper": "ChRaBaRoCo", "row_policy": "ClosedCAP",
        "rate": 2, "gap": 20,
    }  # fmt: skip
    arrivals = [
        (100, Stream(16777252, (100, 300, 1), (1, 256, 0))),
        (30_000, Stream(0, (60_000, 1, 1), interval_ck=3.5)),
    ]
    channels = [DramChannel(golden_config("DDR4"), skip=skip, **options) for skip in (True, False)]
    quick, slow = (serve(channel, arrivals, 40_000) for channel in channels)
    assert quick == slow


def test_a_bus_that_was_idle_since_the_start_is_not_one_that_was_used(golden_config: Load) -> None:
    # sixteen reads per refresh: in the first interval the second pseudo-channel has no use yet
    config = golden_config("HBM2")
    interval_ck = config.times["refi"] / 16
    lap = config.columns * config.num_banks
    arrivals = [(0, Stream(0, (6 * lap, 1, 1), interval_ck=interval_ck))]
    channels = [DramChannel(config, row_policy="ClosedCAP", skip=skip) for skip in (True, False)]
    quick, slow = (serve(channel, arrivals, FAR) for channel in channels)
    assert quick == slow
    assert channels[0].skipped_requests > lap
