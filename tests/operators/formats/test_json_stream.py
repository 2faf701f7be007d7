from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators.formats import json_stream
from bankwidth.operators.formats.json_stream import JsonStream

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def read(path: Path) -> list[tuple[str, Any]]:
    with JsonStream(path) as stream:
        return list(stream.members("events"))


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "t.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("piece", [1, 3, 64, 1 << 20])
@MANY
@given(
    before=st.dictionaries(TEXT.filter(lambda key: key not in ("events", "z")), VALUES, max_size=2),
    events=st.lists(VALUES, max_size=5),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    packed=st.booleans(),
)
def test_members_are_those_of_json_whatever_the_size_of_the_pieces(
    piece: int,
    before: dict[str, Any],
    events: list[Any],
    indent: int | None,
    ascii_only: bool,
    packed: bool,
    tmp_path: Path,
) -> None:
    text = json.dumps({**before, "events": events, "z": 1}, indent=indent, ensure_ascii=ascii_only)
    path = written(tmp_path, gzip.compress(text.encode()) if packed else text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", piece)
        found = read(path)
    assert found == [*before.items(), *(("events", e) for e in events), ("z", 1)]


def test_the_line_is_where_the_last_value_ends(tmp_path: Path) -> None:
    text = '{"a": 1,\n"events": [\n{"n":\n 1},\n {"n": 2}, {"n": 3}\n,\n{"n": 4}]}'
    lines = []
    with JsonStream(written(tmp_path, text)) as stream:
        for key, _ in stream.members("events"):
            if key == "events":
                lines.append(stream.line)
    assert lines == [4, 5, 5, 7]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "1:1", "empty file"),
        ("  \n ", "2:2", "truncated"),
        ("[1, 2]", "1:1", "expected a JSON object, found '[1, 2]'"),
        ('"a"', "1:1", "expected a JSON object"),
        ('{"a": 1', "1:8", "truncated"),
        ('{"a": 1,', "1:9", "truncated"),
        ('{"a" 1}', "1:6", "expected ':' after the key 'a'"),
        ("{a: 1}", "1:2", 'expected a key in ""'),
        ('{"a": 1 "b": 2}', "1:9", "expected ',' or '}'"),
        ('{"a": 1} x', "1:10", "more after the end"),
        ('{"events": {}}', "1:12", "events must be a list"),
        ('{"events": [{}\n {}]}', "2:2", "expected ',' or ']'"),
        ('{"events": [{},\n]}', "2:1", "not JSON: expecting value"),
        ('{"events": [{"n": 1}, {"n": 2', "1:30", "the file ends within a value: truncated?"),
        ('{"events": [{"n": "abc', "1:19", "the file ends within a value: truncated?"),
        ('{"events": [{"n": 1},\n{"n": nul}]}', "2:7", "not JSON: expecting value"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, place: str, what: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(TraceError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}:{place}: ")
    assert what in str(error.value)


def test_a_mistake_far_behind_is_told_with_line_column_and_byte(tmp_path: Path) -> None:
    event = '{"name": "\u00e9t\u00e9", "n": 12345}'  # two bytes for each accented letter
    text = '{"events": [\n' + ",\n".join([event] * 5000) + ',\n  {"n": 1,, "m": 2}, {}]}'
    path = written(tmp_path, text)
    at = text.index(",, ") + 1
    byte = len(text[:at].encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", 1000)
        with pytest.raises(TraceError, match=rf":5002:11: not JSON.*\(byte {byte}\)"):
            read(path)


def test_a_mistake_is_told_before_the_rest_of_the_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, '{"events": [{"n": 1,, "m": 2}, ' + " " * 1_000_000 + "{}]}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", 1000)
        with JsonStream(path) as stream:
            with pytest.raises(TraceError, match=":1:21: not JSON"):
                list(stream.members("events"))
            assert stream._file.tell() < 20_000


def test_a_value_without_an_end_is_given_up(tmp_path: Path) -> None:
    path = written(tmp_path, '{"events": [{"n": "' + "x" * 100_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "PIECE_BYTES", 1000)
        patch.setattr(json_stream, "MAX_VALUE_CHARS", 10_000)
        with pytest.raises(TraceError, match="a value that does not end"):
            read(path)


def test_bad_bytes_become_question_marks_and_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"events": [{"n": "a\xff\xc3"}, {"n": "\xe2\x82\xac"}]}')
    for piece in (1, 5, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(json_stream, "PIECE_BYTES", piece)
            with JsonStream(path) as stream:
                assert [e["n"] for _, e in stream.members("events")] == ["a??", "\u20ac"]
            assert (stream.bad_bytes, stream.first_bad_byte) == (2, 20)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    assert read(written(tmp_path, b'\xef\xbb\xbf{"a": 1}')) == [("a", 1)]


def test_numbers_of_any_length_and_not_a_number(tmp_path: Path) -> None:
    found = read(
        written(tmp_path, '{"events": [{"n": 12345678901234567890123}, {"n": -Infinity}]}')
    )
    assert [event["n"] for _, event in found] == [12345678901234567890123, float("-inf")]
    with pytest.raises(TraceError, match="a number that cannot be read"):
        read(written(tmp_path, '{"a": 1' + "0" * 5000 + "}"))


def test_too_deep_a_nesting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="nested too deeply"):
        read(written(tmp_path, '{"events": [' + "[" * 200_000))


@pytest.mark.parametrize("keep", [12, 40, 200])
def test_a_cut_gzip_file_says_where_it_ends(keep: int, tmp_path: Path) -> None:
    text = json.dumps({"events": [{"n": number * 7919} for number in range(200)]})
    path = written(tmp_path, gzip.compress(text.encode())[:keep])
    with pytest.raises(TraceError, match=r":1:\d+: truncated gzip file: it ends here \(byte \d+"):
        read(path)


def test_a_damaged_gzip_file_says_where(tmp_path: Path) -> None:
    text = json.dumps({"events": [{"n": number * 7919} for number in range(2000)]})
    data = bytearray(gzip.compress(text.encode()))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(TraceError, match=r":1:\d+: "):
        read(written(tmp_path, bytes(data)))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        JsonStream(tmp_path / "none.json")
