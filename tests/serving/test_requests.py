"""Readers of request files: every format, and what is said of files that are wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError, TraceError
from bankwidth.serving.request_formats import seconds_ps, stamp_ps
from bankwidth.serving.requests import Request, read_requests, requests_of, with_arrivals

SHARED = Path(__file__).parents[3] / "shared" / "request_traces"
S = 10**12
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
LENGTHS = "arrival_s,input_tokens,output_tokens\n"
GOOD = {
    "azure": AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
    "burstgpt": BURST + "5,ChatGPT,374,44,418,API log\n9.314579,GPT-4,396,109,505,API log\n",
    "lengths": LENGTHS + "1,374,44\n5.314579,396,109\n",
    "vidur": "arrived_at,num_prefill_tokens,num_decode_tokens\n0,374,44\n4.314579,396,109\n",
    "mooncake": '{"timestamp": 2, "input_length": 374, "output_length": 44}\n'
    '{"timestamp": 4316.579, "input_length": 396, "output_length": 109, "hash_ids": [7]}\n',
}


def file_of(folder: Path, text: str | bytes, name: str = "requests.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("packed", [False, True])
def test_formats_are_known_by_their_columns(tmp_path: Path, name: str, packed: bool) -> None:
    text = GOOD[name].encode()
    found = read_requests(file_of(tmp_path, gzip.compress(text) if packed else text))
    assert found.format == name
    assert found.arrival_ps is not None
    assert found.arrival_ps.tolist() == [0, 4_314_579_000_000]
    assert found.prompt_tokens.tolist() == [374, 396]
    assert found.output_tokens.tolist() == [44, 109]
    assert found.hashes == ((), (7,) if name == "mooncake" else ())


@pytest.mark.parametrize(
    ("earlier", "later", "apart_s"),
    [
        ("2024-05-10 00:00:00.009930+00:00", "2024-05-10 00:00:01.009930+00:00", 1),
        ("2023-11-16 18:15:46", "2023-11-16 18:15:47.0000000", 1),
        ("2024-02-28 23:59:59Z", "2024-03-01 00:00:00Z", 86401),
        ("2024-05-10 02:00:00+02:00", "2024-05-10 00:00:00-00:30", 1800),
        ("2023-11-16T18:15:46.5", "2023-11-16 18:15:46.500000000001", 1e-12),
    ],
)
def test_times_of_day_are_exact(earlier: str, later: str, apart_s: float) -> None:
    assert stamp_ps(later) - stamp_ps(earlier) == round(apart_s * S)


@given(st.integers(0, 10**6), st.integers(0, 10**12 - 1))
def test_seconds_with_twelve_decimals_are_exact(whole: int, rest: int) -> None:
    assert seconds_ps(f"{whole}.{rest:012d}") == whole * S + rest


def test_order_of_columns_blank_lines_marks_and_quotes_do_not_matter(tmp_path: Path) -> None:
    text = '\ufeffoutput_tokens,"note",input_tokens,arrival_s\r\n\r\n3,"a, b",7,0\r\n4,c,8,1\r\n\n'
    found = read_requests(file_of(tmp_path, text))
    assert found.prompt_tokens.tolist() == [7, 8]
    assert found.output_tokens.tolist() == [3, 4]


def test_limit_takes_the_first_and_does_not_look_further(tmp_path: Path) -> None:
    text = GOOD["azure"] + "rubbish\n"
    assert len(read_requests(file_of(tmp_path, text), limit=2)) == 2
    with pytest.raises(TraceError, match=r"requests.csv:4: 1 columns, the header has 3"):
        read_requests(file_of(tmp_path, text), limit=3)
    with pytest.raises(SpecError, match="--limit: 0, at least 1"):
        read_requests(file_of(tmp_path, text), limit=0)


WRONG = {
    "empty file": ("", r": no requests: the file is empty"),
    "no rows": (AZURE, r": no requests$"),
    "unknown columns": ("a,b\n1,2\n", r":1: unknown columns 'a,b'; azure: TIMESTAMP"),
    "missing column": (
        "TIMESTAMP,ContextTokens\n",
        r":1: no column GeneratedTokens; format 'azure'",
    ),
    "misspelt column": (
        "arrival_s,input_tokens,output_token\n",
        r"no column output_tokens: is it 'output_token'\?",
    ),
    "negative": (LENGTHS + "0,5,5\n1,-5,5\n", r":3: input_tokens: '-5' is negative: need tokens"),
    "zero": (LENGTHS + "0,5,0\n", r":2: output_tokens: 0 tokens, need at least 1"),
    "fraction": (LENGTHS + "0,5.5,1\n", r":2: input_tokens: '5.5' is not a whole number"),
    "text": (LENGTHS + "0,five,1\n", r":2: input_tokens: 'five' is not a whole"),
    "too many tokens": (
        LENGTHS + "0,5,999999999999\n",
        r":2: output_tokens: 999999999999 tokens, at most",
    ),
    "endless digits": (
        LENGTHS + f"0,{'9' * 5000},1\n",
        r":2: input_tokens: 9999.* tokens, at most",
    ),
    "empty field": (LENGTHS + "0,,1\n", r":2: input_tokens: '' is not a whole number"),
    "nan arrival": (LENGTHS + "nan,5,1\n", r":2: arrival_s: 'nan' is not a number of seconds"),
    "huge arrival": (LENGTHS + "1e30,5,1\n", r":2: arrival_s: '1e30': a time is from 0 to"),
    "negative arrival": (LENGTHS + "-1,5,1\n", r":2: arrival_s: '-1': a time is from 0"),
    "out of order": (
        LENGTHS + "2,5,1\n\n1.5,5,1\n",
        r":4: arrives 0.5 s before the request above: sort",
    ),
    "half a line": (LENGTHS + "0,5,1\n1,5", r":3: 2 columns, the header has 3: is the line cut"),
    "a column more": (LENGTHS + "0,5,1,9\n", r":2: 4 columns, the header has 3"),
    "bad quote": (LENGTHS + '0,"5,1\n', r":2: not a line of CSV"),
    "no date": (
        AZURE + "2023-13-16 18:15:46,5,5\n",
        r":2: TIMESTAMP: '2023-13-16 18:15:46' is not a date",
    ),
    "half a date": (
        AZURE + "2023-11-16 18:1,5,5\n",
        r":2: TIMESTAMP: '2023-11-16 18:1' is not a date",
    ),
    "too long": (
        AZURE + "2003-11-16 18:15:46,5,5\n2023-11-16 18:15:46,5,5\n",
        r"46 days after the first",
    ),
    "half an object": (
        '{"timestamp": 0, "input_le\n',
        r":1: not a JSON object: Unterminated string .* column 18",
    ),
    "an array": ("[1, 2]\n", r":1: not a JSON object with timestamp"),
    "no field": ('{"timestamp": 0, "input_length": 5}\n', r":1: no output_length"),
    "a text": (
        '{"timestamp": 0, "input_length": "5", "output_length": 1}\n',
        r":1: input_length: '5' is not a whole",
    ),
    "a truth": (
        '{"timestamp": 0, "input_length": true, "output_length": 1}\n',
        r":1: input_length: True is",
    ),
    "not a number": (
        '{"timestamp": NaN, "input_length": 5, "output_length": 1}\n',
        r":1: 'NaN' is not a number of",
    ),
    "too few hashes": (
        '{"timestamp": 0, "input_length": 513, "output_length": 1, "hash_ids": [1]}\n',
        r":1: hash_ids: 1 of them, but a prompt of 513 tokens has 2 blocks of 512",
    ),
    "no hashes": (
        '{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": ["a"]}\n',
        r":1: hash_ids is not",
    ),
    "deep": ("[" * 100_000 + "\n", r":1: not a JSON object"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_once_with_its_line(tmp_path: Path, what: str) -> None:
    text, message = WRONG[what]
    path = file_of(tmp_path, text)
    with pytest.raises(TraceError, match=message) as caught:
        read_requests(path)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_truncated_or_damaged_gzip_file_is_named_with_its_line(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 97 + 1},{i % 89 + 1}\n" for i in range(50_000))
    data = gzip.compress((LENGTHS + rows).encode())
    for broken in (data[: len(data) // 2], data[:-4], data[:90_000] + b"\0\0\0\0" + data[90_004:]):
        with pytest.raises(TraceError, match=r"requests.csv:\d+: ") as caught:
            read_requests(file_of(tmp_path, broken))
        assert int(str(caught.value).split(":")[1]) > 100
    with pytest.raises(TraceError, match="gzip file damaged or truncated"):
        read_requests(file_of(tmp_path, data[:-4]))


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"requests.csv:2: not text \(UTF-8\)"):
        read_requests(file_of(tmp_path, LENGTHS.encode() + b"\xff\xfe\n"))
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        read_requests(tmp_path / "absent.csv")
    with pytest.raises(TraceError, match="cannot be read: Is a directory"):
        read_requests(tmp_path)


# ---------------------------------------------------------------------------- arrivals
def lengths(number: int = 1000) -> list[Request]:
    return [Request(None, 5, 5)] * number


def test_without_arrivals_all_come_at_once_or_are_drawn() -> None:
    asked = requests_of(lengths())
    at_once = with_arrivals(asked).arrival_ps
    assert at_once is not None
    assert not at_once.any()
    drawn = with_arrivals(asked, rate=20.0, seed=3)
    assert drawn.arrival_ps is not None
    assert drawn.arrivals == "Poisson, 20 requests/s, seed 3"
    gaps_s = np.diff(drawn.arrival_ps) / S
    assert gaps_s.min() >= 0
    assert 0.8 / 20 < gaps_s.mean() < 1.2 / 20
    assert 0.8 < gaps_s.std() / gaps_s.mean() < 1.2  # exponential
    again, other = (with_arrivals(asked, rate=20.0, seed=seed).arrival_ps for seed in (3, 4))
    assert again is not None
    assert other is not None
    assert np.array_equal(drawn.arrival_ps, again)
    assert not np.array_equal(drawn.arrival_ps, other)


def test_recorded_arrivals_can_be_faster_and_stay_whole_picoseconds() -> None:
    asked = requests_of(Request(each, 1, 1) for each in (0, 3, 10**18))
    scaled = with_arrivals(asked, scale=3).arrival_ps
    assert scaled is not None
    assert scaled.tolist() == [0, 1, 333333333333333333]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": 0.0}, "--rate: 0, need a number above 0"),
        ({"rate": float("nan")}, "--rate: nan"),
        ({"rate": 1e-9}, "more than 46 days"),
        ({"scale": -1.0}, "--rate-scale: -1"),
        ({"scale": 2.0}, "requests has no arrivals, give --rate"),
        ({"rate": 1.0, "scale": 1.0}, "choose one"),
    ],
)
def test_rates_that_cannot_be(given: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        with_arrivals(requests_of(lengths()), **given)  # type: ignore[arg-type]


def test_requests_say_where_they_come_from(tmp_path: Path) -> None:
    told = read_requests(file_of(tmp_path, GOOD["azure"])).describe()
    assert told == {
        "source": str(tmp_path / "requests.csv"),
        "format": "azure",
        "arrivals": "recorded",
        "requests": 2,
        "prompt_tokens": 770,
        "output_tokens": 153,
    }
    json.dumps(told)


# ---------------------------------------------------------------------------- recorded ones
@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
@pytest.mark.parametrize(
    ("name", "kind", "number", "prompt", "output"),
    [
        ("azure_llm_2023_conv.csv.gz", "azure", 19366, 22361870, 4088665),
        ("azure_llm_2023_code.csv.gz", "azure", 8819, 18059974, 245896),
        ("mooncake_conversation_trace.jsonl.gz", "mooncake", 12031, 144793823, 4122048),
        ("mooncake_synthetic_trace.jsonl.gz", "mooncake", 3993, 61194628, 595432),
        ("vidur_arxiv_summarization_lengths.csv.gz", "vidur", 28257, 73131321, 8234948),
        ("sharegpt_llama31_8b_300_sps10_lengths.csv.gz", "lengths", 300, 257239, 195753),
        ("apex_llama_creation_05_lengths.csv.gz", "lengths", 512, 157563, 585888),
    ],
)
def test_recorded_traces_are_read_whole(
    name: str, kind: str, number: int, prompt: int, output: int
) -> None:
    found = read_requests(SHARED / name)
    assert (found.format, len(found)) == (kind, number)
    assert found.prompt_tokens.sum() == prompt
    assert found.output_tokens.sum() == output
    assert found.has_hashes == (kind == "mooncake")
    if found.arrival_ps is not None:
        assert found.arrival_ps[0] == 0
        assert (np.diff(found.arrival_ps) >= 0).all()
