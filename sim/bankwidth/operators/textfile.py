"""Reading and writing text files, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

from bankwidth.errors import OutputError, TraceError

GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 4096


def read_text(path: Path, *, name_line: bool = False) -> str:
    """The whole file as text; gzip is recognised by its first bytes.

    Raises TraceError when it is missing, unreadable, damaged or not UTF-8. With `name_line` the
    message for a damaged file also says at which line it ends.
    """
    data = _unpacked(path, _read(path), name_line)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TraceError(f"{path}:{line}: not text (UTF-8): is this the right file?") from error


def write_text(path: Path, text: str) -> None:
    """The whole file, gzipped if its name ends in `.gz`; the same text gives the same bytes.

    Raises OutputError when it cannot be written.
    """
    data = text.encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def check_free(path: Path, *, force: bool) -> None:
    """Raises OutputError for a file that exists, unless it may be overwritten."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists; --force overwrites it")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


def _unpacked(path: Path, data: bytes, name_line: bool) -> bytes:
    if not data.startswith(GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        where = f"{path}:{_last_line(data)}" if name_line else f"{path}"
        raise TraceError(f"{where}: damaged or truncated gzip file ({error})") from error


def _last_line(data: bytes) -> int:
    """The line at which what can be unpacked ends."""
    unpacker, lines = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), 1
    try:
        for start in range(0, len(data), _PIECE_BYTES):
            lines += unpacker.decompress(data[start : start + _PIECE_BYTES]).count(b"\n")
    except zlib.error:
        pass  # damaged from here on
    return lines
