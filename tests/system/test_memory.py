"""A memory on the system's clock: streams join at their own time, whatever has run ahead."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramChannel
from bankwidth.spec import DramSpec, load_machine
from bankwidth.system.memory import FOREVER_CK, MAPPER, DramMemory, sequential

Process = Generator[simpy.Event, Any, None]
Transfers = list[tuple[int, int, int, bool]]  # arrival in ps, first burst, bursts, is it a write


@pytest.fixture(scope="module")
def hbm() -> DramSpec:
    return load_machine("a100").dram("hbm")


def memory_of(hbm: DramSpec, *, skip: bool = True) -> DramMemory:
    return DramMemory(simpy.Environment(), "hbm", hbm, skip=skip)


def serve(memory: DramMemory, transfers: Transfers) -> list[tuple[int, int]]:
    """Start and end of each transfer, in ps."""
    env, served = memory.env, {}
    stripe = memory.channels * memory.config.burst_bytes

    def one(index: int) -> Process:
        arrival_ps, first, bursts, is_write = transfers[index]
        yield env.timeout(arrival_ps)
        result = yield memory.transfer(first * stripe, bursts * stripe, is_write=is_write)
        served[index] = (result.start_ps, result.end_ps)

    for index in range(len(transfers)):
        env.process(one(index))
    env.run()
    memory.finish()
    return [served[index] for index in range(len(transfers))]


def serve_directly(hbm: DramSpec, transfers: Transfers) -> tuple[list[int], DramChannel]:
    """Ticks at which each is done on a channel that is told of each arrival as it comes."""
    memory = memory_of(hbm)
    channel = DramChannel(memory.config, mapper=MAPPER, skip=False)
    ids, running = {}, 0
    for index in sorted(range(len(transfers)), key=lambda i: transfers[i][0]):
        arrival_ps, first, bursts, is_write = transfers[index]
        arrival_ck = memory.config.ticks_covering(arrival_ps)
        while channel.now_ck < arrival_ck:
            running -= len(channel.advance(arrival_ck))
        ids[index] = channel.add(sequential(memory.config, first, bursts, is_write))
        running += 1
    while running:
        running -= len(channel.advance(FOREVER_CK))
    return [channel.completion_ck(ids[i]) for i in range(len(transfers))], channel


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 7_000_000, 7_000_001, 30_000_000]),
            st.integers(0, 2**18),
            st.sampled_from([1, 40, 3000, 20_000, 50_000]),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_streams_are_served_as_if_all_were_known(
    hbm: DramSpec, transfers: Transfers, skip: bool
) -> None:
    memory = memory_of(hbm, skip=skip)
    served = serve(memory, transfers)
    ends, channel = serve_directly(hbm, transfers)
    assert [start for start, _ in served] == [arrival for arrival, *_ in transfers]
    assert [memory.config.ticks_covering(end) for _, end in served] == ends
    assert (channel.row_hits, channel.row_conflicts) == (
        memory.channel.row_hits,
        memory.channel.row_conflicts,
    )


def test_streams_of_one_instant_are_run_once(
    hbm: DramSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, simulated = memory_of(hbm, skip=False), list[int]()
    advance = memory.channel.advance

    def counting(until_ck: int) -> list[int]:
        before = memory.channel.requests_in
        done = advance(until_ck)
        simulated.append(memory.channel.requests_in - before)
        return done

    monkeypatch.setattr(memory.channel, "advance", counting)
    serve(memory, [(0, i * 2**16, 20_000, False) for i in range(4)])
    assert sum(simulated) == 80_000


def test_a_run_ahead_ends_where_something_may_join(
    hbm: DramSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, restored = memory_of(hbm, skip=False), list[object]()
    monkeypatch.setattr(memory.channel, "restore", restored.append)
    serve(memory, [(0, 0, 50_000, False), (9_000_000, 2**17, 50_000, True)])
    assert restored == []


def test_a_stream_that_nothing_announced_still_joins_in_time(hbm: DramSpec) -> None:
    """What the instant itself sets in motion after the memory has run ahead."""
    memory, ended_ps = memory_of(hbm), list[int]()
    env, stripe = memory.env, memory.channels * memory.config.burst_bytes

    def early() -> Process:
        result = yield memory.transfer(0, 50_000 * stripe, is_write=False)
        ended_ps.append(result.end_ps)

    def late() -> Process:
        yield env.timeout(0)
        yield env.timeout(0)
        yield env.timeout(9_000_000)
        yield memory.transfer(2**17 * stripe, 50_000 * stripe, is_write=True)

    env.process(early())
    env.process(late())
    env.run()
    ends, _ = serve_directly(hbm, [(0, 0, 50_000, False), (9_000_000, 2**17, 50_000, True)])
    assert ended_ps == [memory.config.time_ps(ends[0])]
