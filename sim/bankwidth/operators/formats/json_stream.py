"""JSON files of any size, member by member, in constant memory.

A JSON object at the top level whose one large member is a list: `members` gives the elements of
that list one at a time and every other member as a whole, in the order of the file. The standard
library's scanner reads each value out of a window of the file; the window moves on and never grows
beyond one value and a piece. Bytes that are not UTF-8 become `?` and are counted: profilers cut
names in the middle of a character.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader
from json.decoder import JSONDecodeError
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bankwidth.errors import TraceError
from bankwidth.operators.textfile import GZIP_MAGIC

PIECE_BYTES: Final = 1 << 20
MAX_VALUE_CHARS: Final = 1 << 26  # of one value: a longer one is taken for a missing end
_BOM: Final = b"\xef\xbb\xbf"
_MAX_CHARACTER_BYTES: Final = 4
# The longest token that the scanner reports by its beginning, "-Infinity", and a \uXXXX pair. An
# error that lies further from the end of the window than this is not due to the end.
_LONGEST_TOKEN: Final = 32
_NOT_SPACE: Final = re.compile(r"[^ \t\n\r]")
_NEXT: Final = re.compile(r"[ \t\n\r]*,[ \t\n\r]*(?=[^ \t\n\r])")
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bad bytes


class JsonStream:
    """A file opened for reading once. Raises TraceError with `file:line:column` and the byte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self._window = ""
        self._at = 0  # place in the window
        self._is_last = False  # nothing follows the window
        self._failure: str | None = None  # why no more can be read
        self._tail = b""  # bytes of a character that the piece cut off
        self._bytes_before = 0  # of the file, unpacked, before the window
        self._newlines_before = 0
        self._column_before = 0  # characters of the window's first line before the window
        self._counted_to = 0  # newlines of the window up to here are in _counted
        self._counted = 0
        self._decoder = json.JSONDecoder(strict=False, parse_constant=_constant)
        self.found = False  # whether the large member was there
        self.bad_bytes = 0
        self.first_bad_byte: int | None = None

    def __enter__(self) -> JsonStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def line(self) -> int:
        """The line at which the value that came last ends."""
        self._counted += self._window.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._newlines_before + self._counted + 1

    def members(self, large: str) -> Iterator[tuple[str, Any]]:
        """(key, value) of the object at the top level; (`large`, element) for each of its list."""
        first = self._peek()
        if first != "{":
            raise self.error(f"expected a JSON object, found {self._shown()}")
        self._at += 1
        if self._peek() == "}":
            self._at += 1
        else:
            yield from self._object(large)
        if self._peek(may_end=True):
            raise self.error(f"more after the end of the JSON object: {self._shown()}")

    def error(self, problem: str, at: int | None = None) -> TraceError:
        """A message with the place in the file, by default where the reader is."""
        place = self._at if at is None else at
        text = self._window[:place]
        line = self._newlines_before + text.count("\n") + 1
        before = 0 if "\n" in text else self._column_before
        column = before + place - (text.rfind("\n") + 1) + 1
        byte = self._bytes_before + len(text.encode())
        return TraceError(f"{self._path}:{line}:{column}: {problem} (byte {byte})")

    def _object(self, large: str) -> Iterator[tuple[str, Any]]:
        closing = ","
        while closing == ",":
            key = self._key()
            if key == large:
                self.found = True
                for element in self._elements(large):
                    yield key, element
            else:
                yield key, self._value()
            closing = self._delimiter("}")

    def _key(self) -> str:
        if self._peek() != '"':
            raise self.error(f'expected a key in "", found {self._shown()}')
        key = str(self._value())
        if self._peek() != ":":
            raise self.error(f"expected ':' after the key {key!r}, found {self._shown()}")
        self._at += 1
        return key

    def _elements(self, name: str) -> Iterator[Any]:
        if self._peek() != "[":
            raise self.error(f"{name} must be a list, found {self._shown()}")
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            self._peek()
            yield from self._run()
            if self._delimiter("]") == "]":
                return

    def _run(self) -> Iterator[Any]:
        """The elements that lie in the window: the loop where the time goes."""
        scan, follows = self._decoder.raw_decode, _NEXT.match
        while True:
            try:
                value, end = scan(self._window, self._at)
            except (ValueError, RecursionError):
                yield self._value()
                return
            if not isinstance(value, dict):
                yield self._value()
                return
            self._at = end
            yield value
            following = follows(self._window, end)
            if following is None:
                return
            self._at = following.end()

    def _value(self) -> Any:
        """One value, however far it goes."""
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
            except (ValueError, RecursionError) as error:
                self._check(error)
            else:
                # A number at the end of the window may go on behind it.
                if self._is_last or end + _LONGEST_TOKEN < len(self._window):
                    self._at = end
                    return value
            self._more()

    def _check(self, error: ValueError | RecursionError) -> None:
        """Raises TraceError for a mistake that no further text can mend."""
        if isinstance(error, RecursionError):
            raise self.error("nested too deeply") from error
        if not isinstance(error, JSONDecodeError):
            raise self.error(f"a number that cannot be read: {error}") from error
        what = f"not JSON: {error.msg[0].lower()}{error.msg[1:]}"
        is_cut = "Unterminated" in error.msg or error.pos + _LONGEST_TOKEN >= len(self._window)
        if self._is_last and self._is_unfinished(error):
            what = f"the file ends within a value: truncated? ({what})"
        elif is_cut and not self._is_last:
            if len(self._window) - self._at <= MAX_VALUE_CHARS:
                return
            what = f"a value that does not end ({what})"
        raise self.error(what, error.pos) from error

    def _is_unfinished(self, error: JSONDecodeError) -> bool:
        """Whether the file ends in the middle of what the scanner complains about."""
        rest = self._window[error.pos :].strip()
        words = ("true", "false", "null", "NaN", "Infinity", "-Infinity")
        is_begun = any(word.startswith(rest) for word in words)  # by nothing, too
        return is_begun or "Unterminated" in error.msg or "escape" in error.msg

    def _delimiter(self, closing: str) -> str:
        found = self._peek()
        if found not in (",", closing):
            raise self.error(f"expected ',' or '{closing}', found {self._shown()}")
        self._at += 1
        return found

    def _peek(self, *, may_end: bool = False) -> str:
        """The next character that is no space; the place moves to it. Empty at the end."""
        while True:
            found = _NOT_SPACE.search(self._window, self._at)
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._window)
            if self._is_last:
                break
            self._more()
        if may_end:
            return ""
        is_empty = not self._window and not self._bytes_before
        raise self.error("empty file" if is_empty else "the file ends here: truncated")

    def _shown(self) -> str:
        text = self._window[self._at : self._at + 20]
        return repr(text) if text else "the end of the file"

    def _more(self) -> None:
        """Move the window on: what was read goes, at least as much as is left comes."""
        done = self._window[: self._at]
        self._newlines_before = self.line - 1
        self._counted = self._counted_to = 0
        self._bytes_before += len(done) if done.isascii() else len(done.encode())
        newline = done.rfind("\n")
        self._column_before = len(done) - newline - 1 + (self._column_before if newline < 0 else 0)
        left = self._window[self._at :]
        self._window, self._at = left, 0
        self._window = left + self._text(self._read(max(PIECE_BYTES, len(left))))

    def _read(self, size: int) -> bytes:
        """The next bytes, unpacked. What can be unpacked of a damaged file comes first."""
        if self._failure is not None:
            raise self.error(f"{self._failure}: it ends here", len(self._window))
        pieces: list[bytes] = []
        missing = size
        while missing > 0:
            try:
                piece = self._file.read1(missing)
            except EOFError:
                self._failure = "truncated gzip file"
                break
            except (OSError, zlib.error) as error:
                self._failure = f"damaged file ({error})"
                break
            if not piece:
                self._is_last = not pieces
                break
            pieces.append(piece)
            missing -= len(piece)
        if not pieces and self._failure is not None:
            return self._read(size)
        return b"".join(pieces)

    def _text(self, piece: bytes) -> str:
        """The characters of a piece; one that is cut off waits for the next."""
        data = self._tail + piece
        if self._bytes_before == 0 and not self._window and data.startswith(_BOM):
            data, self._bytes_before = data[len(_BOM) :], len(_BOM)
        keep = 0 if self._is_last else _cut_character(data)
        self._tail = data[len(data) - keep :]
        data = data[: len(data) - keep]
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            return self._mended(data, error.start)

    def _mended(self, data: bytes, start: int) -> str:
        """The text with `?` for every byte that is not UTF-8: one byte each, so places stay."""
        if self.first_bad_byte is None:
            self.first_bad_byte = self._bytes_before + len(self._window.encode()) + start
        text, count = _ESCAPED_BYTE.subn("?", data.decode(errors="surrogateescape"))
        self.bad_bytes += count
        return text


def _opened(path: Path) -> BufferedReader | gzip.GzipFile:
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        return gzip.open(path) if packed else path.open("rb")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


def _cut_character(data: bytes) -> int:
    """Bytes at the end that begin a character and do not finish it."""
    for back in range(1, min(_MAX_CHARACTER_BYTES, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if length > back else 0
        if byte < 0x80:
            return 0
    return 0


def _constant(name: str) -> float:
    """NaN and infinities, which profilers write for rates over no time."""
    return float(name.replace("Infinity", "inf"))
