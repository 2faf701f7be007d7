"""Timelines of runs as Perfetto's own protobuf (TrackEvent packets, .pftrace).

Written with our own wire codec: a Trace is packets (1) of descriptors of tracks (60) and of events
(11); field numbers are those of perfetto's protos/perfetto/trace. Time stays what it is in the
run's Chrome timeline: 1 ns shown is 1 ps of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bankwidth.operators.formats.base import Format, Head
from bankwidth.operators.formats.chrome import (
    timeline_events,
    timeline_notes,
    without_times,
    written,
)
from bankwidth.operators.formats.protobuf_wire import (
    bytes_field,
    double_field,
    integer_field,
    text_field,
)

SUFFIXES: Final = (".pftrace", ".pftrace.gz")
_BEGIN, _END, _INSTANT, _COUNTER = 1, 2, 3, 4  # TrackEvent.Type
_SEQUENCE: Final = integer_field(10, 1)  # all packets are of one writer
_CLEARED: Final = integer_field(13, 1)  # SEQ_INCREMENTAL_STATE_CLEARED, in the first packet
_EXPLICIT: Final = integer_field(11, 3)  # children in the order of their ranks
_NS_PER_US: Final = 1000


def write_run_perfetto(run: str | Path, path: str | Path) -> tuple[str, ...]:
    """The timeline of a run's folder as a Perfetto trace, gzipped if the name ends in `.gz`.

    Raises TraceError when the folder has no whole timeline, OutputError when the file cannot be
    written.
    """
    notes = timeline_notes(run)
    with written(Path(path)) as file:
        for packet in _packets(notes, timeline_events(run)):
            file.write(bytes_field(1, packet))
    return ()


def _packets(notes: Mapping[str, Any], events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    tracks = _Tracks()
    run = tracks.next_uuid()
    yield _CLEARED + _descriptor(run, str(notes.get("run", "run")), rank=0)
    yield _event(0, _INSTANT, run, "run", annotations=notes)
    for event in events:
        yield from _of_event(event, tracks)
    for lane in tracks.lanes.values():
        yield from lane.closed()


def _of_event(event: Mapping[str, Any], tracks: _Tracks) -> Iterator[bytes]:
    kind, pid = event["ph"], event["pid"]
    if kind == "M":
        tracks.note_name(event)
    elif kind == "X":
        yield from tracks.parent(pid)
        yield from tracks.lane(pid, event["tid"])
        start = _ns(event["ts"])
        yield from tracks.lanes[event["tid"]].slice(start, start + _ns(event["dur"]), event)
    elif kind == "C":
        yield from tracks.parent(pid)
        yield from tracks.counter(pid, event["name"])
        uuid = tracks.counters[pid, event["name"]]
        value = double_field(44, float(event["args"]["value"]))
        yield _packet(
            _ns(event["ts"]), integer_field(9, _COUNTER) + integer_field(11, uuid) + value
        )


class _Lane:
    """Slices of one track, which nest: those that are open, outer first."""

    def __init__(self, uuid: int) -> None:
        self._uuid = uuid
        self._ends: list[int] = []

    def slice(self, start: int, end: int, event: Mapping[str, Any]) -> Iterator[bytes]:
        while self._ends and self._ends[-1] <= start:
            yield self._end()
        yield _event(start, _BEGIN, self._uuid, event["name"], event.get("cat", ""), event["args"])
        self._ends.append(end)

    def closed(self) -> Iterator[bytes]:
        while self._ends:
            yield self._end()

    def _end(self) -> bytes:
        ended = integer_field(9, _END) + integer_field(11, self._uuid)
        return _packet(self._ends.pop(), ended)


class _Tracks:
    """Tracks by their numbers in the timeline; each is described before its first event."""

    def __init__(self) -> None:
        self.lanes: dict[int, _Lane] = {}
        self.counters: dict[tuple[int, str], int] = {}
        self._parents: dict[int, int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._uuid = 0

    def next_uuid(self) -> int:
        self._uuid += 1
        return self._uuid

    def note_name(self, event: Mapping[str, Any]) -> None:
        for what, number in (("process_name", event["pid"]), ("thread_name", event["tid"])):
            if event["name"] == what:
                self._names[what, number] = event["args"]["name"]

    def parent(self, pid: int) -> Iterator[bytes]:
        if pid not in self._parents:
            self._parents[pid] = self.next_uuid()
            name = self._names.get(("process_name", pid), f"process {pid}")
            yield _descriptor(self._parents[pid], name, rank=pid)

    def lane(self, pid: int, tid: int) -> Iterator[bytes]:
        if tid not in self.lanes:
            uuid = self.next_uuid()
            self.lanes[tid] = _Lane(uuid)
            name = self._names.get(("thread_name", tid), f"thread {tid}")
            yield _descriptor(uuid, name, rank=tid, parent=self._parents[pid])

    def counter(self, pid: int, name: str) -> Iterator[bytes]:
        if (pid, name) not in self.counters:
            uuid = self.counters[pid, name] = self.next_uuid()
            yield _descriptor(uuid, name, rank=uuid, parent=self._parents[pid], counter=True)


def _descriptor(
    uuid: int, name: str, *, rank: int, parent: int | None = None, counter: bool = False
) -> bytes:
    data = integer_field(1, uuid) + text_field(2, name) + _EXPLICIT + integer_field(12, rank)
    data += integer_field(5, parent) if parent is not None else b""
    data += bytes_field(8, b"") if counter else b""
    return _SEQUENCE + bytes_field(60, data)


def _event(
    time_ns: int,
    kind: int,
    uuid: int,
    name: str,
    category: str = "",
    annotations: Mapping[str, Any] | None = None,
) -> bytes:
    data = integer_field(9, kind) + integer_field(11, uuid) + text_field(23, name)
    data += text_field(22, category) if category else b""
    for key, value in (annotations or {}).items():
        data += bytes_field(4, text_field(10, key) + _annotated(value))
    return _packet(time_ns, data)


def _annotated(value: Any) -> bytes:
    """The value field of a DebugAnnotation; what is no plain value becomes JSON."""
    if isinstance(value, bool):
        return integer_field(2, value)
    if isinstance(value, int):
        return integer_field(4, value)
    if isinstance(value, float | Decimal):
        return double_field(5, float(value))
    return text_field(6, value if isinstance(value, str) else json.dumps(value, default=float))


def _packet(time_ns: int, event: bytes) -> bytes:
    return integer_field(8, time_ns) + _SEQUENCE + bytes_field(11, event)


def _ns(time_us: Decimal | int) -> int:
    """Whole nanoseconds of a timeline's microseconds, which have three decimals."""
    return int(time_us * _NS_PER_US)


def _never(head: Head) -> bool:
    """Timelines are not read: their slices have no shapes."""
    return False


PERFETTO: Final = Format(
    name="perfetto",
    what="Perfetto protobuf trace of a run, .pftrace, for ui.perfetto.dev",
    recognises=_never,
    suffixes=SUFFIXES,
    write=without_times("Perfetto"),
)
