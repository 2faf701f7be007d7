"""Timelines of runs, as Chrome trace JSON: a trace has no times, a run's folder has.

`bankwidth run --out` writes `timeline.json.gz` and `operators.csv`. The first is a Chrome trace
already, one event a line, in which 1 ns shown is 1 ps of the machine; here it is read again,
written plainly, or given to another format, as the times of the second are.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators.formats.base import Format, Head
from bankwidth.operators.textfile import read_text
from bankwidth.operators.trace import Trace

TIMELINE: Final = "timeline.json.gz"
OPERATORS: Final = "operators.csv"
_HEADER: Final = '"traceEvents":['
_LAST: Final = "]}"
_PS_PER_NS: Final = 1000
# ph -> what such an event has: names, slices, counters
_EVENT_KEYS: Final[dict[str, set[str]]] = {
    "M": {"name", "pid", "tid", "args"},
    "X": {"name", "pid", "tid", "ts", "dur", "args"},
    "C": {"name", "pid", "ts", "args"},
}


def write_run_timeline(run: str | Path, path: str | Path) -> tuple[str, ...]:
    """The timeline of a run's folder as Chrome JSON, gzipped if the name ends in `.gz`.

    Raises TraceError when the folder has no whole timeline, OutputError when the file cannot be
    written.
    """
    line, number = "", 0
    with written(Path(path)) as file:
        for number, line in enumerate(_lines(Path(run)), start=1):  # noqa: B007 - the last ones
            file.write(line.encode())
        if line.strip() != _LAST:
            raise _cut(Path(run) / TIMELINE, number)
    return ()


def timeline_notes(run: str | Path) -> dict[str, Any]:
    """What a run's timeline says of itself: the run, the scale of time, the provenance."""
    path = Path(run) / TIMELINE
    first = next(_lines(Path(run)), "")
    try:
        return dict(json.loads(first.rstrip() + "]}")["otherData"])
    except (ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{path}:1: not a timeline of a run ({error})") from error


def timeline_events(run: str | Path) -> Iterator[dict[str, Any]]:
    """The events of a run's timeline, one at a time; times are exact decimals.

    Raises TraceError with `file:line` for a timeline that is cut or of another tool.
    """
    path = Path(run) / TIMELINE
    number = 0
    for number, line in enumerate(_lines(Path(run)), start=1):
        text = line.strip().rstrip(",")
        if number == 1:
            if not text.endswith(_HEADER):
                raise TraceError(f"{path}:1: not a timeline of a run")
            continue
        if text == _LAST:
            return
        try:
            event = json.loads(text, parse_float=Decimal)
        except ValueError as error:
            raise TraceError(f"{path}:{number}: not an event ({error}): truncated?") from error
        if not isinstance(event, dict) or not _has_all(event):
            raise TraceError(f"{path}:{number}: no event of a run: {text[:60]}")
        yield event
    raise _cut(path, number)


def _cut(path: Path, number: int) -> TraceError:
    return TraceError(f"{path}:{number}: the timeline ends before its last line: truncated")


def _has_all(event: dict[str, Any]) -> bool:
    return event.keys() >= _EVENT_KEYS.get(str(event.get("ph")), {"another"})


def run_durations_ps(run: str | Path, trace: Trace) -> list[int]:
    """What each step of a trace took in a run of it, from the run's operator table.

    Raises TraceError when the table is not that of this trace: operators of another number or name.
    """
    path = Path(run) / OPERATORS
    rows = list(csv.DictReader(io.StringIO(read_text(path, name_line=True))))
    if len(rows) != trace.num_steps:
        raise TraceError(
            f"{path}: {len(rows)} operators, but the trace has {trace.num_steps}: a run of another "
            "trace, or on several devices, which adds operators"
        )
    durations = []
    for line, (row, operator) in enumerate(zip(rows, trace.operators(), strict=True), start=2):
        if row.get("name") != operator.name:
            raise TraceError(
                f"{path}:{line}: operator {row.get('name')!r}, but {operator.name!r} in the trace: "
                "a run of another trace"
            )
        durations.append(_ps(row, f"{path}:{line}"))
    return durations


def _ps(row: dict[str, str], where: str) -> int:
    """`duration_ns` in whole picoseconds, which it is written in."""
    text = row.get("duration_ns")
    try:
        return int((Decimal(text or "") * _PS_PER_NS).to_integral_value())
    except ArithmeticError as error:
        raise TraceError(f"{where}: duration_ns must be a number, got {text!r}") from error


def _lines(run: Path) -> Iterator[str]:
    path = run / TIMELINE
    if not path.is_file():
        raise TraceError(
            f"{path}: not there: a timeline needs the times of a run; give the folder that "
            "`bankwidth run ... --out FOLDER` wrote"
        )
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: damaged or truncated ({error})") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def written(path: Path) -> Iterator[io.BufferedWriter | gzip.GzipFile]:
    """A file to write, which only appears when all is written; gzipped if its name says so.

    Raises OutputError when it cannot be written.
    """
    passing = path.with_name(f".{path.name}.part")
    try:
        with passing.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
        passing.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        passing.unlink(missing_ok=True)


def without_times(name: str) -> Any:
    """A writer that refuses: what a trace lacks, and where it is to be had."""

    def refuse(trace: Trace, path: Path) -> tuple[str, ...]:
        raise TraceError(
            f"{path}: a trace has no times, and a {name} file is nothing else: run it "
            "(`bankwidth run MACHINE TRACE --out FOLDER`) and export the folder"
        )

    return refuse


def _never(head: Head) -> bool:
    """Timelines are not read: their slices have no shapes."""
    return False


CHROME: Final = Format(
    name="chrome",
    what="Chrome trace JSON of a run, for ui.perfetto.dev and chrome://tracing",
    recognises=_never,
    suffixes=(".chrome.json", ".chrome.json.gz"),
    write=without_times("Chrome"),
)
