"""What holds for every drive and every list of requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.nand.drives import ECC, drive_of
from tests.devices.nand.mixes import Asked, depths, drives, mixes, reads, requests_of

from bankwidth.devices.nand.checker import events_of, first_violation
from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.drive import Drive, DriveRun
from bankwidth.devices.nand.work import ENGINE, HOST, Job, Phase, Stream

PAGE = 4096
Lists = list[Asked]


def replay(config: DriveConfig, asked: Lists, depth: int | None, **more: Any) -> DriveRun:
    return Drive(config, **more).replay(requests_of(asked, config), queue_depth=depth)


# ---------------------------------------------------------------------------- rules and bytes
@settings(max_examples=150)
@given(changes=drives, asked=mixes, depth=depths)
def test_no_rule_is_broken(changes: dict[str, Any], asked: Lists, depth: int) -> None:
    config = drive_of(**changes)
    run = replay(config, asked, depth, trace=True)
    assert run.trace is not None
    found = first_violation(events_of(run.trace), config)
    assert found is None, str(found)


def pages_of(asked: Lists, config: DriveConfig, *, is_write: bool) -> int:
    requests = requests_of(asked, config)
    first = requests.offset_bytes // PAGE
    last = (requests.offset_bytes + requests.size_bytes - 1) // PAGE
    return int((last - first + 1)[requests.is_write == is_write].sum())


@settings(max_examples=100)
@given(changes=drives, asked=mixes, depth=depths)
def test_bytes_in_are_bytes_out(changes: dict[str, Any], asked: Lists, depth: int) -> None:
    config = drive_of(**changes)
    run = replay(config, asked, depth)
    counts, requests = run.counts, requests_of(asked, config)
    assert len(run.latency_ps) == len(asked)
    assert run.latency_ps.min() > 0
    assert counts["host_pages_read"] == pages_of(asked, config, is_write=False)
    assert counts["host_pages_written"] == pages_of(asked, config, is_write=True)
    assert counts["dram_bytes"] == 2 * int(requests.size_bytes.sum())
    assert counts["pages_read"] == counts["pages_out"]
    inside = counts["gc_read"] + counts["fill_read"] + counts["retry"]
    assert counts["pages_read"] + counts["buffer_hit"] == counts["host_pages_read"] + inside
    assert counts["pages_in"] == counts["pages_programmed"]
    assert counts["pages_in"] == counts["host_pages_written"] + counts["gc_program"]
    assert counts["gc_read"] == counts["gc_program"]


@settings(max_examples=50)
@given(changes=drives, asked=mixes, depth=depths)
def test_nothing_is_busy_for_longer_than_the_run(
    changes: dict[str, Any], asked: Lists, depth: int
) -> None:
    config = drive_of(**changes)
    run = replay(config, asked, depth, trace=True)
    assert run.trace is not None
    last_ps = int(run.trace["end_ps"].max())
    for busy in run.busy_ps.values():
        for time_ps in busy if isinstance(busy, list) else [busy]:
            assert 0 <= time_ps <= max(last_ps, run.end_ps) * config.cores


@settings(max_examples=30)
@given(changes=drives, asked=mixes, depth=depths)
def test_the_same_again_is_the_same(changes: dict[str, Any], asked: Lists, depth: int) -> None:
    config = drive_of(**changes)
    first, second = (replay(config, asked, depth, trace=True) for _ in range(2))
    assert first.counts == second.counts
    assert first.latency_ps.tolist() == second.latency_ps.tolist()
    assert first.trace is not None
    assert second.trace is not None
    assert first.trace.tobytes() == second.trace.tobytes()


# ---------------------------------------------------------------------------- open and closed loop
@settings(max_examples=50)
@given(changes=drives, asked=mixes)
def test_a_deep_queue_is_as_all_at_once(changes: dict[str, Any], asked: Lists) -> None:
    config = drive_of(**changes)
    at_once = requests_of(asked, config, arrival_ps=np.zeros(len(asked), dtype=np.int64))
    opened = Drive(config).replay(at_once, queue_depth=None)
    assert opened.latency_ps.tolist() == replay(config, asked, len(asked)).latency_ps.tolist()


@settings(max_examples=50)
@given(changes=drives, asked=st.lists(reads, min_size=1, max_size=12))
def test_far_apart_is_one_at_a_time(changes: dict[str, Any], asked: Lists) -> None:
    config = drive_of(**changes)
    far = np.arange(len(asked)) * 10**12
    opened = Drive(config).replay(requests_of(asked, config, arrival_ps=far), queue_depth=None)
    closed = replay(config, asked, 1).latency_ps
    doorbell_ps = np.full(len(asked), config.nvme_doorbell_ps)
    doorbell_ps[0] = 0  # of the request before, which the next one waits for
    assert opened.latency_ps.tolist() == (closed - doorbell_ps).tolist()


# ---------------------------------------------------------------------------- more is not less
@pytest.mark.parametrize("order", ["random", "sequential"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("cache", [False, True])
def test_a_deeper_queue_is_not_slower(order: str, share: float, cache: bool) -> None:
    rng = np.random.default_rng(1)
    policy = {"multi_plane_read": True, "cache_read": cache, "cache_program": cache}
    config = drive_of(channels=2, nand={"blocks_per_plane": 256}, policy=policy, ecc=ECC)
    pages = rng.integers(0, config.logical_pages, 2000) if order == "random" else np.arange(2000)
    asked = [(8 * int(p), 8, bool(w)) for p, w in zip(pages, rng.random(2000) < share, strict=True)]
    ends_ps = [replay(config, asked, depth).end_ps for depth in (1, 2, 4, 8, 16, 32, 64, 128)]
    for shallow_ps, deep_ps in pairwise(ends_ps):
        assert deep_ps <= 1.01 * shallow_ps


@settings(max_examples=50)
@given(changes=drives, asked=st.lists(reads, min_size=1, max_size=30))
def test_faster_parts_are_not_slower_one_at_a_time(changes: dict[str, Any], asked: Lists) -> None:
    config = drive_of(**changes)
    before = replay(config, asked, 1).latency_ps
    faster = replace(
        config,
        read_ps=tuple(ps // 2 for ps in config.read_ps),
        page_transfer_ps=config.page_transfer_ps // 2,
        bus_ps_denominator=2 * config.bus_ps_denominator,
        ecc_latency_ps=config.ecc_latency_ps // 2,
    )
    assert (replay(faster, asked, 1).latency_ps <= before).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_rate": "1400 MT/s"},
        {"nand": {"timing": {"read": "10 us"}}},
        {"chips_per_channel": 4},
        {"channels": 2},
        {"ecc": {**ECC, "rate_per_decoder": "4 GB/s"}},
        {"host": {"lanes": 8}},
        {"policy": {"cache_read": True}},
        {"policy": {"multi_plane_read": True}},
    ],
)
def test_faster_parts_are_not_slower_in_a_stream(changes: dict[str, Any]) -> None:
    asked = [(8 * page % 2048, 8, False) for page in range(1000)]
    before = replay(drive_of(ecc=ECC), asked, 32).end_ps
    assert replay(drive_of(**{"ecc": ECC, **changes}), asked, 32).end_ps <= 1.001 * before


# ---------------------------------------------------------------------------- streams and jobs
def streams(config: DriveConfig) -> list[Stream]:
    half = config.capacity_bytes // 2
    return [
        Stream(first_byte=0, size_bytes=half, block_bytes=4 * PAGE, queue_depth=8),
        Stream(first_byte=PAGE, size_bytes=half, sink=ENGINE, block_bytes=PAGE, queue_depth=16),
    ]


def jobs() -> list[Job]:
    look = Phase(first_page=0, pages=4, filter_ps_per_page=500_000, compute_ps_per_page=1_000_000)
    use = replace(look, first_page=4, then_ps=3_000_000)
    return [
        Job(base_page=0, groups=200, group_stride_pages=8, phases=(look, use), window=4),
        Job(
            base_page=3, groups=150, group_stride_pages=8, phases=(look, use), window=2, eager=True
        ),
    ]


def ends_of(config: DriveConfig, works: list[Stream | Job], *, skip: bool) -> Any:
    """When each ends, all begun at once; counts; and what was skipped."""
    drive = Drive(config, skip=skip)
    numbers = {drive.add(work): place for place, work in enumerate(works)}
    ends_ps = [0] * len(works)
    while numbers:
        for done in drive.advance():
            ends_ps[numbers.pop(done)] = drive.now_ps
    return ends_ps, drive.counts, drive.skipped_pages


@pytest.fixture(scope="module", params=["plain", "cached", "together"])
def large(request: pytest.FixtureRequest) -> DriveConfig:
    policy = {"cache_read": request.param == "cached"}
    policy["multi_plane_read"] = request.param == "together"
    return drive_of(channels=2, nand={"blocks_per_plane": 128}, policy=policy, ecc=ECC)


@pytest.mark.parametrize("number", range(4))
def test_skipping_changes_nothing(number: int, large: DriveConfig) -> None:
    works: list[Stream | Job] = [*streams(large), *jobs()]
    work = works[number]
    ends_ps, counts, skipped = ends_of(large, [work], skip=True)
    assert (ends_ps, counts, 0) == ends_of(large, [work], skip=False)
    assert skipped > 0


def test_skipping_changes_nothing_side_by_side(large: DriveConfig) -> None:
    works: list[Stream | Job] = [*streams(large), *jobs()]
    ends_ps, counts, _ = ends_of(large, works, skip=True)
    assert (ends_ps, counts, 0) == ends_of(large, works, skip=False)


@pytest.mark.parametrize("sink", [HOST, ENGINE])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_going_back_is_going_on(share: float, sink: Any, large: DriveConfig) -> None:
    work = Stream(first_byte=0, size_bytes=800 * PAGE, block_bytes=2 * PAGE, sink=sink)
    writes = Stream(first_byte=0, size_bytes=300 * PAGE, block_bytes=PAGE, is_write=True)

    def begun() -> Drive:
        drive = Drive(large, skip=False)
        drive.add(work)
        drive.add(writes)
        return drive

    whole = begun()
    ends_ps = _ends(whole)
    drive = begun()
    drive.advance(int(share * ends_ps[0]))
    saved = drive.snapshot()
    straight = _ends(drive)
    assert straight == ends_ps
    drive.restore(saved)
    assert drive.now_ps == int(share * ends_ps[0])
    assert _ends(drive) == ends_ps
    assert drive.counts == whole.counts
    assert drive.erases_of_blocks().tolist() == whole.erases_of_blocks().tolist()
    places = [[one.place_of(lpa) for lpa in range(400)] for one in (drive, whole)]
    assert places[0] == places[1]


def _ends(drive: Drive) -> list[int]:
    ends_ps = []
    while not drive.idle:
        if drive.advance():
            ends_ps.append(drive.now_ps)
    return ends_ps
