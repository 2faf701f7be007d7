"""Traces of other tools, in and out. To add a format: a file with a `Format`, and a line here.

A file's format is told by its content, in the order of the table; when writing, by its suffix.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.formats.base import (
    Format,
    Head,
    Imported,
    Measured,
    head_of,
    settle_partial,
)
from bankwidth.operators.formats.chakra import CHAKRA
from bankwidth.operators.formats.chrome import CHROME
from bankwidth.operators.formats.csv_ops import CSV
from bankwidth.operators.formats.kineto import KINETO
from bankwidth.operators.formats.native import NATIVE
from bankwidth.operators.formats.onnx_import import ONNX
from bankwidth.operators.formats.perfetto import PERFETTO
from bankwidth.operators.textfile import check_free
from bankwidth.operators.trace import Trace

__all__ = [
    "FORMATS",
    "Format",
    "Head",
    "Imported",
    "Measured",
    "export_trace",
    "import_trace",
    "recognised_format",
    "settle_partial",
]

FORMATS: Final[dict[str, Format]] = {
    known.name: known
    for known in (
        NATIVE,
        KINETO,
        CHAKRA,
        CSV,
        ONNX,
        CHROME,
        PERFETTO,
    )
}


def import_trace(
    path: str | Path, *, format: str | None = None, partial: bool = False, **options: Any
) -> Imported:
    """The trace in a file of another tool, and what could not be taken over.

    Operators that are not understood are an error, or with `partial` left out and named in the
    trace's `meta`. Raises TraceError with file and position for a file that is damaged or of no
    known format, and for an option that the format does not have.
    """
    path = Path(path)
    found = _by_name(format, "read") if format else recognised_format(path)
    if found.read is None:
        raise TraceError(f"{path}: {found.name} files can be written, not read")
    for name in options:
        if name not in found.options:
            known = ", ".join(found.options) or "none"
            raise TraceError(
                f"{path}: {found.name} files have no option {name!r}"
                f"{did_you_mean(name, found.options)} (known: {known})"
            )
    return found.read(path, partial=partial, **options)


def export_trace(
    trace: Trace, path: str | Path, *, format: str | None = None, force: bool = False
) -> tuple[str, ...]:
    """Write a trace in another tool's format; the sentences say what the file cannot hold.

    Raises OutputError for a file that exists (without `force`) or cannot be written, TraceError
    for a format that is not known.
    """
    path = Path(path)
    found = _by_name(format, "write") if format else _by_suffix(path)
    if found.write is None:
        raise TraceError(f"{path}: {found.name} files can be read, not written")
    check_free(path, force=force)
    return found.write(trace, path)


def recognised_format(path: str | Path) -> Format:
    """The format that the content of a file shows. Raises TraceError when none does."""
    head = head_of(Path(path))
    for known in FORMATS.values():
        if known.recognises(head):
            return known
    if not head.data:
        raise TraceError(f"{path}:1: empty file")
    names = ", ".join(known.name for known in FORMATS.values() if known.read)
    raise TraceError(f"{path}:1: no format of traces that is known ({names}); --format names one")


def _by_name(name: str, use: str) -> Format:
    if name not in FORMATS:
        known = ", ".join(each.name for each in FORMATS.values() if getattr(each, use))
        hint = did_you_mean(name, FORMATS)
        raise TraceError(f"unknown trace format {name!r}{hint} (known: {known})")
    return FORMATS[name]


def _by_suffix(path: Path) -> Format:
    writers = [known for known in FORMATS.values() if known.write]
    for known in writers:
        if path.name.endswith(known.suffixes):
            return known
    names = ", ".join(f"{known.name} ({', '.join(known.suffixes)})" for known in writers)
    raise TraceError(f"{path}: no format has this suffix: name one of {names}")
