"""Reading text files, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Final

from gpucap.problems import CaptureError

_GZIP_MAGIC: Final = b"\x1f\x8b"


def read_text(path: Path) -> str:
    """The whole file; gzip is recognised by its first bytes.

    Raises CaptureError when it is missing, unreadable, damaged or not UTF-8.
    """
    data = _unpacked(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CaptureError(f"{path}:{line}: not text (UTF-8): is this the right file?") from error


def _unpacked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror}") from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise CaptureError(f"{path}: damaged or truncated gzip file ({error})") from error
