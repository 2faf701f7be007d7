"""Request files: three formats, read in blocks; what is wrong is said with its line."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.devices.dram import DramConfig, request_file
from bankwidth.devices.dram.chunk import Chunk
from bankwidth.devices.dram.request_file import read_requests
from bankwidth.errors import SpecError, TraceError

Load = Callable[[str], DramConfig]
Request = tuple[int, int]  # address, is_write
OPERATIONS = {"R/W": "RW", "Ramulator": ("LD", "ST"), "DRAMsim3": ("READ", "WRITE")}
CAPACITY_BYTES = 1 << 33  # of the golden DDR4 channel
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def ddr4(golden_config: Load) -> DramConfig:
    config = golden_config("DDR4")
    assert config.capacity_bytes == CAPACITY_BYTES
    return config


def read(data: bytes, config: DramConfig, **options: int) -> list[Chunk]:
    return list(read_requests(io.BytesIO(data), config, **options))


def words(chunks: list[Chunk]) -> list[int]:
    return [int(word) for chunk in chunks for word in chunk.words]


def due_ck(chunks: list[Chunk]) -> list[int]:
    return [int(tick) for chunk in chunks if chunk.due_ck is not None for tick in chunk.due_ck]


def line_of(name: str, request: Request, cycle: int, is_hex: bool) -> str:
    address, is_write = request
    operation = OPERATIONS[name][is_write]
    if name == "DRAMsim3":
        return f"0x{address:x} {operation} {cycle}"
    return f"{operation} {f'0x{address:X}' if is_hex else address}"


requests_of = st.lists(
    st.tuples(st.integers(0, CAPACITY_BYTES - 1), st.integers(0, 1)), min_size=1, max_size=60
)
fillers = st.sampled_from(["", "", "", "\n", "# R 0x1\n", " \t\n", "\r\n", "# größer\n"])
endings = st.sampled_from(["\n", "\n", " \n", "\r\n", " # R 0x1\n", "\t\r\n"])


# ---------------------------------------------------------------------------- round trip
@many
@given(data=st.data(), requests=requests_of, name=st.sampled_from(list(OPERATIONS)))
def test_what_is_written_is_read(
    data: st.DataObject, requests: list[Request], name: str, ddr4: DramConfig
) -> None:
    cycles = sorted(data.draw(st.integers(0, 10**12)) for _ in requests)
    text = ""
    for request, cycle in zip(requests, cycles, strict=True):
        line = line_of(name, request, cycle, data.draw(st.booleans()))
        line = data.draw(st.sampled_from([line, line.lower(), line.replace(" ", " \t ")]))
        text += data.draw(fillers) + line + data.draw(endings)
    if data.draw(st.booleans()):
        text = text.removesuffix("\n")
    most = data.draw(st.integers(1, 70))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_file, "BLOCK_BYTES", data.draw(st.integers(1, 100)))
        chunks = read(text.encode(), ddr4, chunk_requests=most)
    assert words(chunks) == [address << 1 | is_write for address, is_write in requests]
    assert due_ck(chunks) == (cycles if name == "DRAMsim3" else [])
    assert {len(chunk.words) for chunk in chunks[:-1]} <= {most}
    assert 1 <= len(chunks[-1].words) <= most


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.sampled_from(["R 1\n", "LD 0x1\n", "0x1 READ 5\n"]),
    lines=st.lists(
        st.one_of(
            st.lists(
                st.sampled_from(
                    ["R", "w", "LD", "ST", "LDX", "READ", "write", "WRIT", "0x10", "0X1f", "17",
                     "0x", "00000000000000000000017", "0x00000000000000000001", "9", "0xfg", "12a",
                     "-1", "99999999999999999999", "9999999999999999999", "8589934591",
                     "8589934592", "+1", "1_0", "\x0b", "\xa0", "é", "\x00", "#", "\r", "R\x121"]
                ),
                max_size=4,
            ).map(" ".join),
            st.text("RWrw01x #\r\n\t", max_size=8),
        ),
        max_size=3,
    ),
)  # fmt: skip
def test_columns_and_lines_read_the_same(first: str, lines: list[str], ddr4: DramConfig) -> None:
    text = (first + "\n".join(lines)).encode()

    def outcome() -> str | tuple[list[int], list[int]]:
        try:
            chunks = read(text, ddr4)
            return words(chunks), due_ck(chunks)
        except TraceError as error:
            return str(error)

    usual = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request_file._Reader, "_by_columns", lambda *_: None)
        assert outcome() == usual


def test_usual_lines_are_read_by_columns(ddr4: DramConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_file._Reader, "_by_lines", None)
    assert words(read(b"# a comment\n\nR 0x10 # more\r\nw 17\n", ddr4)) == [0x20, 35]
    assert words(read(b"LD 0X1F\nst 8\n", ddr4)) == [62, 17]
    assert due_ck(read(b"0x10 READ 3\n0x20 write 3", ddr4)) == [3, 3]


@pytest.mark.parametrize("unusual", [b"", b"0" * 30])
def test_cycles_become_ticks_of_the_engine(unusual: bytes, golden_config: Load) -> None:
    # HBM3 ticks twice per cycle of its clock
    chunks = read(b"0x40 READ 7\n0x80 WRITE %b9\n" % unusual, golden_config("HBM3"))
    assert due_ck(chunks) == [14, 18]


def test_without_cycles_requests_are_due_at_once(ddr4: DramConfig) -> None:
    (chunk,) = read(b"R 0\n", ddr4)
    assert chunk.due_ck is None


def test_leading_zeros_count_for_nothing(ddr4: DramConfig) -> None:
    text = b"R 0x" + b"0" * 40 + b"1f\nW " + b"0" * 40 + b"12\n"
    assert words(read(text, ddr4)) == [62, 25]


def test_more_channels_hold_more(ddr4: DramConfig) -> None:
    line = f"R {CAPACITY_BYTES}\n".encode()
    assert words(read(line, ddr4, channels=2)) == [2 * CAPACITY_BYTES]
    with pytest.raises(TraceError, match=r"8589934592 bytes \(1 channel of DDR4\)"):
        read(line, ddr4)


# ---------------------------------------------------------------------------- sources
def test_a_file_by_path(tmp_path: Path, ddr4: DramConfig) -> None:
    path = tmp_path / "requests.txt"
    path.write_bytes(b"\xef\xbb\xbfR 0x10\n")  # with a byte order mark
    assert words(list(read_requests(path, ddr4))) == [32]
    assert words(list(read_requests(str(path), ddr4))) == [32]


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path, ddr4: DramConfig) -> None:
    members = gzip.compress(b"R 1\nR ") + gzip.compress(b"2\n")
    packed, plain = tmp_path / "requests.txt", tmp_path / "requests.gz"
    packed.write_bytes(members)
    plain.write_bytes(b"R 1\nR 2\n")
    assert words(list(read_requests(packed, ddr4))) == [2, 4]
    assert words(list(read_requests(plain, ddr4))) == [2, 4]


@pytest.mark.parametrize("is_packed", [False, True])
def test_standard_input(is_packed: bool, ddr4: DramConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"LD 0x10\nST 2\n"
    stdin = io.TextIOWrapper(io.BytesIO(gzip.compress(data) if is_packed else data))
    monkeypatch.setattr("sys.stdin", stdin)
    assert words(list(read_requests("-", ddr4))) == [32, 5]
    assert not stdin.closed
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n\nLD 0x10 3\n")))
    with pytest.raises(TraceError, match=r"^<stdin>:3: "):
        read_requests("-", ddr4)


class Endless:
    """Never ends, and counts what was taken of it."""

    def __init__(self) -> None:
        self.taken_bytes = 0

    def read(self, size: int) -> bytes:
        start = self.taken_bytes % 9
        self.taken_bytes += size
        return (b"R 0x1000\n" * (size // 9 + 2))[start : start + size]


def test_a_file_is_never_read_ahead_by_more_than_a_block(ddr4: DramConfig) -> None:
    source = Endless()
    lines = request_file.BLOCK_BYTES // 9
    chunks = read_requests(cast(BinaryIO, source), ddr4, chunk_requests=3 * lines)
    assert words([next(chunks)]) == [0x2000] * (3 * lines)
    assert source.taken_bytes <= 4 * request_file.BLOCK_BYTES + 2


def test_chunks_are_cut_from_blocks_of_any_length(
    ddr4: DramConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_file, "BLOCK_BYTES", 100)
    text = b"".join(b"W %d\n" % i for i in range(1000))
    for size in (1, 7, 999, 1000, 1001):
        chunks = read(text, ddr4, chunk_requests=size)
        assert words(chunks) == [i << 1 | 1 for i in range(1000)]
        assert {len(chunk.words) for chunk in chunks[:-1]} <= {size}
        assert len(chunks) == -(-1000 // size)


def test_chunks_need_a_size(ddr4: DramConfig) -> None:
    with pytest.raises(SpecError, match="chunk_requests must be at least 1, got 0"):
        read(b"R 1\n", ddr4, chunk_requests=0)


# ---------------------------------------------------------------------------- bad input
FORMATS = "a file has lines like 'R 0x1f40'"


@pytest.mark.parametrize(
    ("text", "line", "messages"),
    [
        (b"RD 0x10\n", 1, ["'RD 0x10'", "unknown operation 'RD', did you mean 'R'?", FORMATS]),
        (b"# x\n\nwrite 0x10\n", 3, ["unknown operation 'write', did you mean 'W'?"]),
        (b"cycle,address\n", 1, ["unknown operation 'cycle,address'; a file has"]),
        (b"LD 1\nLOAD 1\n", 2, ["unknown operation 'LOAD', did you mean 'LD'?"]),
        (b"0x10 REED 5\n", 1, ["unknown operation 'REED', did you mean 'READ'?"]),
        (b"0x10 ST 5\n", 1, ["unknown operation 'ST', did you mean 'WRITE'?"]),
        (b"R 1\nX 1\n", 2, ["unknown operation 'X'", FORMATS]),
        (b"R\n", 1, ["'R': need operation and address (R/W); a file has lines"]),
        (b"R 1\nR 1 2\n", 2, ["'R 1 2': need operation and address (R/W)"]),
        (b"0x10 READ\n", 1, ["need address and operation and cycle (DRAMsim3)"]),
        (b"R 1\nRR 2\n", 2, ["unknown operation 'RR', did you mean 'R'?"]),
        (b"R 1 R 2\n", 1, ["'R 1 R 2': need operation and address"]),
        (b"R 1\nR\n2\n", 2, ["'R': need operation and address"]),
        (b"R 1 W\n 2\n", 1, ["'R 1 W': need operation and address"]),
        (b"R 1\nLD 2\n", 2, ["a line of Ramulator, but line 1 is one of R/W: one format a file"]),
        (b"\nLD 1\n0x10 READ 5\n", 3, ["a line of DRAMsim3, but line 2 is one of Ramulator"]),
        (b"R 1f40\n", 1, ["address '1f40' is no number like 8000 or 0x1f40"]),
        (b"R 0x\n", 1, ["address '0x' is no number"]),
        (b"R 1.5\n", 1, ["address '1.5' is no number"]),
        (b"R 1\nW -0x40\n", 2, ["address -0x40 is negative"]),
        (b"8000 READ 5\n", 1, ["address '8000' is no hexadecimal number like 0x1f40"]),
        (b"0x10 READ 0x\n", 1, ["cycle '0x' is no number"]),
        (b"0x10 READ -5\n", 1, ["cycle -5 is negative"]),
        (b"0x10 READ 9\n0x10 READ 8\n", 2, ["cycle 8 after cycle 9: cycles must not decrease"]),
        (b"0x10 READ 281474976710656\n", 1, ["cycle 281474976710656 is too large"]),
        (b"R 1\nR 8589934592\n", 2, ["address 8589934592 is beyond the capacity of 8589934592 by"]),
        (b"R 0x10000000000000000\n", 1, ["address 0x10000000000000000 is beyond the capacity of"]),
        (b"R 1\n\nR \xff\n", 3, ["not text (UTF-8)", FORMATS]),
        (b"R 1\n# \xff\n", 2, ["not text (UTF-8)"]),
        (b"R 1\n\x00\x00\n", 2, ["need operation and address"]),
        (b"R 1\n" + b"1" * 5000 + b"\n", 2, ["1" * 57 + "...'", "a line of DRAMsim3"]),
        (b"R 1\nR " + b"1" * 5000 + b"\n", 2, ["is no number"]),
        (b"R 1\n" + b"R " * 40000, 2, ["a line of more than 65536 bytes"]),
    ],
)
@pytest.mark.parametrize("block_bytes", [3, request_file.BLOCK_BYTES])
def test_what_is_wrong_is_said_with_its_line(
    text: bytes,
    line: int,
    messages: list[str],
    block_bytes: int,
    ddr4: DramConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_file, "BLOCK_BYTES", block_bytes)
    path = tmp_path / "t.txt"
    path.write_bytes(text)
    with pytest.raises(TraceError) as caught:
        list(read_requests(path, ddr4))
    found = str(caught.value)
    assert found.startswith(f"{path}:{line}: ")
    assert [message for message in messages if message not in found] == []
    assert len(found) < 500


def test_an_error_far_down_names_its_line(ddr4: DramConfig) -> None:
    text = b"R 0x1000\n" * 300_000 + b"R 0x100O\n"
    chunks = read_requests(io.BytesIO(text), ddr4)
    with pytest.raises(TraceError, match=r"^<stream>:300001: 'R 0x100O': address '0x100O'"):
        list(chunks)


def test_cycles_must_not_decrease_from_block_to_block(
    ddr4: DramConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_file, "BLOCK_BYTES", 15)
    with pytest.raises(TraceError, match=":2: cycle 11 after cycle 12"):
        read(b"0x10 READ 12\n0x10 READ 11\n", ddr4)


@pytest.mark.parametrize("text", [b"", b"\n", b"\n  \n# R 0x10\n", b"\xef\xbb\xbf"])
def test_a_file_without_requests(text: bytes, ddr4: DramConfig) -> None:
    with pytest.raises(TraceError, match=r"^<stream>: no requests; a file has lines like"):
        read_requests(io.BytesIO(text), ddr4)
    with pytest.raises(TraceError, match="no requests"):
        read_requests(io.BytesIO(gzip.compress(text)), ddr4)


def test_sources_that_are_no_file(tmp_path: Path, ddr4: DramConfig) -> None:
    with pytest.raises(TraceError, match=r"/none\.txt: no such file"):
        read_requests(tmp_path / "none.txt", ddr4)
    with pytest.raises(TraceError, match="is a directory, need a file of requests"):
        read_requests(tmp_path, ddr4)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails to read")
def test_a_file_that_fails_while_it_is_read(ddr4: DramConfig) -> None:
    with pytest.raises(TraceError, match="/proc/self/mem:1: cannot be read on: "):
        read_requests("/proc/self/mem", ddr4)


@pytest.mark.parametrize("cut", [1, 4, 12, 1000])
def test_a_truncated_gzip_file(cut: int, ddr4: DramConfig) -> None:
    rng = np.random.default_rng(1)
    data = b"".join(b"R %d\n" % address for address in rng.integers(0, CAPACITY_BYTES, 1000))
    with pytest.raises(TraceError, match=r":\d+: gzip file damaged or truncated about here"):
        list(read_requests(io.BytesIO(gzip.compress(data)[:-cut]), ddr4))


def test_a_damaged_gzip_file(ddr4: DramConfig) -> None:
    packed = bytearray(gzip.compress(np.random.default_rng(1).bytes(4000)))
    packed[2000] ^= 0xFF
    packed[-6] ^= 0xFF
    with pytest.raises(TraceError, match="gzip file damaged"):
        read(bytes(packed[:20]) + b"\xff" * 50, ddr4)
    good = bytearray(gzip.compress(b"R 1\n"))
    good[-5] ^= 1  # the checksum
    with pytest.raises(TraceError, match="gzip file damaged"):
        read(bytes(good), ddr4)
