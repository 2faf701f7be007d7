"""Bankwidth's own format (operators/trace_file.py) among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bankwidth.operators.formats.base import Format, Head, Imported
from bankwidth.operators.trace import Trace
from bankwidth.operators.trace_file import FORMAT, read_trace, write_trace


def _recognises(head: Head) -> bool:
    first, _, _ = head.data.partition(b"\n")
    return first.lstrip().startswith(b"{") and f'"{FORMAT}"'.encode() in first


def _read(path: Path, *, partial: bool = False) -> Imported:
    """A native trace is whole or refused, so `partial` changes nothing."""
    return Imported(trace=read_trace(path))


def _write(trace: Trace, path: Path) -> tuple[str, ...]:
    write_trace(trace, path)
    return ()


NATIVE: Final = Format(
    name="native",
    what="Bankwidth's own: JSON Lines, one operator a line",
    recognises=_recognises,
    suffixes=(".jsonl", ".jsonl.gz"),
    read=_read,
    write=_write,
)
