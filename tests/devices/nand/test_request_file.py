"""Request files of drives: every way to write a request, and what is wrong with a line."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.nand.request_file import read_requests
from bankwidth.devices.nand.requests import Requests
from bankwidth.errors import TraceError

CAPACITY = 1 << 30


def read(text: bytes) -> Requests:
    return read_requests(io.BytesIO(text), CAPACITY)


def rows(text: bytes) -> list[tuple[Any, ...]]:
    found = read(text)
    columns = [found.offset_bytes, found.size_bytes, found.is_write]
    if found.arrival_ps is not None:
        columns.append(found.arrival_ps)
    return list(zip(*(column.tolist() for column in columns), strict=True))


# ---------------------------------------------------------------------------- what is right
@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"R 1048576 4096", (1048576, 4096, False)),
        (b"w 0x100000 4k", (1048576, 4096, True)),
        (b"W 1 MiB 4 KiB", (1048576, 4096, True)),
        (b"r 1MiB 4KiB # of a log", (1048576, 4096, False)),
        (b"\t R  1m   0x1000\r", (1048576, 4096, False)),
        (b"R 0 512 0", (0, 512, False, 0)),
        (b"R 0 512 12.5", (0, 512, False, 12_500)),
        (b"R 0 512 1e3", (0, 512, False, 1_000_000)),
        (b"R 0 512 12.5 us", (0, 512, False, 12_500_000)),
        (b"W 1 MiB 16 KiB 3ms", (1048576, 16384, True, 3 * 10**9)),
        (b"W 1 MiB 16k 250 ps", (1048576, 16384, True, 250)),
        ("W 1 MiB 16k 2 µs".encode(), (1048576, 16384, True, 2_000_000)),
    ],
)
def test_a_line(line: bytes, row: tuple[Any, ...]) -> None:
    assert rows(line) == [row]


def test_comments_blank_lines_and_a_byte_order_mark_are_left_out() -> None:
    text = b"\xef\xbb\xbf# offset size\n\n  \nR 0 512\n # more\nW 512 512\n"
    assert rows(text) == [(0, 512, False), (512, 512, True)]


def test_requests_may_end_at_the_end_of_the_drive() -> None:
    assert rows(b"R 1073741312 512") == [(CAPACITY - 512, 512, False)]


def test_equal_arrivals_are_in_order() -> None:
    assert [row[3] for row in rows(b"R 0 512 5\nR 0 512 5\nR 0 512 6")] == [5000, 5000, 6000]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 2**20), st.integers(1, 64), st.integers(0, 10**6)),
        min_size=1,
        max_size=50,
    ),
    st.booleans(),
)
def test_what_is_written_is_read(
    requests: list[tuple[bool, int, int, int]], has_arrivals: bool
) -> None:
    """With units and without, all the same."""
    at, plain, united, expected = 0, [], [], []
    for is_write, block, sectors, gap_ns in requests:
        at += gap_ns
        name = "W" if is_write else "r"
        arrival = f" {at}" if has_arrivals else ""
        plain.append(f"{name} {512 * block} {512 * sectors}{arrival}")
        united.append(f"{name} {512 * block} B {sectors / 2} KiB{arrival and arrival + ' ns'}")
        row = (512 * block, 512 * sectors, is_write)
        expected.append((*row, at * 1000) if has_arrivals else row)
    for lines in (plain, united):
        assert rows("\n".join(lines).encode()) == expected


def test_gzip_is_known_by_its_first_bytes_and_stdin_is_a_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"R 0 512\nW 4096 4096\n"
    path = tmp_path / "requests.txt"
    path.write_bytes(gzip.compress(text))
    expected = [0, 4096]
    assert read_requests(path, CAPACITY).offset_bytes.tolist() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(text))))
    assert read_requests("-", CAPACITY).offset_bytes.tolist() == expected


# ---------------------------------------------------------------------------- what is wrong
ALLOWED = "a line is R or W, offset, size and perhaps arrival"


@pytest.mark.parametrize(
    ("text", "line", "messages"),
    [
        (b"READ 0 512\n", 1, ["'READ 0 512': unknown operation 'READ', did you mean 'R'?"]),
        (b"R 0 512\n\nwrite 0 512\n", 3, ["unknown operation 'write', did you mean 'W'?"]),
        (b"X 0 512\n", 1, ["unknown operation 'X'", ALLOWED]),
        (b"0 512 R\n", 1, ["unknown operation '0'", ALLOWED]),
        (b"R\n", 1, ["need offset and size, and at most an arrival: 0 found", ALLOWED]),
        (b"R 0\n", 1, ["an arrival: 1 found"]),
        (b"R 0 512 1 2\n", 1, ["an arrival: 4 found"]),
        (b"R zz 512\n", 1, ["offset: 'zz' is no size"]),
        (b"R 0 4 lb\n", 1, ["size: '4 lb': unknown unit 'lb'"]),
        (b"R 0 4 us\n", 1, ["size: '4 us': us is a time, need a size"]),
        (b"R 0 512 5 KiB\n", 1, ["arrival: '5 KiB': KiB is a size, need a time"]),
        (b"R 0 512 nan\n", 1, ["size: '512 nan': unknown unit 'nan'"]),
        (b"R 0 512 1e999\n", 1, ["arrival: "]),
        (b"R -512 512\n", 1, ["offset -512 is negative"]),
        (b"R 0 -512\n", 1, ["size -512 is negative"]),
        (b"R 0 512 -5\n", 1, ["arrival -5 is negative"]),
        (b"R 0 0\n", 1, ["size is 0"]),
        (b"R 0 512\nW 100 512\n", 2, ["'W 100 512': offset 100 is no multiple of a sector of 512"]),
        (b"R 0 4 kB\n", 1, ["size 4000 is no multiple of a sector of 512 bytes"]),
        (
            b"R 1073741824 512\n",
            1,
            ["LBA 1073741824 and 512 bytes from there end beyond the capacity of 1073741824 bytes"],
        ),
        (b"R 1073741312 1024\n", 1, ["beyond the capacity of 1073741824 bytes"]),
        (b"R 99999999999999999999999 512\n", 1, ["no multiple"]),
        (b"R 512000000000000000000000 512\n", 1, ["beyond the capacity"]),
        (
            b"R 0 512 9\nR 0 512 8.5\n",
            2,
            ["arrival at 8.5 ns after one at 9 ns: must not decrease"],
        ),
        (b"\nR 0 512 9\nR 0 512\n", 3, ["no arrival, but line 2 has one"]),
        (b"R 0 512\nR 0 512 9\n", 2, ["an arrival, but line 1 has none"]),
        (b"R 0 512 20 Ms\n", 1, ["unknown unit 'Ms'"]),
        (b"R 0 512 2000000 s\n", 1, ["arrival is too late, at most 1000000000000000 ns"]),
        (b"R 0 512\n\xff\n", 2, ["not text (UTF-8)"]),
        (b"R 0 512\nR " + b"1" * 5000 + b"\n", 2, ["R 1111", "..."]),
        (b"R 0 512 " + b"1" * 5000 + b"\n", 1, ["..."]),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    text: bytes, line: int, messages: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(text)
    with pytest.raises(TraceError) as caught:
        read_requests(path, CAPACITY)
    found = str(caught.value)
    assert found.startswith(f"{path}:{line}: ")
    assert [message for message in messages if message not in found] == []
    assert len(found) < 500


@pytest.mark.parametrize("text", [b"", b"\n\n", b"# R 0 512\n", gzip.compress(b"", mtime=0)])
def test_a_file_without_requests(text: bytes) -> None:
    with pytest.raises(TraceError, match=r"^<stream>: no requests; a line is R or W"):
        read(text)


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"/none\.txt: no such file"):
        read_requests(tmp_path / "none.txt", CAPACITY)
    with pytest.raises(TraceError, match="is a directory, need a file of requests"):
        read_requests(tmp_path, CAPACITY)
    packed = gzip.compress(b"R 0 512\n" * 1000)
    for damaged in (packed[:-9], packed[:20] + b"\xff" * 50):
        with pytest.raises(TraceError, match="gzip file damaged or truncated"):
            read(damaged)
