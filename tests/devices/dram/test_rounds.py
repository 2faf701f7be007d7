"""A channel that recalls rounds of refresh comes to the very state that it would have come to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramChannel, DramConfig, Stream, config_of, rounds
from bankwidth.devices.dram.rounds import Rounds
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

FAR = 10**12
DEVICES = ("ddr4-3200", "ddr5-4800", "gddr6-16", "hbm2e-3190", "hbm3e-6250", "lpddr5-6400")
HBM3 = "hbm3e-6250"
HBM3_ROWS = 2048  # bursts of one row of all banks
MOP4 = "MOP4CLXOR"
Arrivals = list[tuple[int, Stream]]


def config(name: str) -> DramConfig:
    spec = load_device(f"dram/{name}")
    assert isinstance(spec, DramSpec)
    return config_of(spec)


def plain(name: str, mapper: str = MOP4) -> DramChannel:
    return DramChannel(config(name), mapper=mapper, skip=False)


def reads(place: int, count: int, interval_ck: float = 0) -> Stream:
    return Stream(place, (count, 1, 1), interval_ck=interval_ck)


def serve(
    channel: DramChannel,
    arrivals: Arrivals,
    piece_ck: int = FAR,
    recalled: Rounds | None = None,
) -> dict[str, Any]:
    """Add streams at their ticks and run until all are done; everything that this leaves behind."""
    from bankwidth.devices.dram import kernel as k

    waiting = sorted(arrivals, key=lambda arrival: arrival[0])
    running, ends = 0, {}
    while waiting or running:
        while waiting and waiting[0][0] <= channel.now_ck:
            channel.add(waiting.pop(0)[1])
            running += 1
        limit = min(waiting[0][0] if waiting else FAR, channel.now_ck + piece_ck)
        done = recalled.advance(channel, limit) if recalled else channel.advance(limit)
        ends.update({identity: channel.completion_ck(identity) for identity in done})
        running -= len(done)
    counters = channel.state[k.N0 : k.COUNTERS_END].tolist()
    counters[k.SKIPPED - k.N0] = 0
    return {
        "now": channel.now_ck,
        "counters": counters,
        "buses": channel.bus_time(),
        "ends": ends,
    }


def check(known: Rounds, arrivals: Arrivals, name: str = HBM3, mapper: str = MOP4) -> int:
    """Requests that were recalled, in a run that equals one without."""
    channel = plain(name, mapper)
    assert serve(channel, arrivals, recalled=known) == serve(plain(name, mapper), arrivals)
    return channel.skipped_requests


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    place = draw(st.integers(0, 1)) * 2**16 + draw(st.integers(0, 5000))
    count = draw(st.sampled_from([3, 2000, 9000, 30_000, 60_000])) + draw(st.integers(0, 999))
    interval_ck = draw(st.sampled_from([0, 0, 0, 3.5, 8, 40]))
    return Stream(place, (count, 1, 1), is_write=draw(st.booleans()), interval_ck=interval_ck)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(DEVICES),
    mapper=st.sampled_from([MOP4, MOP4, "RoBaRaCoCh", "ChRaBaRoCo"]),
    arrivals=st.lists(
        st.tuples(st.sampled_from([0, 100, 30_000, 200_001]), streams()), min_size=1, max_size=3
    ),
    piece_ck=st.sampled_from([FAR, 40_000]),
    rows=st.lists(st.integers(0, 40), min_size=3, max_size=3),
)
def test_recalling_is_exact(
    name: str, mapper: str, arrivals: Arrivals, piece_ck: int, rows: list[int]
) -> None:
    """Also when the streams come again, each a number of rows further on."""
    known, again = Rounds(plain(name, mapper)), []
    for (tick, stream), row in zip(arrivals, rows, strict=False):
        again.append((tick, replace(stream, base_burst=stream.base_burst + row * HBM3_ROWS)))
    for these in (arrivals, again):
        ours = serve(plain(name, mapper), these, piece_ck, known)
        assert ours == serve(plain(name, mapper), these)


@pytest.mark.parametrize("name", DEVICES)
def test_what_was_seen_is_not_simulated_again(name: str) -> None:
    known = Rounds(plain(name))
    first = check(known, [(0, reads(4096, 100_000))], name)
    assert check(known, [(0, reads(4096 + 2**18, 90_000))], name) > 60_000 + first // 2


def test_two_streams_are_recalled_together() -> None:
    known, arrivals = Rounds(plain(HBM3)), [(0, reads(i << 17, 60_000)) for i in range(2)]
    assert check(known, arrivals) < 30_000
    assert check(known, arrivals) > 90_000


@pytest.mark.parametrize("interval_ck", [0, 40])
@pytest.mark.parametrize("apart", [512, 1500])
@pytest.mark.parametrize("order", [1, -1])
def test_streams_in_each_others_rows_are_not_taken_for_others(
    apart: int, interval_ck: float, order: int
) -> None:
    """Far from each other, or one in the rows that the other opens: the same normal form."""
    known = Rounds(plain(HBM3))
    first = reads(0, 12_000, interval_ck)
    for place in (2**17 + apart, apart)[::order]:
        check(known, [(0, first), (0, replace(first, base_burst=place))])


def test_rows_left_open_by_an_ended_stream_are_simulated() -> None:
    """They stay where they are while the others move."""
    known, channel = Rounds(plain(HBM3)), plain(HBM3)
    channel.advance(channel.config.times["refi"] - 1000)
    channel.add(reads(0, 60))
    channel.add(reads(2**17, 9000))
    assert channel.advance(FAR) == [0]
    assert channel.now_ck < channel.config.times["refi"]
    assert known._find(channel.snapshot()) is None


def test_requests_and_open_rows_lie_behind_the_next_address() -> None:
    from bankwidth.devices.dram import kernel as k

    channel = plain(HBM3)
    channel.add(reads(0, 9000))
    while channel.requests_in < HBM3_ROWS:
        assert rounds._behind(channel.state)[0] == 0
        channel.advance(channel.now_ck + 40)
    assert rounds._behind(channel.state)[0] == 1
    closed, served = channel.state.copy(), channel.state.copy()
    closed[k.OPEN_ROW_AT : k.OPEN_ROW_AT + k.BANKS] = k.CLOSED
    served[k.NUM_FREE], served[k.FREE_AT :][: k.SLOTS] = k.SLOTS, range(k.SLOTS)
    assert rounds._behind(closed)[0] == 1
    assert rounds._behind(served)[0] == 1
    served[k.OPEN_ROW_AT : k.OPEN_ROW_AT + k.BANKS] = k.CLOSED
    assert rounds._behind(served)[0] == 0


def test_short_streams_recall_what_long_ones_did() -> None:
    known = Rounds(plain("gddr6-16"))
    check(known, [(0, reads(0, 60_000))], "gddr6-16")
    assert check(known, [(0, reads(2**16, 3500))], "gddr6-16") > 0


def test_a_stream_may_end_as_a_round_does() -> None:
    """Then it has sent all its requests, but not all of them are done."""
    known, probe = Rounds(plain(HBM3)), plain(HBM3)
    probe.add(reads(0, 60_000))
    probe.advance(4 * probe.config.times["refi"])
    for more in (-10, 0, 60_000, 1, 0, -1, -10):
        check(known, [(0, reads(0, probe.requests_in + more))])


def test_a_stream_may_go_on_in_another_bank() -> None:
    """With rows below banks, a stream over the last row goes on in the next bank's first."""
    known, mapper = Rounds(plain(HBM3, "ChRaBaRoCo")), "ChRaBaRoCo"
    bank = config(HBM3).columns * config(HBM3).rows
    for place in (0, bank - 20_000 // HBM3_ROWS * HBM3_ROWS):
        check(known, [(0, reads(place, 40_000))], mapper=mapper)


def test_the_past_is_counted_as_it_was() -> None:
    """The same streams at the same ticks, one of them on a channel that has idled before."""
    known, late = Rounds(plain(HBM3)), [(20_000, reads(0, 60_000))]
    check(known, late)
    assert check(known, [(0, reads(2**17, 500)), *late]) > 30_000


@pytest.mark.parametrize("word", ["ST_WRITE", "ST_INTERVAL", "BUS_LAST_AT", "LAST_SENT"])
def test_what_the_normal_form_leaves_out_tells_states_apart(word: str) -> None:
    from bankwidth.devices.dram import kernel as k

    known, channel = Rounds(plain(HBM3)), plain(HBM3)
    channel.add(reads(0, 60_000))
    channel.advance(channel.config.times["refi"])
    saved, other = channel.snapshot(), channel.snapshot()
    other.state[getattr(k, word) + (k.STREAM_AT if word.startswith("ST_") else 0)] += 1
    assert known._find(saved) is known._find(channel.snapshot())
    assert known._find(saved) is not known._find(other)


def test_reads_do_not_recall_writes() -> None:
    known = Rounds(plain(HBM3))
    for is_write in (False, True):
        check(known, [(0, replace(reads(0, 60_000), is_write=is_write))])


def test_a_full_memory_still_recalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MOST_STATES", 4)
    known, arrivals = Rounds(plain(HBM3)), [(0, reads(0, 60_000))]
    assert check(known, arrivals) == 0
    assert 0 < check(known, arrivals) < 30_000


def test_never_beyond_the_limit() -> None:
    known = Rounds(plain(HBM3))
    for _ in range(2):
        channel = plain(HBM3)
        channel.add(reads(0, 3_000_000))
        for limit in (100_000, 100_001, 1_000_000, 1_000_777):
            assert known.advance(channel, limit) == []
            assert channel.now_ck == limit
    assert channel.skipped_requests > 0


def test_an_idle_channel_is_refreshed_to_the_limit() -> None:
    channel = plain(HBM3)
    assert Rounds(channel).advance(channel, 10_000_000) == []
    assert channel.now_ck == 10_000_000
    assert channel.counts["REFab"] == 2 * (10_000_000 // channel.config.times["refi"])
