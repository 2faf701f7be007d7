"""Command files: one row per command, plain or gzip, as the golden traces have them."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from bankwidth.devices.dram.checker import NO_ROW, Issued, address_problem
from bankwidth.errors import OutputError, TraceError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bankwidth.devices.dram.config import DramConfig
    from bankwidth.devices.dram.replay import Sink


GZIP_MAGIC: Final = b"\x1f\x8b"


def header_of(config: DramConfig) -> list[str]:
    """Columns; the type is 0 for a read, 1 for a write and -1 for neither."""
    return ["clk", "cmd", *map(str, config.levels), "Row", "Column", "type", "arrive"]


@contextmanager
def command_writer(path: Path, config: DramConfig, *, force: bool = False) -> Iterator[Sink]:
    """A sink that writes commands to a CSV file (gzip if it ends in `.gz`).

    The file gets its name when all is written. Raises OutputError when it exists (without `force`)
    or cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists; --force overwrites it")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with _opened(part, is_gzip=path.suffix == ".gz") as file:
            file.write(",".join(header_of(config)) + "\n")
            yield lambda commands: _write(file, commands, config)
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _opened(path: Path, *, is_gzip: bool) -> io.TextIOWrapper:
    if is_gzip:
        compressed = gzip.GzipFile(path, "wb", mtime=0)  # same commands, same bytes
        return io.TextIOWrapper(compressed, encoding="utf-8", newline="\n")
    return path.open("w", encoding="utf-8", newline="\n")


def _write(file: io.TextIOWrapper, commands: NDArray[np.int64], config: DramConfig) -> None:
    width = len(header_of(config))
    names = config.command_names
    lines = (
        f"{row[0]},{names[row[1]]},{','.join(map(str, row[2:]))}\n"
        for row in commands[:, :width].tolist()
    )
    file.write("".join(lines))


def read_commands(path: str | Path, config: DramConfig) -> Iterator[Issued]:
    """Commands of a CSV file (plain, or gzip whatever its name): `clk`, `cmd`, levels and `Row`.

    The first line names the columns: `clk` (the tick), `cmd`, one per level of the standard
    (`Channel` to `Bank`, -1: all), and if it is there `Row`; all others are left out. Raises
    TraceError with `file:line`.
    """
    path = Path(path)
    try:
        with _unpacked(path) as file:
            yield from _Lines(path, config).read(csv.reader(file))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise TraceError(f"{path}: damaged or truncated gzip file ({error})") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not text (UTF-8): is this a file of commands?") from error


def _unpacked(path: Path) -> IO[str]:
    with path.open("rb") as file:
        is_packed = file.read(2) == GZIP_MAGIC
    unpack: Callable[..., IO[str]] = gzip.open if is_packed else open
    return unpack(path, "rt", encoding="utf-8-sig", newline="")


class _Lines:
    """Turns the lines of a command file into commands; knows the line for messages."""

    def __init__(self, path: Path, config: DramConfig) -> None:
        self._path, self._config = path, config
        self._line = 0

    def read(self, rows: Iterator[list[str]]) -> Iterator[Issued]:
        """The commands below the line that names the columns."""
        header: list[str] | None = None
        for self._line, cells in enumerate(rows, start=1):
            stripped = [cell.strip() for cell in cells]
            if header is None:
                self._check_header(stripped)
                header = stripped
            elif any(stripped):
                yield self._command(header, stripped)
        if header is None:
            self._line = 1
            raise self._error(f"empty, need a line of columns: {', '.join(self._needed())}")

    def _needed(self) -> list[str]:
        return ["clk", "cmd", *(level.value for level in self._config.levels)]

    def _check_header(self, header: list[str]) -> None:
        for name in self._needed():
            if name not in header:
                hint = did_you_mean(name, header).replace("did you mean", "is it")
                needed = ", ".join(self._needed())
                raise self._error(
                    f"no column {name!r}{hint}; a {self._config.standard} file has {needed}"
                )

    def _command(self, header: list[str], cells: list[str]) -> Issued:
        if len(cells) != len(header):
            raise self._error(f"{len(cells)} columns, line 1 names {len(header)}")
        cell = dict(zip(header, cells, strict=True))
        place = tuple(self._number(level, cell[level.value]) for level in self._config.levels)
        row = self._number("Row", cell["Row"]) if "Row" in cell else NO_ROW
        issued = Issued(self._number("clk", cell["clk"]), cell["cmd"], place, row)
        problem = address_problem(issued, self._config)
        if problem is not None:
            raise self._error(f"{issued} {problem}")
        return issued

    def _number(self, name: str, text: str) -> int:
        try:
            return int(text)
        except ValueError as error:
            raise self._error(f"{name} must be a whole number, got {text!r}") from error

    def _error(self, problem: str) -> TraceError:
        return TraceError(f"{self._path}:{self._line}: {problem}")
