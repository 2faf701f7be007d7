"""Lines of a request file, plain or gzip, one after the other: a week of traffic is large."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from bankwidth.errors import TraceError

GZIP_MAGIC: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_GZIP: Final = zlib.MAX_WBITS | 16  # zlib's word for gzip
_PIECE_BYTES: Final = 4096


class Lines:
    """Iterates over the lines of a file as text; `number` is that of the last one given."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0

    def __iter__(self) -> Iterator[str]:
        """Every line. Raises TraceError where the file cannot be read."""
        try:
            with self.path.open("rb") as file:
                yield from self._lines(_unpacked(file))
        except (EOFError, zlib.error) as error:
            self.number += 1
            raise self.error(f"gzip file damaged or truncated ({error})") from error
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def error(self, what: str) -> TraceError:
        """What is wrong with the last line, with its place."""
        return TraceError(f"{self.path}:{self.number}: {what}")

    def _lines(self, file: Iterable[bytes]) -> Iterator[str]:
        for line in file:
            self.number += 1
            yield self._text(line.removeprefix(BYTE_ORDER_MARK) if self.number == 1 else line)

    def _text(self, line: bytes) -> str:
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise self.error("not text (UTF-8): is this the right file?") from error


def _unpacked(file: BinaryIO) -> Iterable[bytes]:
    magic = file.read(len(GZIP_MAGIC))
    file.seek(0)
    return _gzip_lines(file) if magic == GZIP_MAGIC else file


def _gzip_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a gzip file, all that are there before the place where it is damaged, if it is.

    Raises EOFError, zlib.error.
    """
    rest = b""
    for data in _gzip_pieces(file):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _gzip_pieces(file: BinaryIO) -> Iterator[bytes]:
    unpacker, is_open = zlib.decompressobj(wbits=_GZIP), True
    while piece := file.read(_PIECE_BYTES):
        while piece:
            if not is_open:  # several packed files, one after the other, are one
                unpacker, is_open = zlib.decompressobj(wbits=_GZIP), True
            yield unpacker.decompress(piece)
            piece = unpacker.unused_data
            is_open = not unpacker.eof
    if is_open:
        raise EOFError("it ends too early")
