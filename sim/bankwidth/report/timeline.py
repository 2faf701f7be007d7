"""The timeline as Chrome trace JSON, gzipped, which ui.perfetto.dev and chrome://tracing open.

Perfetto keeps whole nanoseconds, the simulator whole picoseconds. So that nothing is lost, 1 ns in
the viewer is 1 ps of the machine, in every trace: what the viewer calls 4 s took 4 ms. The trace
says so in its process names and in `otherData`.
"""

from __future__ import annotations

import gzip
import heapq
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from bankwidth.report.lanes import nest
from bankwidth.results import Result, Slice
from bankwidth.units import ns_to_ps

MAX_SLICES: Final = 2_000_000  # about 170 MB of JSON; chrome://tracing stops near 256 MB
SCALE_NOTE: Final = "1 ns shown is 1 ps simulated"


def slices_of(result: Result) -> tuple[Slice, ...]:
    """The run's slices; where it kept none, one slice per operator, on its engine's track."""
    if result.slices:
        return tuple(result.slices)
    names = ("engine", "name", "start_ns", "duration_ns", "kind", "bound")
    columns = (result.operators[name].tolist() for name in names)
    return tuple(
        Slice(engine, name, ns_to_ps(start_ns), ns_to_ps(duration_ns), kind, {"bound": bound})
        for engine, name, start_ns, duration_ns, kind, bound in zip(*columns, strict=True)
    )


def timeline_gz(result: Result, max_slices: int = MAX_SLICES) -> bytes:
    """The gzipped trace, the same bytes for the same run. Above the cap the longest slices stay."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=buffer, mtime=0) as packed:
        for text in _trace_text(result, max_slices):
            packed.write(text.encode())
    return buffer.getvalue()


def _trace_text(result: Result, max_slices: int) -> Iterator[str]:
    every = slices_of(result)
    kept = _longest(every, max_slices)
    notes = {
        "run": result.title,
        "time_scale": SCALE_NOTE,
        "slices": len(kept),
        "slices_left_out": len(every) - len(kept),
        "provenance": result.provenance,
    }
    yield f'{{"displayTimeUnit":"ns","otherData":{_json(notes)},"traceEvents":[\n'
    for number, event in enumerate(_events(result, kept, len(every) - len(kept))):
        yield (",\n" if number else "") + event
    yield "\n]}\n"


def _longest(slices: Sequence[Slice], number: int) -> Sequence[Slice]:
    """The longest `number` slices, the earlier of equals, in their order."""
    if len(slices) <= number:
        return slices
    order = heapq.nsmallest(number, range(len(slices)), key=lambda i: (-slices[i].dur_ps, i))
    return [slices[i] for i in sorted(order)]


def _events(result: Result, slices: Sequence[Slice], left_out: int) -> Iterator[str]:
    tracks = _tracks(result, slices)
    yield from _process_names(result, tracks, left_out)
    pieces: dict[str, list[Slice]] = {track: [] for track in tracks}
    for piece in slices:
        pieces[piece.track].append(piece)
    tid = 0
    for track, pid in tracks.items():
        for number, lane in enumerate(nest(pieces[track]) or [[]]):
            tid += 1
            yield from _thread_names(pid, tid, track, number)
            yield from (_slice_event(pid, tid, piece) for piece in lane)
    yield from _counter_events(result, tracks)


def _group(track: str) -> str:
    return track.partition("/")[0]


def _tracks(result: Result, slices: Iterable[Slice]) -> dict[str, int]:
    """Track -> process id, in the order of appearance; one process per group of tracks."""
    names = dict.fromkeys([*(s.track for s in slices), *(c.track for c in result.counters)])
    groups = {group: pid for pid, group in enumerate(dict.fromkeys(map(_group, names)), start=1)}
    return {track: groups[_group(track)] for track in names}


def _process_names(result: Result, tracks: dict[str, int], left_out: int) -> Iterator[str]:
    for group, pid in {_group(track): pid for track, pid in tracks.items()}.items():
        yield _meta("process_name", pid, 0, name=f"{group} ({SCALE_NOTE})")
        yield _meta("process_sort_index", pid, 0, sort_index=pid)
        if left_out:
            yield _meta("process_labels", pid, 0, labels=f"{left_out} shortest slices left out")


def _thread_names(pid: int, tid: int, track: str, lane: int) -> Iterator[str]:
    name = track.partition("/")[2] or track
    yield _meta("thread_name", pid, tid, name=f"{name} (overlap {lane})" if lane else name)
    yield _meta("thread_sort_index", pid, tid, sort_index=tid)


def _meta(what: str, pid: int, tid: int, **args: Any) -> str:
    return _json({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args})


def _slice_event(pid: int, tid: int, piece: Slice) -> str:
    name, category, args = _json(piece.name), _json(piece.category), _json(dict(piece.args))
    start, duration = _trace_us(piece.start_ps), _trace_us(piece.dur_ps)
    return (
        f'{{"ph":"X","pid":{pid},"tid":{tid},"ts":{start},"dur":{duration},'
        f'"name":{name},"cat":{category},"args":{args}}}'
    )


def _trace_us(time_ps: int) -> str:
    """Microseconds of trace time, 1 trace-ns being 1 ps: exact decimals, never a float."""
    return f"{time_ps // 1000}.{time_ps % 1000:03d}"


def _counter_events(result: Result, tracks: dict[str, int]) -> Iterator[str]:
    for counter in result.counters:
        title = _json(f"{counter.track} {counter.name} ({counter.unit})")
        for time_ps, value in zip(counter.times_ps, counter.values, strict=True):
            yield (
                f'{{"ph":"C","pid":{tracks[counter.track]},"ts":{_trace_us(time_ps)},'
                f'"name":{title},"args":{{"value":{_json(value)}}}}}'
            )


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False, default=plain_number)


def plain_number(value: object) -> Any:
    """Python number of a numpy one, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} has no form in JSON")
