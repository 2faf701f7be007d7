"""Request files: one request a line, plain text or gzip (known by its first bytes), read in blocks.

| format    | line                             | examples               | address               |
| --------- | -------------------------------- | ---------------------- | --------------------- |
| R/W       | `R` or `W`, address              | `R 0x1f40`, `w 8000`   | 0x and hex digits, or |
| Ramulator | `LD` or `ST`, address            | `LD 0x1f40`, `ST 8000` | decimal               |
| DRAMsim3  | address, `READ` or `WRITE`, cycle | `0x1f40 READ 120`     | 0x and hex digits     |

Operations may be lower case. Blank lines are left out, and comments from `#` to the end of a line.
The first request decides the format of the file. The cycle is the earliest one of the memory clock
at which the request may be offered; it must not decrease from line to line.

Addresses are byte addresses of the whole memory (all channels). One that is not a multiple of the
burst is allowed: the mapper drops its low bits, as the reference does. But the controller tells
queued writes apart by the whole byte address: a read is forwarded from a queued write, and a write
merged into it, only where the addresses are equal in every bit.
"""

from __future__ import annotations

import gzip
import itertools
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.chunk import Chunk
from bankwidth.devices.dram.config import DramConfig
from bankwidth.errors import SpecError, TraceError, did_you_mean

BLOCK_BYTES: Final = 1 << 19
MAX_CYCLE: Final = 1 << 48  # three days at 1 GHz
MAX_LINE_BYTES: Final = 1 << 16
MAX_NUMBER: Final = 1000  # characters
GZIP_MAGIC: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Tokens = tuple[NDArray[np.intp], NDArray[np.intp]]  # first byte, and byte after the last


@dataclass(frozen=True, slots=True)
class Format:
    """What the fields of a line are."""

    name: str
    fields: tuple[str, ...]
    operations: tuple[str, str]  # of a read and of a write, in lower case
    is_hex_only: bool = False


READ_WRITE: Final = Format("R/W", ("operation", "address"), ("r", "w"))
RAMULATOR: Final = Format("Ramulator", ("operation", "address"), ("ld", "st"))
DRAMSIM3: Final = Format(
    "DRAMsim3", ("address", "operation", "cycle"), ("read", "write"), is_hex_only=True
)
ALLOWED: Final = (
    "a file has lines like 'R 0x1f40' and 'W 8000', or 'LD 0x1f40' and 'ST 8000' (Ramulator), "
    "or '0x1f40 READ 120' and '0x1f40 WRITE 125' (DRAMsim3)"
)
# What people write for a read and for a write, to name what the format calls it.
SYNONYMS: Final = (("r", "rd", "read", "ld", "load"), ("w", "wr", "write", "st", "store"))


def read_requests(
    source: str | Path | BinaryIO,
    config: DramConfig,
    *,
    channels: int = 1,
    chunk_requests: int = 1 << 16,
) -> Iterator[Chunk]:
    """Requests of a file, of standard input (`-`) or of a binary stream, in chunks.

    All chunks but the last have `chunk_requests`. Memory does not grow with the file. The first
    chunk is read at once, so that a wrong file is named before anything else is done. Raises
    TraceError with `FILE:LINE`.
    """
    if chunk_requests < 1:
        raise SpecError(f"chunk_requests must be at least 1, got {chunk_requests}")
    chunks = _in_chunks(_parts(source, config, channels), chunk_requests)
    return itertools.chain((next(chunks),), chunks)


def _parts(source: str | Path | BinaryIO, config: DramConfig, channels: int) -> Iterator[Chunk]:
    """One chunk per block of lines; never none."""
    is_empty = True
    with _opened(source) as (name, file):
        reader = _Reader(name, config, channels)
        for block in _blocks(file, reader):
            part = reader.parse(block)
            if len(part.words):
                is_empty = False
                yield part
    if is_empty:
        raise TraceError(f"{name}: no requests; {ALLOWED}")


def _in_chunks(parts: Iterator[Chunk], most: int) -> Iterator[Chunk]:
    """The same requests, cut into chunks of `most` and a rest."""
    held: list[Chunk] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part.words)
        if count >= most:
            joined, whole = _joined(held), count - count % most
            for first in range(0, whole, most):
                yield joined.part(first, first + most)
            held, count = [joined.part(whole, count)], count - whole
    if count:
        yield _joined(held)


def _joined(parts: list[Chunk]) -> Chunk:
    words = np.concatenate([part.words for part in parts])
    due_ck = [part.due_ck for part in parts if part.due_ck is not None]
    return Chunk(words, np.concatenate(due_ck) if due_ck else None)


# ---------------------------------------------------------------------------- bytes
@contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Name and stream of a source; only a file opened here is closed."""
    if not isinstance(source, str | Path):
        yield str(getattr(source, "name", "<stream>")), source
    elif str(source) == "-":
        yield "<stdin>", sys.stdin.buffer
    else:
        with _open(Path(source)) as file:
            yield str(source), file


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except IsADirectoryError as error:
        raise TraceError(f"{path}: is a directory, need a file of requests") from error
    except FileNotFoundError as error:
        raise TraceError(f"{path}: no such file") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error


class _Replayed:
    """A stream whose first bytes have been read already."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self._first, self._file = first, file

    def read(self, size: int) -> bytes:
        """The first bytes, then what follows."""
        first, self._first = self._first, b""
        return first or self._file.read(size)


def _unpacked(file: BinaryIO) -> BinaryIO:
    """The text of a stream, which may be packed with gzip."""
    first = file.read(1) + file.read(1)
    whole = cast(BinaryIO, _Replayed(first, file))
    return cast(BinaryIO, gzip.GzipFile(fileobj=whole)) if first == GZIP_MAGIC else whole


def _blocks(file: BinaryIO, reader: _Reader) -> Iterator[bytes]:
    """Whole lines, about BLOCK_BYTES at a time."""
    rest = b""
    try:
        text = _unpacked(file)
        while data := text.read(BLOCK_BYTES):
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = b""
            rest += data[end:]
            if len(rest) > MAX_LINE_BYTES:
                raise reader.error(f"a line of more than {MAX_LINE_BYTES} bytes; {ALLOWED}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise reader.error(f"gzip file damaged or truncated about here: {error}") from error
    except OSError as error:
        raise reader.error(f"cannot be read on: {error.strerror or error}") from error
    if rest:
        yield rest


# ---------------------------------------------------------------------------- lines
COMMENT: Final = re.compile(rb"#[^\n]*")
TOKEN: Final = re.compile(rb"\S+")
NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")


class _Reader:
    """Turns blocks of lines into requests, and knows what earlier blocks were.

    A block is read as columns of numbers. If anything about it is unusual it is read again line by
    line, which defines what is right and says what is wrong.
    """

    def __init__(self, name: str, config: DramConfig, channels: int) -> None:
        self.line = 1  # of the block that comes next, or the one that is read
        self._name = name
        self._capacity_bytes = config.capacity_bytes * channels
        self._memory = f"{channels} channel{'s' if channels > 1 else ''} of {config.name}"
        self._ticks_per_ck = config.ticks_per_ck
        self._format: Format | None = None
        self._format_line = 0
        self._cycle = 0  # of the last request

    def error(self, what: str) -> TraceError:
        """An error of the line that is read."""
        return TraceError(f"{self._name}:{self.line}: {what}")

    def parse(self, block: bytes) -> Chunk:
        """Requests of whole lines; none if all are blank."""
        if self.line == 1:
            block = block.removeprefix(BYTE_ORDER_MARK)
        if not block.isascii():
            self._check_encoding(block)
        if b"#" in block:
            block = COMMENT.sub(b"", block)
        if self._format is None:
            self._choose_format(block)
        chunk = self._by_columns(block)
        if chunk is None:
            return self._by_lines(block)
        self.line += block.count(b"\n")
        return chunk

    def _check_encoding(self, block: bytes) -> None:
        try:
            block.decode()
        except UnicodeDecodeError as error:
            self.line += block.count(b"\n", 0, error.start)
            raise self.error(f"not text (UTF-8); {ALLOWED}") from error

    def _choose_format(self, block: bytes) -> None:
        """The first request decides; without one in this block a later block does."""
        first = TOKEN.search(block)
        if first is not None:
            self._format = _format_of(first.group().decode())
            self._format_line = self.line + block.count(b"\n", 0, first.start())

    # ------------------------------------------------------------------------ by columns
    def _by_columns(self, block: bytes) -> Chunk | None:
        """Requests of a block without anything unusual; else None."""
        if self._format is None:
            return None
        text = np.frombuffer(b"\n%b%b" % (block, PADDING), dtype=np.uint8)
        columns = _columns(text, len(self._format.fields))
        if columns is None:
            return None
        field = dict(zip(self._format.fields, columns, strict=True))
        is_write = _is_write(text, field["operation"], self._format.operations)
        address = _numbers(text, field["address"], only_hex=self._format.is_hex_only)
        if is_write is None or address is None or address.max(initial=0) >= self._capacity_bytes:
            return None
        words = (address.astype(np.int64) << 1) | is_write
        if "cycle" not in field:
            return Chunk(words, None)
        cycle = _numbers(text, field["cycle"])
        if cycle is None or not self._is_rising(cycle):
            return None
        return Chunk(words, cycle.astype(np.int64) * self._ticks_per_ck)

    def _is_rising(self, cycle: NDArray[np.uint64]) -> bool:
        """Whether cycles are in order and in range; notes the last."""
        if len(cycle) == 0:
            return True
        is_rising = cycle[0] >= self._cycle and not (cycle[1:] < cycle[:-1]).any()
        if not is_rising or cycle[-1] >= MAX_CYCLE:
            return False
        self._cycle = int(cycle[-1])
        return True

    # ------------------------------------------------------------------------ line by line
    def _by_lines(self, block: bytes) -> Chunk:
        words, due_ck = [], []
        for line in block.removesuffix(b"\n").split(b"\n"):
            tokens = [token.decode() for token in line.split()]
            if tokens:
                word, due = self._request(tokens, " ".join(tokens))
                words.append(word)
                due_ck.append(due)
            self.line += 1
        has_cycles = self._format is DRAMSIM3
        return Chunk(
            np.array(words, dtype=np.int64),
            np.array(due_ck, dtype=np.int64) if has_cycles else None,
        )

    def _request(self, tokens: list[str], line: str) -> tuple[int, int]:
        """Word and earliest tick of one line."""
        form = self._format_for(tokens[0], line)
        if len(tokens) != len(form.fields):
            raise self._wrong(line, f"need {' and '.join(form.fields)} ({form.name})")
        field = dict(zip(form.fields, tokens, strict=True))
        operation = field["operation"].lower()
        if operation not in form.operations:
            raise self._wrong(line, _unknown_operation(field["operation"], form))
        address = self._number(line, "address", field["address"], only_hex=form.is_hex_only)
        if address >= self._capacity_bytes:
            memory = f"{self._capacity_bytes} bytes ({self._memory})"
            raise self.error(f"address {field['address']} is beyond the capacity of {memory}")
        due_ck = self._due_ck(line, field["cycle"]) if "cycle" in field else 0
        return address << 1 | form.operations.index(operation), due_ck

    def _due_ck(self, line: str, text: str) -> int:
        cycle = self._number(line, "cycle", text)
        if cycle >= MAX_CYCLE:
            raise self.error(f"cycle {_short(text)} is too large, at most {MAX_CYCLE - 1}")
        if cycle < self._cycle:
            raise self.error(f"cycle {cycle} after cycle {self._cycle}: cycles must not decrease")
        self._cycle = cycle
        return cycle * self._ticks_per_ck

    def _number(self, line: str, what: str, text: str, *, only_hex: bool = False) -> int:
        is_hex = text[1:2] in ("x", "X")
        if len(text) <= MAX_NUMBER and NUMBER.fullmatch(text) and (is_hex or not only_hex):
            return int(text, 16 if is_hex else 10)
        if text.startswith("-") and NUMBER.fullmatch(text[1:]):
            raise self._wrong(line, f"{what} {_short(text)} is negative")
        kind = "hexadecimal number like 0x1f40" if only_hex else "number like 8000 or 0x1f40"
        raise self._wrong(line, f"{what} {_short(text)!r} is no {kind}")

    def _format_for(self, token: str, line: str) -> Format:
        """The format of the file, if a line that begins with `token` may be of it."""
        own = _format_of(token)
        if self._format is None:
            raise self._wrong(line, _unknown_operation(token, READ_WRITE))
        if own is not None and own is not self._format:
            first = f"line {self._format_line} is one of {self._format.name}"
            raise self._wrong(line, f"a line of {own.name}, but {first}: one format a file")
        return self._format

    def _wrong(self, line: str, what: str) -> TraceError:
        return self.error(f"{_short(line)!r}: {what}; {ALLOWED}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _format_of(token: str) -> Format | None:
    """The format whose lines begin like this."""
    for form in (READ_WRITE, RAMULATOR):
        if token.lower() in form.operations:
            return form
    return DRAMSIM3 if token[0] in "-0123456789" else None


def _unknown_operation(found: str, form: Format) -> str:
    own = [name.upper() for name in form.operations]
    meant = [name for name, words in zip(own, SYNONYMS, strict=True) if found.lower() in words]
    hint = f", did you mean {meant[0]!r}?" if meant else did_you_mean(found, own)
    return f"unknown operation {_short(found)!r}{hint}"


# ---------------------------------------------------------------------------- columns
PADDING: Final = b"\n" * 32  # so that bytes just behind a token can be looked at
SPACES: Final = np.isin(np.arange(256), list(b" \t\n\r\x0b\x0c"))
LOWER: Final = 0x20  # the bit that makes a letter lower case
NO_DIGIT: Final = 99
DIGITS: Final = np.full(256, NO_DIGIT, dtype=np.uint8)
DIGITS[list(b"0123456789abcdef")] = range(16)
DIGITS[list(b"ABCDEF")] = range(10, 16)
HEX_DIGITS, DECIMAL_DIGITS = 16, 19  # that fit 64 bits


def _columns(text: Bytes, num_fields: int) -> list[Tokens] | None:
    """Tokens of each field, if every line that has any has that many; else None."""
    is_space = SPACES[text]
    edges = np.flatnonzero(is_space[1:] != is_space[:-1]) + 1
    if len(edges) % (2 * num_fields):
        return None
    starts, ends = edges[0::2].reshape(-1, num_fields), edges[1::2].reshape(-1, num_fields)
    lines = np.cumsum(text == ord("\n"), dtype=np.int32)[starts]
    if (lines[:, 0] != lines[:, -1]).any() or (lines[1:, 0] == lines[:-1, 0]).any():
        return None
    return [(starts[:, i], ends[:, i]) for i in range(num_fields)]


def _is_write(text: Bytes, tokens: Tokens, operations: tuple[str, str]) -> Int64s | None:
    """Direction of each operation; None if one is unknown."""
    starts, ends = tokens
    longest = max(map(len, operations))
    codes = np.zeros(len(starts), dtype=np.int64)
    for place in range(longest):
        is_inside = starts + place < ends
        codes = codes << 8 | np.where(is_inside, text[starts + place] | LOWER, 0)
    read, write = (int.from_bytes(name.encode().ljust(longest, b"\0")) for name in operations)
    is_write = codes == write
    is_known = (is_write | (codes == read)) & (ends - starts <= longest)
    return is_write.astype(np.int64) if is_known.all() else None


def _numbers(text: Bytes, tokens: Tokens, *, only_hex: bool = False) -> NDArray[np.uint64] | None:
    """Values of tokens; None if one is no number, or so long that it may not fit."""
    starts, ends = tokens
    is_hex = (text[starts] == ord("0")) & (text[starts + 1] | LOWER == ord("x"))
    first = starts + 2 * is_hex
    is_long = ends - first > np.where(is_hex, HEX_DIGITS, DECIMAL_DIGITS)
    if is_long.any() or (first == ends).any() or (only_hex and not is_hex.all()):
        return None
    base = np.where(is_hex, 16, 10).astype(np.uint64)
    values = np.zeros(len(starts), dtype=np.uint64)
    for place in range(int((ends - first).max(initial=0))):
        digit = DIGITS[text[first + place]]
        is_inside = first + place < ends
        if (is_inside & (digit >= base)).any():
            return None
        values = np.where(is_inside, values * base + digit, values)
    return values
