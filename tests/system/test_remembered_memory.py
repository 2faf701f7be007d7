"""Memory that remembers against the same memory command by command."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.dram import DramChannel, Refresh, config_of
from bankwidth.mapping.plan import Transfer
from bankwidth.spec import DramSpec, load_machine
from bankwidth.system import idle_channel
from bankwidth.system.idle_channel import IdleChannel, RefreshCost
from bankwidth.system.memory import FOREVER_CK, MAPPER, DramMemory, sequential
from bankwidth.system.remembered_memory import RememberedMemory

COST = RefreshCost(interval_ck=1000, held_ck=100, lost_ck=150, counts={}, per_interval={})


@pytest.fixture(scope="module")
def hbm() -> DramSpec:
    return load_machine("a100").memories["hbm"]  # type: ignore[return-value]


@pytest.fixture(scope="module")
def channel(hbm: DramSpec) -> IdleChannel:
    return IdleChannel(hbm)


def of(hbm: DramSpec) -> RememberedMemory:
    return RememberedMemory(simpy.Environment(), "hbm", hbm)


def bursts(memory: RememberedMemory, *sizes: int, is_write: bool = False) -> tuple[Transfer, ...]:
    stripe = memory.channels * memory.config.burst_bytes
    return tuple(
        Transfer(memory="hbm", address=2**26 * i, size_bytes=n * stripe, is_write=is_write)
        for i, n in enumerate(sizes)
    )


def exact_ticks(hbm: DramSpec, *streams: tuple[int, int, bool]) -> list[int]:
    config = config_of(hbm)
    channel = DramChannel(config, mapper=MAPPER, refresh=Refresh.NONE, skip=False)
    ids, left = [channel.add(sequential(config, *each)) for each in streams], len(streams)
    while left:
        left -= len(channel.advance(FOREVER_CK))
    return [channel.completion_ck(each) for each in ids]


@pytest.mark.parametrize(
    "streams",
    [((0, 3, False),), ((77, 400, True),), ((5, 3000, False), (2**17, 900, True))],
)
def test_an_outcome_is_that_of_the_channel(
    hbm: DramSpec, channel: IdleChannel, streams: tuple[tuple[int, int, bool], ...]
) -> None:
    outcome = channel.outcome(streams, opened=False)
    assert list(outcome.ends_ck) == exact_ticks(hbm, *streams)
    assert outcome.counts["RD"] + outcome.counts["WR"] == sum(n for _, n, _ in streams)


def test_rows_that_others_left_open_take_longer(channel: IdleChannel) -> None:
    streams = ((12_345, 500, False),)
    closed, opened = (channel.outcome(streams, opened=flag) for flag in (False, True))
    assert closed.ends_ck[0] < opened.ends_ck[0] < closed.ends_ck[0] + 100


def test_ever_new_lengths_are_interpolated(hbm: DramSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_channel, "LENGTHS", 2)
    channel = IdleChannel(hbm)
    for length in (3000, 3100, 4777, 9001):
        (ours,) = channel.outcome(((640, length, False),), opened=False).ends_ck
        (exact,) = exact_ticks(hbm, (640, length, False))
        assert ours == pytest.approx(exact, rel=0.01)
        assert (ours == exact) == (length < 3200)


@given(st.floats(0, 999), st.floats(1, 5000))
def test_refreshes_are_met_where_they_fall_due(into_ck: float, work_ck: float) -> None:
    """Tick by tick: work goes on but for the time that refreshes take from it."""
    added_ck, met = COST.met(into_ck, work_ck)
    now, left, seen = into_ck + max(0.0, 100 - into_ck), work_ck, 0
    while left > 1000 - now % 1000 if now % 1000 or not seen else left > 1000:
        left -= 1000 - now % 1000
        now += 1000 - now % 1000 + 150
        seen += 1
    assert met == seen
    assert into_ck + work_ck + added_ck == pytest.approx(now + left)


def test_equal_sets_at_equal_phases_are_one_spell(hbm: DramSpec) -> None:
    memory = of(hbm)
    first, again = bursts(memory, 700), bursts(memory, 700)
    interval_ps = memory.config.time_ps(memory.config.times["refi"])
    one = memory.take(first, 10 * interval_ps)
    assert memory.take(first, 20 * interval_ps) is one
    assert memory.take(first, 20 * interval_ps + interval_ps // 2) is not one
    assert memory.take(again, 30 * interval_ps).ends_ps == one.ends_ps
    assert memory.counts()["RD"] == 4 * 700 * memory.channels
    assert memory.read_bytes == sum(4 * t.size_bytes for t in first)


def test_a_set_waits_for_the_one_before(hbm: DramSpec) -> None:
    memory = of(hbm)
    (first,) = memory.carry(bursts(memory, 5000), 0)
    (second,) = memory.carry(bursts(memory, 10, is_write=True), 1000)
    spent = memory.start(bursts(memory, 1), 2000)
    assert second.start_ps == 1000
    assert second.end_ps > first.end_ps
    assert (spent.now_ps, spent.start_ps) == (2000, second.end_ps)


Sequence = list[tuple[int, int, bool]]  # pause in ns, bursts, whether it is a write


def exact(hbm: DramSpec, moves: Sequence) -> tuple[int, DramMemory]:
    """The end of transfers, each a pause behind the one before."""
    env = simpy.Environment()
    memory = DramMemory(env, "hbm", hbm, skip=True)

    def run() -> Generator[simpy.Event, Any, None]:
        for pause_ns, length, is_write in moves:
            yield env.timeout(pause_ns * 1000)
            size = length * memory.channels * memory.config.burst_bytes
            yield memory.transfer(0, size, is_write=is_write)

    env.process(run())
    env.run()
    memory.finish()
    return int(env.now), memory


def test_time_and_energy_are_those_of_the_exact_memory(hbm: DramSpec) -> None:
    moves = [(1000 + 37 * i % 900, 60 + 531 * i % 7000, i % 5 == 0) for i in range(150)]
    end_ps, by_command = exact(hbm, moves)
    memory, now_ps = of(hbm), 0
    for pause_ns, length, is_write in moves:
        transfers = bursts(memory, length, is_write=is_write)
        now_ps = memory.carry(transfers, now_ps + pause_ns * 1000)[0].end_ps
    memory.env.run(until=now_ps)
    memory.finish()
    assert now_ps == pytest.approx(end_ps, rel=0.005)
    assert memory.busy_ps() == pytest.approx(by_command.busy_ps(), rel=0.01)
    ours, theirs = memory.energy_pj(end_ps / 1e3), by_command.energy_pj(end_ps / 1e3)
    assert sum(ours.values()) == pytest.approx(sum(theirs.values()), rel=0.01)
    for item, pj in theirs.items():
        assert ours[item] == pytest.approx(pj, rel=0.05), item
    hits, results = memory.row_results()
    assert results == by_command.row_results()[1]
    assert hits == pytest.approx(by_command.row_results()[0], rel=0.02)
