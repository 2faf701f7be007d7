"""Timelines of runs, out: Chrome JSON and Perfetto's protobuf; times of a run for Chakra."""

from __future__ import annotations

import gzip
import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators import Trace, Workload, make_trace, write_trace
from bankwidth.operators.formats import export_trace
from bankwidth.operators.formats.chakra import write_chakra
from bankwidth.operators.formats.chakra_schema import read_node
from bankwidth.operators.formats.chrome import (
    run_durations_ps,
    timeline_events,
    write_run_timeline,
)
from bankwidth.operators.formats.perfetto import write_run_perfetto
from bankwidth.operators.formats.protobuf_wire import Field, fields, read_messages

# As report/timeline.py writes it: a group of tracks is a process, a track a thread; 1 us is 1 ns.
HEAD = (
    '{"displayTimeUnit":"ns","otherData":{"run":"tiny on chip","slices":4,'
    '"provenance":{"seed":7}},"traceEvents":['
)
EVENTS = [
    '{"ph":"M","name":"process_name","pid":1,"tid":0,"args":{"name":"gpu (ps)"}}',
    '{"ph":"M","name":"thread_name","pid":1,"tid":1,"args":{"name":"gpu"}}',
    '{"ph":"X","pid":1,"tid":1,"ts":0.000,"dur":10.500,"name":"outer","cat":"op",'
    '"args":{"bound":"hbm","bytes":7,"share":0.5,"is_far":true}}',
    '{"ph":"X","pid":1,"tid":1,"ts":0.000,"dur":2.001,"name":"first","cat":"","args":{}}',
    '{"ph":"X","pid":1,"tid":1,"ts":2.001,"dur":8.499,"name":"second","cat":"","args":{}}',
    '{"ph":"X","pid":1,"tid":1,"ts":999999999999.999,"dur":0.001,"name":"late","cat":"","args":{}}',
    '{"ph":"C","pid":1,"ts":1.250,"name":"hbm reads (B/ns)","args":{"value":3.5}}',
]


def folder(tmp_path: Path, *lines: str, head: str = HEAD, last: str = "]}\n") -> Path:
    run = tmp_path / "run"
    run.mkdir()
    text = f"{head}\n" + ",\n".join(lines or EVENTS) + "\n" + last
    (run / "timeline.json.gz").write_bytes(gzip.compress(text.encode()))
    return run


def by_number(data: Any) -> dict[int, list[Field]]:
    found: dict[int, list[Field]] = {}
    for field in fields(data):
        found.setdefault(field.number, []).append(field)
    return found


def packets(path: Path) -> list[dict[int, list[Field]]]:
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return [by_number(packet.content()) for packet in fields(data)]


def test_a_timeline_is_the_runs_own(tmp_path: Path) -> None:
    run = folder(tmp_path)
    write_run_timeline(run, tmp_path / "t.json")
    text = gzip.decompress((run / "timeline.json.gz").read_bytes())
    assert (tmp_path / "t.json").read_bytes() == text
    assert len(json.loads(text)["traceEvents"]) == len(EVENTS)
    write_run_timeline(run, tmp_path / "t.json.gz")
    assert gzip.decompress((tmp_path / "t.json.gz").read_bytes()) == text


def test_slices_begin_and_end_in_whole_picoseconds(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    write_run_perfetto(folder(tmp_path), path)
    events = [
        (packet[8][0].integer(), by_number(packet[11][0].content()))
        for packet in packets(path)
        if 11 in packet
    ]
    told = [(time, event[9][0].integer(), event.get(23)) for time, event in events]
    named = [(time, kind, name[0].text() if name else None) for time, kind, name in told]
    late = 999_999_999_999_999
    assert named == [
        (0, 3, "run"),
        (0, 1, "outer"),
        (0, 1, "first"),
        (2001, 2, None),
        (2001, 1, "second"),
        (10500, 2, None),
        (10500, 2, None),
        (late, 1, "late"),
        (1250, 4, None),
        (late + 1, 2, None),
    ]
    (counter,) = [event for _, event in events if event[9][0].integer() == 4]
    assert struct.unpack("<d", counter[44][0].value) == (3.5,)  # type: ignore[arg-type]
    assert Counter(event[11][0].integer() for _, event in events) == {1: 1, 3: 8, 4: 1}


def test_tracks_are_described_before_their_events(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace.gz"
    write_run_perfetto(folder(tmp_path), path)
    described: dict[int, tuple[str, int | None]] = {}
    for packet in packets(path):
        assert packet[10][0].integer() == 1
        if 60 in packet:
            track = by_number(packet[60][0].content())
            parent = track[5][0].integer() if 5 in track else None
            described[track[1][0].integer()] = (track[2][0].text(), parent)
        else:
            assert by_number(packet[11][0].content())[11][0].integer() in described
    assert described == {
        1: ("tiny on chip", None),
        2: ("gpu (ps)", None),
        3: ("gpu", 2),
        4: ("hbm reads (B/ns)", 2),
    }


def test_what_a_slice_says_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.pftrace"
    write_run_perfetto(folder(tmp_path), path)
    event = next(
        found
        for packet in packets(path)
        if 11 in packet and 4 in (found := by_number(packet[11][0].content()))
        if found[23][0].text() == "outer"
    )
    notes = {}
    for each in event[4]:
        (name,), *values = [kept for _, kept in sorted(by_number(each.content()).items())][::-1]
        ((value,),) = values
        notes[name.text()] = (value.number, value.value)
    share = struct.pack("<d", 0.5)
    assert notes == {"bound": (6, b"hbm"), "bytes": (4, 7), "share": (5, share), "is_far": (2, 1)}


def test_perfettos_own_library_reads_it(tmp_path: Path) -> None:
    trace_pb2 = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    path = tmp_path / "t.pftrace"
    write_run_perfetto(folder(tmp_path), path)
    trace = trace_pb2.Trace.FromString(path.read_bytes())
    names = [p.track_event.name for p in trace.packet if p.HasField("track_event")]
    assert [name for name in names if name] == ["run", "outer", "first", "second", "late"]


# A trace alone has no times


@pytest.mark.parametrize("name", ["t.pftrace", "t.chrome.json"])
def test_a_trace_without_times_is_refused(
    name: str, tiny_llama: Workload, tmp_path: Path, bankwidth: Any
) -> None:
    trace = make_trace(tiny_llama, context=8)
    with pytest.raises(TraceError, match="a trace has no times"):
        export_trace(trace, tmp_path / name)
    assert not (tmp_path / name).exists()


# What is wrong with a folder


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"last": ""}, ":8: the timeline ends before its last line: truncated"),
        ({"head": '{"events":['}, ":1: not a timeline of a run"),
        ({"head": "[1, 2"}, ":1: not a timeline of a run"),
    ],
)
def test_timelines_that_are_cut_or_of_others(
    parts: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    run = folder(tmp_path, **parts)
    with pytest.raises(TraceError) as error:
        write_run_perfetto(run, tmp_path / "t.pftrace")
    assert f"timeline.json.gz{problem}" in str(error.value)
    if "last" in parts:
        with pytest.raises(TraceError, match="truncated"):
            write_run_timeline(run, tmp_path / "t.json")
    assert not (tmp_path / "t.pftrace").exists()
    assert list(tmp_path.iterdir()) == [run]  # nothing half written is left


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"ph":"X","pid":1', "not an event"),
        ('{"ph":"X","pid":1,"tid":1,"ts":0,"name":"n","args":{}}', "no event of a run"),
        ('{"ph":"B","pid":1,"tid":1,"ts":0,"name":"n","args":{}}', "no event of a run"),
        ("7", "no event of a run"),
    ],
)
def test_bad_events_say_their_line(line: str, problem: str, tmp_path: Path) -> None:
    run = folder(tmp_path, EVENTS[0], line, EVENTS[1])
    with pytest.raises(TraceError) as error:
        list(timeline_events(run))
    assert f"timeline.json.gz:3: {problem}" in str(error.value)


def test_folders_without_a_timeline(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"bankwidth run \.\.\. --out FOLDER"):
        write_run_timeline(tmp_path, tmp_path / "t.json")
    run = folder(tmp_path)
    packed = run / "timeline.json.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(TraceError, match="damaged or truncated"):
        write_run_timeline(run, tmp_path / "t.json")
    assert list(tmp_path.iterdir()) == [run]
    with pytest.raises(OutputError, match="cannot be written"):
        write_run_timeline(run, tmp_path / "no" / "t.json")


# Times of a run for a trace


def operators_csv(run: Path, trace: Trace) -> None:
    rows = [f"{op.name},{i}.125" for i, op in enumerate(trace.operators())]
    (run / "operators.csv").write_text("\n".join(["name,duration_ns", *rows]) + "\n")


def test_durations_of_a_run_are_exact(tiny_llama: Workload, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama, context=8)
    operators_csv(tmp_path, trace)
    durations = run_durations_ps(tmp_path, trace)
    assert durations == [1000 * i + 125 for i in range(trace.num_steps)]
    write_chakra(trace, tmp_path / "t.et", durations)
    last = list(read_messages(tmp_path / "t.et"))[-1]
    assert read_node(fields(last.data), 0).attributes["duration_ps"] == durations[-1]


def test_durations_of_another_trace_are_refused(tiny_llama: Workload, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama, context=8)
    operators_csv(tmp_path, trace)
    table = (tmp_path / "operators.csv").read_text()
    (tmp_path / "operators.csv").write_text(table.replace("embed,", "other,", 1))
    with pytest.raises(TraceError, match=r"operators.csv:2: operator 'other', but 'embed'"):
        run_durations_ps(tmp_path, trace)
    (tmp_path / "operators.csv").write_text(table.replace("0.125", "soon", 1))
    with pytest.raises(TraceError, match=r"operators.csv:2: duration_ns must be a number"):
        run_durations_ps(tmp_path, trace)
    with pytest.raises(TraceError, match="operators, but the trace has"):
        run_durations_ps(tmp_path, make_trace(tiny_llama, phase="generate", context=8, output=2))


@pytest.mark.slow
def test_a_real_run(tiny_llama: Workload, tmp_path: Path, bankwidth: Any) -> None:
    """Every slice of a run begins and ends, and operators take what its table says."""
    trace = make_trace(tiny_llama, context=8)
    write_trace(trace, tmp_path / "t.jsonl")
    assert bankwidth("run", "h200", tmp_path / "t.jsonl", "--out", tmp_path / "run").code == 0
    write_run_perfetto(tmp_path / "run", tmp_path / "t.pftrace")
    kinds = Counter(
        by_number(packet[11][0].content())[9][0].integer()
        for packet in packets(tmp_path / "t.pftrace")
        if 11 in packet
    )
    slices = sum(event["ph"] == "X" for event in timeline_events(tmp_path / "run"))
    assert kinds[1] == kinds[2] == slices >= trace.num_steps
    assert len(run_durations_ps(tmp_path / "run", trace)) == trace.num_steps
