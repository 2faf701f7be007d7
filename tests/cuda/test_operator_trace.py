"""Traces that bankwidth writes are read, shapes counted; cut and damaged ones refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bankwidth as bw
from bankwidth.operators import write_trace
from gpucap.operator_trace import read_operator_trace
from gpucap.problems import CaptureError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    trace = bw.make_trace(bw.load_workload("llama-3-8b"), phase="decode", context=1024)
    path = tmp_path / "llama.jsonl"
    write_trace(trace, path)
    return path


def test_counts_and_flops_are_those_of_the_trace(trace_file: Path) -> None:
    trace = bw.make_trace(bw.load_workload("llama-3-8b"), phase="decode", context=1024)
    wanted = read_operator_trace(trace_file)
    assert sum(row.count for row in wanted) == trace.num_steps
    ours = sum(op.flops for b in trace.blocks for op in b.operators * b.repeat
               if op.kind in ("matmul", "attention"))  # fmt: skip
    assert sum(row.count * row.shape.flops for row in wanted) == ours


def test_equal_shapes_are_one_row(trace_file: Path) -> None:
    wanted = read_operator_trace(trace_file)
    shapes = [row.shape for row in wanted]
    assert len(shapes) == len(set(shapes))
    add = next(row for row in wanted if row.shape.operator == "add")
    assert add.count == 64  # twice in each of 32 layers


def test_a_biased_layer_keeps_its_bias() -> None:
    wanted = read_operator_trace(ROOT / "traces" / "gpt2-decode-1024.jsonl")
    qkv = next(row.shape for row in wanted if row.name == "qkv")
    assert qkv.columns()["bias"] == "true"
    assert next(row.shape.operator for row in wanted if row.name == "norm1") == "layernorm"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_cut_trace_is_noticed(kept: float, trace_file: Path) -> None:
    text = trace_file.read_text()
    trace_file.write_text(text[: int(kept * len(text))])
    with pytest.raises(CaptureError, match=r"llama\.jsonl:\d+: .*truncated"):
        read_operator_trace(trace_file)


def changed(path: Path, line: int, **values: object) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps(json.loads(lines[line - 1]) | values)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("line", "values", "parts"),
    [
        (1, {"format": "other"}, [":1:", "bankwidth-trace"]),
        (1, {"version": 9}, [":1:", "version 1"]),
        (1, {"blocks": 0}, [":1:", "blocks must be a whole number"]),
        (2, {"repeat": True}, [":2:", "repeat must be"]),
        (3, {"kind": "embeding"}, [":3:", "did you mean 'embedding'", "known: matmul"]),
        (3, {"width": None}, [":3:", "column width missing"]),
        (3, {"weight_dtype": "bf17"}, [":3:", "unknown dtype 'bf17'"]),
        (1, {"blocks": 1}, ["more lines than"]),
    ],
)
def test_wrong_traces_are_refused_with_their_line(
    line: int, values: dict[str, object], parts: list[str], trace_file: Path
) -> None:
    changed(trace_file, line, **values)
    with pytest.raises(CaptureError) as error:
        read_operator_trace(trace_file)
    for part in parts:
        assert part in str(error.value)
