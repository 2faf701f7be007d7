"""Protocol Buffers on the wire: fields of a message, and messages one after the other in a file.

Only the encoding (protobuf.dev/programming-guides/encoding): numbers of fields, five wire types,
base-128 integers. What the numbers mean is said by the format that uses it. Every message of an
error has the byte at which the trouble is, counted in the unpacked file.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.textfile import GZIP_MAGIC

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
WIRE_NAMES: Final = {
    VARINT: "varint",
    FIXED64: "64-bit",
    BYTES: "length-delimited",
    FIXED32: "32-bit",
}
_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10  # 64 bits in groups of 7
_WORD: Final = 1 << 64
MAX_MESSAGE_BYTES: Final = 2**31 - 1  # what protobuf itself allows
_PIECE_BYTES: Final = 1 << 20


Data = bytes | memoryview


class WireError(TraceError):
    """Bytes that are no message; `offset` says where, in the unpacked file."""

    def __init__(self, offset: int, problem: str) -> None:
        super().__init__(f"byte {offset}: {problem}")
        self.offset = offset
        self.problem = problem


class Field(NamedTuple):
    """One field as it lies there: an integer for a varint, else its bytes."""

    number: int
    wire: int
    value: int | Data
    offset: int  # of the value

    def integer(self) -> int:
        """An unsigned varint. Raises WireError for another wire type."""
        if not isinstance(self.value, int):
            raise self.error(VARINT)
        return self.value

    def signed(self) -> int:
        """A varint in two's complement of 64 bits: int32, int64, enum."""
        value = self.integer()
        return value - _WORD if value >= _WORD >> 1 else value

    def content(self) -> Data:
        """A length-delimited field, not copied. Raises WireError for another wire type."""
        if self.wire != BYTES or isinstance(self.value, int):
            raise self.error(BYTES)
        return self.value

    def copied(self) -> bytes:
        """The same as bytes of its own."""
        return bytes(self.content())

    def text(self) -> str:
        """UTF-8. Raises WireError for another wire type, and for what is not text."""
        try:
            return self.copied().decode()
        except UnicodeDecodeError as error:
            raise WireError(self.offset, f"field {self.number} is not text (UTF-8)") from error

    def fields(self) -> Iterator[Field]:
        """Those of the message in this field."""
        return fields(self.content(), self.offset)

    def integers(self) -> list[int]:
        """Of a repeated integer: packed, or one of several fields."""
        if self.wire == VARINT:
            return [self.integer()]
        return packed_varints(self.content(), self.offset)

    def error(self, wanted: int) -> WireError:
        return WireError(
            self.offset,
            f"field {self.number} should be {WIRE_NAMES[wanted]}, but is {WIRE_NAMES[self.wire]}",
        )


def fields(data: Data, base: int = 0) -> Iterator[Field]:
    """The fields of a message that lies at byte `base`. Raises WireError where it is none."""
    at = 0
    while at < len(data):
        start = at
        key, at = read_varint(data, at, base)
        number, wire = key >> 3, key & 7
        if number == 0 or wire not in WIRE_NAMES:
            raise WireError(base + start, f"no field starts here (number {number}, type {wire})")
        if wire == VARINT:
            offset = at
            value, at = read_varint(data, at, base)
            yield Field(number, wire, value, base + offset)
            continue
        width = _WIDTHS.get(wire)
        if width is None:
            width, at = read_varint(data, at, base)
        if at + width > len(data):
            left = len(data) - at
            raise WireError(base + at, f"field {number} has {width} bytes, but only {left} follow")
        yield Field(number, wire, data[at : at + width], base + at)
        at += width


def read_varint(data: Data, at: int, base: int = 0) -> tuple[int, int]:
    """(unsigned value below 2^64, where the next thing starts)."""
    if at < len(data) and data[at] < 0x80:  # most numbers are one byte
        return data[at], at + 1
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if at + index >= len(data):
            raise WireError(base + at, "a number is cut off")
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value % _WORD, at + index + 1
    raise WireError(base + at, f"a number of more than {_MAX_VARINT_BYTES} bytes")


def packed_varints(data: Data, base: int = 0) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = read_varint(data, at, base)
        values.append(value)
    return values


def zigzag(value: int) -> int:
    """The signed number that sint32 and sint64 keep as an unsigned one."""
    return value >> 1 ^ -(value & 1)


# Writing


def varint(value: int) -> bytes:
    """Base 128, least group first; a negative number as its two's complement of 64 bits."""
    value %= _WORD
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def integer_field(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Raises TraceError for text that UTF-8 cannot hold."""
    try:
        return bytes_field(number, value.encode())
    except UnicodeEncodeError as error:
        raise TraceError(f"{value!r} cannot be written as UTF-8") from error


def double_field(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED64) + struct.pack("<d", value)


def float_field(number: int, value: float) -> bytes:
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)


def packed_field(number: int, values: Iterable[int]) -> bytes:
    """A repeated integer; nothing for none."""
    packed = b"".join(map(varint, values))
    return bytes_field(number, packed) if packed else b""


def delimited(message: bytes) -> bytes:
    """A message as it lies in a file of several: its length, then itself."""
    return varint(len(message)) + message


# Files


class Message(NamedTuple):
    offset: int
    data: bytes


def read_messages(path: Path) -> Iterator[Message]:
    """The length-delimited messages of a file, one at a time; gzip is recognised by its bytes.

    Raises TraceError with the path: for a file that cannot be read, is damaged or cut.
    """
    try:
        with path.open("rb") as raw:
            is_packed = raw.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            raw.seek(0)
            stream: IO[bytes] = gzip.open(raw) if is_packed else raw  # type: ignore[assignment]
            yield from _messages(path, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: damaged or truncated gzip file ({error})") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error


def _messages(path: Path, stream: IO[bytes]) -> Iterator[Message]:
    offset = 0
    while prefix := _length(path, stream, offset):
        start = offset + prefix[1]
        if prefix[0] > MAX_MESSAGE_BYTES:
            raise TraceError(f"{path}: byte {offset}: no length of a message: {prefix[0]} bytes")
        data = _read(stream, prefix[0])
        if len(data) < prefix[0]:
            raise TraceError(
                f"{path}: byte {start}: a message of {prefix[0]} bytes should follow, but the file "
                f"ends after {len(data)}: truncated, or not messages with their lengths"
            )
        yield Message(start, data)
        offset = start + prefix[0]


def _read(stream: IO[bytes], size: int) -> bytes:
    """At most `size` bytes, a piece at a time: a wrong length must not ask for gigabytes."""
    pieces = []
    while size and (piece := stream.read(min(size, _PIECE_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _length(path: Path, stream: IO[bytes], offset: int) -> tuple[int, int] | None:
    """(length of the next message, bytes that say so); None at the end of the file."""
    read = bytearray()
    while len(read) < _MAX_VARINT_BYTES:
        byte = stream.read(1)
        if not byte and not read:
            return None
        read += byte
        if not byte or byte[0] < 0x80:
            break
    try:
        return read_varint(bytes(read), 0, offset)
    except WireError as error:
        raise TraceError(f"{path}: {error}: truncated?") from error
