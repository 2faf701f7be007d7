from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.errors import OutputError, TraceError
from bankwidth.operators import (
    DTYPE_BITS,
    KINDS,
    Attention,
    Block,
    Collective,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Moe,
    Norm,
    Operator,
    Rope,
    Softmax,
    Trace,
    make_trace,
    read_trace,
    write_trace,
)

from .conftest import ROOT

SIZE = st.integers(1, 2**40)
DTYPE = st.sampled_from(sorted(DTYPE_BITS))
COMMON: dict[str, Any] = {"layer": st.integers(-1, 200)}


def strategy(kind: type[Operator], **sizes: Any) -> st.SearchStrategy[Operator]:
    return st.builds(kind, name=st.just("?"), **(COMMON | sizes))


OPERATORS = st.one_of(
    strategy(
        Matmul, m=SIZE, n=SIZE, k=SIZE, batch=SIZE, dtype=DTYPE, weight_dtype=DTYPE,
        has_weight=st.booleans(), bias=st.booleans(), out_dtype=st.none() | DTYPE,
    ),
    strategy(
        Attention, phase=st.sampled_from(["prefill", "decode"]), batch=SIZE, q_len=SIZE,
        kv_len=SIZE, n_heads=st.just(8), n_kv_heads=st.sampled_from([1, 2, 4, 8]), head_dim=SIZE,
        causal=st.just(False), dtype=DTYPE, kv_dtype=DTYPE,
    ),
    strategy(Norm, rows=SIZE, width=SIZE, style=st.sampled_from(["rms", "layer"]), dtype=DTYPE),
    strategy(Softmax, rows=SIZE, width=SIZE, dtype=DTYPE),
    strategy(
        Elementwise, function=st.sampled_from(["add", "silu_mul"]), elements=SIZE,
        num_inputs=st.just(2), dtype=DTYPE, rows=st.none() | st.just(1),
    ),
    strategy(Rope, tokens=SIZE, heads=SIZE, head_dim=SIZE, dtype=DTYPE),
    strategy(Embedding, tokens=SIZE, width=SIZE, vocab=SIZE, dtype=DTYPE, weight_dtype=DTYPE),
    strategy(KvAppend, tokens=SIZE, kv_heads=SIZE, head_dim=SIZE, dtype=DTYPE, kv_dtype=DTYPE),
    strategy(
        Collective, function=st.sampled_from(["all_reduce", "send_recv"]), size_bytes=SIZE,
        ways=SIZE, dtype=st.none() | DTYPE,
    ),
    strategy(
        Moe, tokens=SIZE, hidden=SIZE, inter=SIZE, topk=st.just(1), experts=SIZE,
        routing=st.sampled_from(["balanced", "power_law_1.2"]), gated=st.booleans(), dtype=DTYPE,
        weight_dtype=DTYPE,
    ),
)  # fmt: skip


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Operators with distinct names, each depending on some before it."""
    found = draw(st.lists(OPERATORS, min_size=1, max_size=4))
    names = draw(st.lists(st.text(min_size=1), min_size=4, max_size=4, unique=True))
    names = [f"n{name}" for name in names]
    operators = []
    for index, operator in enumerate(found):
        earlier = st.sampled_from([*names[:index], "@prev"])
        deps = draw(st.lists(earlier, max_size=2))
        operators.append(replace(operator, name=names[index], deps=tuple(deps)))
    return Block(name=draw(st.text()), repeat=draw(SIZE), operators=tuple(operators))


META = st.dictionaries(
    st.text(),
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=64),
)
TRACES = st.builds(
    Trace,
    model=st.text(),
    phase=st.text(),
    batch=SIZE,
    context=SIZE,
    output_tokens=st.integers(0, 9),
    dtypes=st.dictionaries(st.sampled_from(["weight", "activation", "kv"]), DTYPE),
    blocks=st.lists(blocks(), min_size=1, max_size=3).map(tuple),
    weight_bytes=SIZE,
    kv_bytes=SIZE,
    activation_bytes=SIZE,
    meta=META.map(
        lambda meta: {k: v for k, v in meta.items() if v not in (float("inf"), float("-inf"))}
    ),
)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(trace=TRACES)
def test_what_is_written_is_read_back_equal(trace: Trace, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_trace(trace, path)
    again = read_trace(path)
    assert again == trace
    assert [type(value) for value in again.meta.values()] == [
        type(value) for value in trace.meta.values()
    ]


@pytest.mark.parametrize("phase", ["decode", "prefill", "generate"])
def test_traces_of_models_survive_the_file(
    phase: str, shipped: Callable[[str], Any], tmp_path: Path
) -> None:
    trace = make_trace(shipped("opt-350m"), phase=phase, prompt=7, output=2)
    write_trace(trace, tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == trace


def test_the_same_trace_gives_the_same_bytes(tiny_llama: Any, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama)
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_trace(trace, tmp_path / name)
    first, second = (tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)  # no time stamp


def test_gz_in_the_name_means_gzip(tiny_llama: Any, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama)
    write_trace(trace, tmp_path / "t.jsonl")
    write_trace(trace, tmp_path / "t.jsonl.gz")
    packed = (tmp_path / "t.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == (tmp_path / "t.jsonl").read_bytes()


def test_a_hundred_layers_are_a_few_kilobytes(tiny_llama: Any, tmp_path: Path) -> None:
    tiny_llama.config["num_hidden_layers"] = 100
    write_trace(make_trace(tiny_llama), tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").stat().st_size < 5000


def test_the_example_in_traces_is_what_is_written_today(
    shipped: Callable[[str], Any], tmp_path: Path
) -> None:
    recorded = ROOT / "traces" / "gpt2-decode-1024.jsonl"
    write_trace(make_trace(shipped("gpt2"), context=1024), tmp_path / "t.jsonl")
    assert (tmp_path / "t.jsonl").read_bytes() == recorded.read_bytes()


def test_the_checksum_of_the_example_is_right() -> None:
    example = (ROOT / "traces" / "gpt2-decode-1024.jsonl").read_bytes()
    assert hashlib.sha256(example).hexdigest() in (ROOT / "traces" / "README.md").read_text()


def test_every_field_of_the_format_is_documented() -> None:
    readme = (ROOT / "traces" / "README.md").read_text()
    lines = (ROOT / "traces" / "gpt2-decode-1024.jsonl").read_text().splitlines()
    keys = {key for line in lines for key in json.loads(line)} | set(KINDS) | set(DTYPE_BITS)
    keys |= {field.name for kind in KINDS.values() for field in fields(kind)}
    assert [key for key in sorted(keys) if f"`{key}`" not in readme] == []


def test_a_trace_from_before_rows_were_noted_is_read(tiny_llama: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trace(make_trace(tiny_llama), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    adds = [line for line in lines if line.get("function") == "add"]
    assert [line.pop("rows") for line in adds] == [1] * len(adds) != []
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = [op for block in read_trace(path).blocks for op in block.operators]
    rows = [op.rows for op in found if isinstance(op, Elementwise) and op.function == "add"]
    assert rows == [None] * len(adds)


def lines_of(trace: Trace, tmp_path: Path) -> list[str]:
    write_trace(trace, tmp_path / "good.jsonl")
    return (tmp_path / "good.jsonl").read_text().splitlines()


def problem(lines: list[str], tmp_path: Path) -> str:
    """The message for a file of these lines; it starts with the file's path."""
    path = tmp_path / "bad.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(TraceError) as error:
        read_trace(path)
    message = str(error.value)
    assert message.startswith(f"{path}:")
    return message.removeprefix(f"{path}:")


def changed(line: str, **keys: object) -> str:
    return json.dumps(json.loads(line) | keys)


@pytest.fixture
def good(tiny_llama: Any, tmp_path: Path) -> list[str]:
    """1 header, 2 block of 1, 4 block of 12 (qkv is line 6), 17 block of 2, 19 the last."""
    lines = lines_of(make_trace(tiny_llama), tmp_path)
    assert len(lines) == 19
    return lines


@pytest.mark.parametrize("kept", range(1, 19))
def test_a_file_cut_after_any_line_is_noticed(kept: int, good: list[str], tmp_path: Path) -> None:
    assert problem(good[:kept], tmp_path).startswith(f"{kept}: the file ends where")


def test_a_cut_file_says_what_should_follow(good: list[str], tmp_path: Path) -> None:
    message = problem(good[:6], tmp_path)
    assert "operator 3 of 12 in block 2 of 3 should follow: truncated" in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_noticed(share: float, good: list[str], tmp_path: Path) -> None:
    text = "\n".join(good)
    path = tmp_path / "cut.jsonl"
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(TraceError, match=r"cut\.jsonl:\d+: "):
        read_trace(path)


def test_a_line_cut_in_the_middle_is_named(good: list[str], tmp_path: Path) -> None:
    message = problem([*good[:5], good[5][:40]], tmp_path)
    assert message.startswith("6: operator 2 of 12 in block 2 of 3: not a line of JSON")


@pytest.mark.parametrize(
    "first", ["", "{}", "[1, 2]", '{"schemaVersion": 1}', "operator,m,n,k", '"text"', "[" * 99999]
)
def test_a_file_of_another_format_is_refused(first: str, tmp_path: Path) -> None:
    assert problem([first, "{}"], tmp_path).startswith("1: not a trace: line 1 must be")


def test_a_newer_version_is_refused(good: list[str], tmp_path: Path) -> None:
    message = problem([changed(good[0], version=2), *good[1:]], tmp_path)
    assert message.startswith("1: version 2 cannot be read, only 1: written by a newer release?")


def test_lines_beyond_the_last_block_are_refused(good: list[str], tmp_path: Path) -> None:
    assert problem([*good, good[-1]], tmp_path).startswith("20: more lines than the header's 3")


def test_a_name_given_twice_is_refused(good: list[str], tmp_path: Path) -> None:
    lines = [*good[:6], changed(good[6], name="qkv"), *good[7:]]
    assert problem(lines, tmp_path) == "7: the name 'qkv' is taken"


def test_a_key_given_twice_is_refused(good: list[str], tmp_path: Path) -> None:
    lines = [*good[:5], good[5].replace('"m": 1', '"m": 1, "m": 2'), *good[6:]]
    assert problem(lines, tmp_path).endswith("the key 'm' is given twice")


def test_a_dependency_on_nothing_is_refused(good: list[str], tmp_path: Path) -> None:
    lines = [*good[:5], changed(good[5], deps=["norm9"]), *good[6:]]
    message = problem(lines, tmp_path)
    assert message.startswith("6: 'qkv' depends on 'norm9', which is no earlier operator")
    assert "did you mean 'norm1'" in message


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"m": 0}, "matmul 'qkv': m must be at least 1, got 0"),
        ({"m": 1.5}, "m must be a whole number, got 1.5"),
        ({"m": True}, "m must be a whole number, got true"),
        ({"bias": 1}, "bias must be true or false, got 1"),
        ({"deps": "norm1"}, 'deps must be a list of texts, got "norm1"'),
        ({"deps": [1]}, "deps must be a list of texts, got [1]"),
        ({"dtype": "bf17"}, "dtype: unknown dtype 'bf17', did you mean 'bf16'?"),
        ({"dtype": None}, "dtype must be text, got null"),
        ({"out_dtype": 3}, "out_dtype must be text or null, got 3"),
        ({"widht": 3}, "unknown key 'widht'"),
        ({"kind": "matmull"}, "unknown kind 'matmull', did you mean 'matmul'?"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    keys: dict[str, object], expected: str, good: list[str], tmp_path: Path
) -> None:
    lines = [*good[:5], changed(good[5], **keys), *good[6:]]
    message = problem(lines, tmp_path)
    assert message.startswith("6: ")
    assert expected in message


def test_a_choice_lists_what_is_allowed(good: list[str], tmp_path: Path) -> None:
    lines = [*good[:4], changed(good[4], style="batch"), *good[5:]]
    assert problem(lines, tmp_path) == '5: style must be one of rms, layer, got "batch"'


def test_a_missing_field_is_named(good: list[str], tmp_path: Path) -> None:
    operator = json.loads(good[5])
    del operator["m"], operator["k"]
    lines = [*good[:5], json.dumps(operator), *good[6:]]
    assert problem(lines, tmp_path) == "6: k, m missing"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"repeat": 0}, "4: block 'layers 0-1': repeat must be at least 1, got 0"),
        ({"repeat": 1.5}, "4: repeat must be a whole number, got 1.5"),
        ({"block": 7}, "4: block must be a name, got 7"),
        ({"operators": 0}, "4: operators must be how many follow, at least 1; got 0"),
        ({"times": 2}, "4: expected the line of a block: unknown key 'times'"),
    ],
)
def test_a_wrong_block_line_is_named(
    keys: dict[str, object], expected: str, good: list[str], tmp_path: Path
) -> None:
    lines = [*good[:3], changed(good[3], **keys), *good[4:]]
    assert problem(lines, tmp_path).startswith(expected)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"batch": 0}, "1: batch must be at least 1, got 0"),
        ({"model": 7}, "1: model must be text, got 7"),
        ({"dtypes": {"kv": "fp3"}}, "1: dtypes: kv: unknown dtype 'fp3'"),
        ({"dtypes": {"kv": []}}, "1: dtypes must be an object of plain values"),
        ({"blocks": "3"}, "1: blocks must be how many follow"),
        ({"contxt": 1}, "1: unknown key 'contxt', did you mean 'context'?"),
    ],
)
def test_a_wrong_header_is_named(
    keys: dict[str, object], expected: str, good: list[str], tmp_path: Path
) -> None:
    assert problem([changed(good[0], **keys), *good[1:]], tmp_path).startswith(expected)


def test_a_value_that_json_cannot_hold_is_refused_on_writing(
    tiny_llama: Any, tmp_path: Path
) -> None:
    trace = replace(make_trace(tiny_llama), meta={"speed": float("nan")})
    with pytest.raises(TraceError, match="plain finite values only"):
        write_trace(trace, tmp_path / "t.jsonl")
    assert not (tmp_path / "t.jsonl").exists()


def test_not_a_number_is_refused_on_reading(good: list[str], tmp_path: Path) -> None:
    lines = [*good[:5], good[5].replace('"m": 1', '"m": NaN'), *good[6:]]
    assert problem(lines, tmp_path).endswith("NaN is not allowed")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.jsonl: cannot be read: No such file"):
        read_trace(tmp_path / "none.jsonl")


def test_a_truncated_gzip_file_is_named(tiny_llama: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    write_trace(make_trace(tiny_llama), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TraceError, match=r"t\.jsonl\.gz: damaged or truncated gzip file"):
        read_trace(path)


def test_a_binary_file_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"{}\n\xff\xfe")
    with pytest.raises(TraceError, match=r"t\.jsonl:2: not text"):
        read_trace(path)


def test_a_folder_that_is_not_there_cannot_be_written_to(tiny_llama: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        write_trace(make_trace(tiny_llama), tmp_path / "none" / "t.jsonl")
