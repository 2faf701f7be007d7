"""Event traces of a drive as CSV: one row per occupation of a resource, plain or gzip."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from bankwidth.errors import OutputError

_ROWS: Final = 1 << 16  # turned into text at a time


def check_trace_target(path: Path, *, force: bool) -> None:
    """Raise OutputError now where `write_trace` would refuse later: call it before a long run."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists; --force overwrites it")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"cannot write {path}: no such folder")


def write_trace(
    trace: NDArray[Any], kinds: tuple[str, ...], path: Path, *, force: bool = False
) -> None:
    """Write a trace to a CSV file (gzip if it ends in `.gz`); -1 is what an event does not have.

    `kinds` are the names of the numbers in its column `kind`. The file gets its name when all is
    written. Raises OutputError when it exists (without `force`) or cannot be written.
    """
    check_trace_target(path, force=force)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _opened(part, is_gzip=path.suffix == ".gz") as file:
            file.writelines(_lines(trace, kinds))
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _lines(trace: NDArray[Any], kinds: tuple[str, ...]) -> Iterable[str]:
    columns = list(trace.dtype.names or ())
    place = columns.index("kind")
    yield ",".join(columns) + "\n"
    for first in range(0, len(trace), _ROWS):
        for row in trace[first : first + _ROWS].tolist():
            yield ",".join(map(str, (*row[:place], kinds[row[place]], *row[place + 1 :]))) + "\n"


@contextmanager
def _opened(path: Path, *, is_gzip: bool) -> Iterator[io.TextIOWrapper]:
    """A text file; packed without name and time, so that the same events give the same bytes."""
    if not is_gzip:
        with path.open("w", encoding="utf-8", newline="\n") as text:
            yield text
        return
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text
