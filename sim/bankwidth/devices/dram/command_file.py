"""Command files: one row per command, plain or gzip, as the golden traces have them."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bankwidth.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bankwidth.devices.dram.config import DramConfig
    from bankwidth.devices.dram.replay import Sink


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
