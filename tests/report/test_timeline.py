"""The trace parses back, nests, keeps every picosecond and is the same bytes each time."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.report.lanes import nest
from bankwidth.report.timeline import timeline_gz
from bankwidth.results import Result, Slice


def parsed(result: Result, **options: int) -> dict[str, Any]:
    text = gzip.decompress(timeline_gz(result, **options)).decode()
    trace: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return trace


def events(trace: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] == phase]


def ps(event: dict[str, Any], key: str) -> int:
    """1 trace-ns is 1 ps, and the format counts microseconds."""
    exact = event[key] * 1000
    assert exact == int(exact)
    return int(exact)


def test_every_slice_comes_back_to_the_picosecond(make_result: Callable[..., Result]) -> None:
    odd = (Slice("gpu", "a", 1, 3, "x"), Slice("gpu", "b", 10**13 + 7, 999_999_999_999, "x"))
    found = events(parsed(replace(make_result(1), slices=odd)), "X")
    assert [(ps(e, "ts"), ps(e, "dur")) for e in found] == [(1, 3), (10**13 + 7, 999_999_999_999)]


def test_slice_time_per_track_is_that_of_the_run(result: Result) -> None:
    trace = parsed(result)
    threads = [event for event in events(trace, "M") if event["name"] == "thread_name"]
    names = {(event["pid"], event["tid"]): event["args"]["name"] for event in threads}
    busy_ps: dict[str, int] = defaultdict(int)
    for event in events(trace, "X"):
        busy_ps[names[event["pid"], event["tid"]]] += ps(event, "dur")
    assert busy_ps["gpu"] == result.latency_ps
    assert busy_ps["channel 0"] == sum(s.dur_ps for s in result.slices if s.track != "gpu")


def test_tracks_have_named_processes_and_threads_that_state_the_scale(result: Result) -> None:
    trace = parsed(result)
    names = [(e["name"], e["args"]["name"]) for e in events(trace, "M") if "name" in e["args"]]
    assert names == [
        ("process_name", "gpu (1 ns shown is 1 ps simulated)"),
        ("process_name", "hbm (1 ns shown is 1 ps simulated)"),
        ("thread_name", "gpu"),
        ("thread_name", "channel 0"),
        ("thread_name", "hbm"),
    ]
    assert trace["otherData"]["time_scale"] == "1 ns shown is 1 ps simulated"
    assert trace["displayTimeUnit"] == "ns"


def test_counters_have_units_and_values(result: Result) -> None:
    found = events(parsed(result), "C")
    assert [(e["name"], ps(e, "ts"), float(e["args"]["value"])) for e in found] == [
        ("hbm read bandwidth (GB/s)", 0, 4100.0),
        ("hbm read bandwidth (GB/s)", 24_100_000, 4300.5),
    ]


def test_the_same_run_gives_the_same_bytes(make_result: Callable[..., Result]) -> None:
    assert timeline_gz(make_result(3)) == timeline_gz(make_result(3))
    assert timeline_gz(make_result(3))[4:8] == b"\0\0\0\0"  # no time of day in the gzip header


def test_above_the_cap_the_longest_stay_and_the_trace_says_so(result: Result) -> None:
    trace = parsed(result, max_slices=4)
    names = {event["name"] for event in events(trace, "X")}
    assert names == {"gate_up_proj"}  # the longest, in 4 layers
    assert trace["otherData"]["slices_left_out"] == len(result.slices) - 4
    labels = [e["args"]["labels"] for e in events(trace, "M") if e["name"] == "process_labels"]
    assert set(labels) == {f"{len(result.slices) - 4} shortest slices left out"}


def test_hostile_names_stay_text(make_result: Callable[..., Result]) -> None:
    name = 'a"}],\n\u2028</script>'
    found = events(parsed(make_result(1, name=lambda _: name)), "X")
    assert {event["name"] for event in found} == {name}


SLICES = st.lists(
    st.builds(
        Slice,
        track=st.just("t"),
        name=st.just("n"),
        start_ps=st.integers(0, 60),
        dur_ps=st.integers(0, 30),
        category=st.just("c"),
    ),
    max_size=40,
)


@given(SLICES)
def test_lanes_nest_and_lose_nothing(slices: list[Slice]) -> None:
    lanes = nest(slices)
    assert sorted(s.start_ps for lane in lanes for s in lane) == sorted(s.start_ps for s in slices)
    for lane in lanes:
        spans = [(s.start_ps, s.start_ps + s.dur_ps) for s in lane]
        for i, (start, end) in enumerate(spans):
            for other_start, other_end in spans[i + 1 :]:
                assert other_start >= end or (start <= other_start and other_end <= end)


def test_crossing_slices_go_to_a_second_lane_with_its_own_name(result: Result) -> None:
    crossing = (Slice("gpu", "a", 0, 10, "x"), Slice("gpu", "b", 5, 10, "x"))
    trace = parsed(replace(result, slices=crossing, counters=()))
    assert [e["tid"] for e in events(trace, "X")] == [1, 2]
    names = [e["args"]["name"] for e in events(trace, "M") if e["name"] == "thread_name"]
    assert names == ["gpu", "gpu (overlap 1)"]


def test_a_number_that_json_has_not_is_refused(result: Result) -> None:
    bad = (Slice("gpu", "a", 0, 10, "x", {"rate": float("nan")}),)
    with pytest.raises(ValueError, match="JSON"):
        timeline_gz(replace(result, slices=bad))
