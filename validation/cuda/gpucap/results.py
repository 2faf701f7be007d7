"""A CSV file that grows one row at a time and survives being cut off.

Each row is written, flushed and synced on its own. A last line without its end is what a killed run
leaves behind: it is dropped, and its shape measured again.
"""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from gpucap.problems import CaptureError, note
from gpucap.shapes import SHAPE_COLUMNS

IDENTITY: Final = ("device", "library")  # equal in all rows of a file
# What makes a row the same measurement.
KEY: Final = (*SHAPE_COLUMNS, "kernel", "cold")
COLUMNS: Final = (
    "device", *SHAPE_COLUMNS, "kernel", "cold",
    "latency_s", "latency_p10_s", "latency_p90_s", "repeats", "calls_per_repeat", "copies",
    "timing", "sustained_latency_s",
    "sm_mhz", "mem_mhz", "power_w", "energy_j", "temperature_c", "throttle",
    "error", "cuda_kernels", "name", "count", "library", "driver", "cuda", "time_utc",
)  # fmt: skip
ERROR_COLUMNS: Final = (
    "device", *SHAPE_COLUMNS, "kernel", "cold", "problem", "name", "library", "time_utc",
)  # fmt: skip
Key = tuple[str, ...]


def key_of(row: Mapping[str, object], columns: Sequence[str] = KEY) -> Key:
    """Cells that say whether two rows measure the same."""
    return tuple(_cell(row.get(name)) for name in columns)


def errors_path(path: Path) -> Path:
    """Rows that could not be measured stand in a file beside the table."""
    return path.with_name(f"{path.stem}.errors.csv")


class ResultFile:
    """Open for appending, locked against a second writer; `done` holds the keys of its rows."""

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, str],
        *,
        columns: Sequence[str] = COLUMNS,
        key: Sequence[str] = KEY,
    ) -> None:
        """Raises CaptureError for a file of another device, library or format."""
        self._path, self._columns, self._key = path, list(columns), list(key)
        self._identity = dict(identity)
        self._file = _open_locked(path)
        try:
            self.done: set[Key] = self._resume()
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row to the disk, all of it."""
        unknown = sorted(row.keys() - set(self._columns))
        if unknown:
            raise ValueError(f"no column {', '.join(unknown)}")
        self._write([_cell(row.get(name)) for name in self._columns])
        self.done.add(key_of(row, self._key))

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _resume(self) -> set[Key]:
        text = self._without_torn_line()
        rows = self._parsed(text)
        if not rows:
            self._write(self._columns)
            return set()
        if rows[0] != self._columns:
            raise CaptureError(f"{self._path}:1: other columns than this tool writes: {_OTHER}")
        return {self._checked(cells, line) for line, cells in enumerate(rows[1:], start=2)}

    def _parsed(self, text: str) -> list[list[str]]:
        reader = csv.reader(text.splitlines(), strict=True)
        try:
            return list(reader)
        except csv.Error as error:
            problem = f"not CSV: {error}: {_OTHER}"
            raise CaptureError(f"{self._path}:{reader.line_num}: {problem}") from error

    def _checked(self, cells: list[str], line: int) -> Key:
        where = f"{self._path}:{line}"
        if len(cells) != len(self._columns):
            wanted = len(self._columns)
            raise CaptureError(f"{where}: {len(cells)} cells, but the header has {wanted} columns")
        row = dict(zip(self._columns, cells, strict=True))
        for name, here in self._identity.items():
            if row[name] != here:
                raise CaptureError(f"{where}: {name} {row[name]!r}, this is {here!r}: {_OTHER}")
        return key_of(row, self._key)

    def _without_torn_line(self) -> str:
        """The complete lines; what follows the last line end is cut off, in the file too."""
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            line = whole.count(b"\n") + 1
            note(f"{self._path}:{line}: cut off, {len(data) - len(whole)} bytes dropped")
            self._file.truncate(len(whole))
            self._sync()
        self._file.seek(0, os.SEEK_END)
        return _decoded(whole, self._path)

    def _write(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self._file.write(line.getvalue().encode())
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


_OTHER: Final = "choose another --out"


def _open_locked(path: Path) -> io.BufferedRandom:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=True)
        file = path.open("r+b")
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise CaptureError(f"{path}: another capture is writing to it") from error
    return file


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CaptureError(f"{path}:{line}: not text (UTF-8): {_OTHER}") from error


def _cell(value: object) -> str:
    """A cell never holds a line end: one row is one line, whole or torn."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
