"""What a trace format is: how it is recognised, read and written, and what an import gives."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.textfile import GZIP_MAGIC
from bankwidth.operators.trace import Scalar, Trace

HEAD_BYTES: Final = 1 << 16  # of the unpacked file, to tell its format
MAX_NAMED: Final = 20  # things left out that one message names


class Head(NamedTuple):
    """The beginning of a file, unpacked: enough to tell formats apart."""

    path: Path
    data: bytes


def head_of(path: Path) -> Head:
    """The beginning of a file; empty for a folder. What is cut off is left to a format's reader.

    Raises TraceError when the file cannot be read.
    """
    if path.is_dir():
        return Head(path, b"")
    try:
        with path.open("rb") as file:
            data = file.read(HEAD_BYTES)
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    if not data.startswith(GZIP_MAGIC):
        return Head(path, data)
    try:
        return Head(path, zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, HEAD_BYTES))
    except zlib.error as error:
        raise TraceError(f"{path}:1: damaged gzip file ({error})") from error


class Measured(NamedTuple):
    """What a recorded operator took: one execution, in the order of the unrolled trace.

    `operator` is its name in the trace with block and iteration (`layers 0-3[2].qkv`); `kernels`
    are those that ran for it, by name, and empty on a CPU.
    """

    operator: str
    measured_ns: float
    kernels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A trace from another tool's file; `lost` says in sentences what it could not hold."""

    trace: Trace
    lost: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of trace files.

    `read(path, partial=..., **options)` takes the options named in `options`; `write(trace, path)`
    returns what the file could not hold. Files are written in the format whose suffix they have.
    """

    name: str
    what: str
    recognises: Callable[[Head], bool]
    suffixes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    read: Callable[..., Imported] | None = None
    write: Callable[[Trace, Path], tuple[str, ...]] | None = None


def settle_partial(trace: Trace, left_out: Sequence[str], *, partial: bool, where: str) -> Trace:
    """The trace itself, or marked in its `meta` when operators were left out and that is allowed.

    Raises TraceError starting with `where` when it is not allowed: a part never passes for a whole.
    """
    if not left_out:
        return trace
    if not partial:
        kinds = "1 kind" if len(left_out) == 1 else f"{len(left_out)} kinds"
        raise TraceError(
            f"{where}: {kinds} of operators not understood: {_named(left_out)}; a partial import "
            "leaves them out (--partial, partial=True) and is marked as partial"
        )
    marks: dict[str, Scalar] = {"partial": True, "left_out": "; ".join(left_out)}
    return replace(trace, meta={**trace.meta, **marks})


def _named(things: Sequence[str]) -> str:
    more = len(things) - MAX_NAMED
    return "; ".join(things[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
