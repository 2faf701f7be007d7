"""Request files of a drive: one request a line, plain text or gzip (known by its first bytes).

    R OFFSET SIZE            R 1048576 4096      w 0x100000 4k
    W OFFSET SIZE ARRIVAL    W 1 MiB 16 KiB 12.5 us

`R` or `W` may be lower case. Offset (byte of the drive) and size are bytes, or have a unit; both
are multiples of a sector of 512 bytes. The arrival is in ns, or has a unit; it must not decrease,
and either all requests have one or none has. Blank lines are left out, and comments from `#` to
the end of a line.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from array import array
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from bankwidth.devices.nand.config import SECTOR_BYTES
from bankwidth.devices.nand.requests import MAX_REQUESTS, Requests
from bankwidth.devices.nand.sizes import parse_size
from bankwidth.errors import SpecError, TraceError, did_you_mean
from bankwidth.units import ns_to_ps, parse_quantity

GZIP_MAGIC: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
MAX_ARRIVAL_PS: Final = 10**18  # eleven days
ALLOWED: Final = "a line is R or W, offset, size and perhaps arrival, as 'R 1048576 4096 12.5 us'"
OPERATIONS: Final = {"R": False, "r": False, "W": True, "w": True}
# What people write for a read and for a write.
SYNONYMS: Final = {
    **dict.fromkeys(("rd", "read", "ld", "load"), "R"),
    **dict.fromkeys(("wr", "write", "st", "store"), "W"),
}
FIELDS: Final = ("offset", "size", "arrival")
# A number, and perhaps a unit, which may stand apart from it: it begins with a letter.
QUANTITY: Final = re.compile(r"\s*([0-9+.-]\S*(?:\s+[^\W\d]\S*)?)")
_size: Final = lru_cache(1 << 12)(parse_size)  # the same few sizes come again and again
_PER_REQUEST: Final = 3  # numbers of one request: offset, size, arrival


def read_requests(source: str | Path | BinaryIO, capacity_bytes: int) -> Requests:
    """Requests of a file, of standard input (`-`) or of a binary stream, for a drive of that size.

    Raises TraceError with `FILE:LINE`.
    """
    name, data = _read(source)
    if data.startswith(GZIP_MAGIC):
        data = _unpacked(name, data)
    reader = _Reader(name, capacity_bytes)
    for line in io.BytesIO(data.removeprefix(BYTE_ORDER_MARK)):
        reader.add(line)
    return reader.requests()


# ---------------------------------------------------------------------------- bytes
def _read(source: str | Path | BinaryIO) -> tuple[str, bytes]:
    """Name and content of a source. What it becomes is held in memory anyway."""
    if not isinstance(source, str | Path):
        return str(getattr(source, "name", "<stream>")), source.read()
    if str(source) == "-":
        return "<stdin>", sys.stdin.buffer.read()
    try:
        return str(source), Path(source).read_bytes()
    except IsADirectoryError as error:
        raise TraceError(f"{source}: is a directory, need a file of requests") from error
    except FileNotFoundError as error:
        raise TraceError(f"{source}: no such file") from error
    except OSError as error:
        raise TraceError(f"{source}: cannot be read: {error.strerror or error}") from error


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{name}: gzip file damaged or truncated: {error}") from error


# ---------------------------------------------------------------------------- lines
class _Reader:
    """Takes line after line, and knows what the earlier ones were."""

    def __init__(self, name: str, capacity_bytes: int) -> None:
        self._name, self._capacity_bytes = name, capacity_bytes
        self._line = 0
        self._first_line = 0  # that of the first request
        self._has_arrivals = False
        self._last_ps = 0
        self._numbers, self._is_write = array("q"), array("b")

    def add(self, data: bytes) -> None:
        """One line; nothing happens if it is blank. Raises TraceError."""
        self._line += 1
        text = self._text(data).partition("#")[0]
        tokens = text.split()
        if not tokens:
            return
        operation = OPERATIONS.get(tokens[0])
        if operation is None:
            raise self._wrong(text, _unknown_operation(tokens[0]))
        fields = _plain_fields(tokens) or self._fields(text)
        self._check(text, *fields)
        self._numbers.extend(fields)
        self._is_write.append(operation)

    def requests(self) -> Requests:
        """All that was read. Raises TraceError where nothing was."""
        if not self._is_write:
            raise TraceError(f"{self._name}: no requests; {ALLOWED}")
        columns = np.array(self._numbers, dtype=np.int64).reshape(-1, _PER_REQUEST)
        return Requests(
            offset_bytes=columns[:, 0].copy(),
            size_bytes=columns[:, 1].copy(),
            is_write=np.array(self._is_write, dtype=np.bool_),
            arrival_ps=columns[:, 2].copy() if self._has_arrivals else None,
        )

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self._error(f"not text (UTF-8); {ALLOWED}") from error

    # ------------------------------------------------------------------------ numbers
    def _fields(self, text: str) -> tuple[int, int, int]:
        """Offset and size in bytes, arrival in ps (-1: none)."""
        found = list(_quantities(text))
        if not 2 <= len(found) <= len(FIELDS):
            raise self._wrong(
                text, f"need offset and size, and at most an arrival: {len(found)} found"
            )
        values = [
            self._value(text, field, quantity)
            for field, quantity in zip(FIELDS, found, strict=False)
        ]
        offset, size, arrival = [*values, -1][: len(FIELDS)]
        return offset, size, arrival

    def _value(self, text: str, field: str, quantity: str) -> int:
        if quantity.startswith("-"):
            raise self._wrong(text, f"{field} {_short(quantity)} is negative")
        try:
            return _time_ps(quantity) if field == "arrival" else _size(quantity)
        except SpecError as error:
            raise self._wrong(text, f"{field}: {error}") from None

    # ------------------------------------------------------------------------ what is allowed
    def _check(self, text: str, offset: int, size: int, arrival_ps: int) -> None:
        """Raises TraceError for a request that the drive cannot take."""
        if size == 0:
            raise self._wrong(text, "size is 0")
        for field, number in (("offset", offset), ("size", size)):
            if number % SECTOR_BYTES:
                need = f"no multiple of a sector of {SECTOR_BYTES} bytes"
                raise self._error(f"{_short(text)!r}: {field} {number} is {need}")
        if offset + size > self._capacity_bytes:
            end = f"LBA {offset} and {size} bytes from there end"
            raise self._error(f"{end} beyond the capacity of {self._capacity_bytes} bytes")
        if len(self._is_write) >= MAX_REQUESTS:
            raise self._error(f"more than {MAX_REQUESTS} requests")
        self._check_arrival(text, arrival_ps)

    def _check_arrival(self, text: str, arrival_ps: int) -> None:
        has_arrival = arrival_ps >= 0
        if not self._is_write:
            self._first_line, self._has_arrivals = self._line, has_arrival
        if has_arrival != self._has_arrivals:
            this, first = ("an", "has none") if has_arrival else ("no", "has one")
            raise self._wrong(text, f"{this} arrival, but line {self._first_line} {first}")
        if arrival_ps > MAX_ARRIVAL_PS:
            raise self._wrong(text, f"arrival is too late, at most {MAX_ARRIVAL_PS // 1000} ns")
        if has_arrival and arrival_ps < self._last_ps:
            before = f"{arrival_ps / 1000:g} ns after one at {self._last_ps / 1000:g} ns"
            raise self._error(f"{_short(text)!r}: arrival at {before}: must not decrease")
        self._last_ps = arrival_ps

    def _error(self, what: str) -> TraceError:
        return TraceError(f"{self._name}:{self._line}: {what}")

    def _wrong(self, text: str, what: str) -> TraceError:
        return self._error(f"{_short(text)!r}: {what}; {ALLOWED}")


def _plain_fields(tokens: list[str]) -> tuple[int, int, int] | None:
    """Fields of a line of whole numbers without units, as most are; else None."""
    digits = "".join(tokens[1:])
    if not (3 <= len(tokens) <= 4 and digits.isdecimal() and digits.isascii() and len(digits) < 54):
        return None
    arrival_ps = int(tokens[3]) * 1000 if len(tokens) == 4 else -1
    return int(tokens[1]), int(tokens[2]), arrival_ps


def _quantities(text: str) -> Iterator[str]:
    """Numbers behind the operation, each with its unit; what is none stands alone."""
    rest = text.split(maxsplit=1)[1] if len(text.split()) > 1 else ""
    while rest:
        match = QUANTITY.match(rest)
        word = match[1] if match else rest.split(maxsplit=1)[0]
        yield word.strip()
        rest = rest.lstrip()[len(word) :].strip()


def _time_ps(text: str) -> int:
    """Of a number of ns, or of one with a unit."""
    try:
        return ns_to_ps(float(text))
    except (ValueError, OverflowError):
        return ns_to_ps(parse_quantity(text, "time"))


def _unknown_operation(found: str) -> str:
    meant = SYNONYMS.get(found.lower())
    hint = f", did you mean {meant!r}?" if meant else did_you_mean(found, ("R", "W"))
    return f"unknown operation {_short(found)!r}{hint}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
