"""The recorded trace of traces/kineto, and files that are wrong."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import (
    OUTSIDE,
    Elementwise,
    Matmul,
    Operator,
    Trace,
    make_trace,
    read_trace,
    write_trace,
)
from bankwidth.operators.formats import Imported, import_trace, recognised_format

from .kineto_writer import BF16, Writer

FOLDER = Path(__file__).parents[3] / "traces" / "kineto"
RECORDED = FOLDER / "llama-tiny-cpu.pt.trace.json.gz"
Change = Callable[[dict[str, Any]], None]


class Recorded:
    """The model of record.py."""

    name = "llama-tiny"
    config = {  # noqa: RUF012 - not changed
        "model_type": "llama",
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "tie_word_embeddings": False,
    }


def shapes(trace: Trace) -> list[Operator]:
    """The operators in order, without names and places."""
    return [replace(op, name="?", layer=OUTSIDE, deps=()) for op in trace.operators()]


def made(phase: str) -> Trace:
    runs = {"prefill": {"prompt": 24}, "decode": {"context": 25}}
    both = {"prompt": 24, "output": 1}
    options: dict[str, Any] = {"batch": 2, "phase": phase, **runs.get(phase, both)}
    return make_trace(Recorded(), **options)


def imported(phase: str, **options: Any) -> Imported:
    annotation = None if phase == "generate" else phase
    return import_trace(RECORDED, annotation=annotation, **options)


@pytest.mark.parametrize("phase", ["prefill", "decode", "generate"])
def test_the_recorded_model_has_exactly_the_operators_of_its_configuration(phase: str) -> None:
    ours, real = made(phase), imported(phase).trace
    assert shapes(real) == shapes(ours)
    assert real.flops == ours.flops
    assert real.weight_bytes == ours.weight_bytes
    assert real.kv_bytes == ours.kv_bytes
    assert (real.phase, real.batch, real.dtypes) == (ours.phase, ours.batch, ours.dtypes)
    assert [b.repeat for b in real.blocks] == [b.repeat for b in ours.blocks]
    assert max(block.repeat for block in real.blocks) == 3
    assert "partial" not in real.meta


def test_products_are_those_of_the_model() -> None:
    products = [op for op in imported("prefill").trace.operators() if isinstance(op, Matmul)]
    layer = [(48, 192, 128), (48, 128, 128), (48, 704, 128), (48, 128, 352)]
    assert [(op.m, op.n, op.k) for op in products] == [*layer * 3, (2, 512, 128)]


def test_layers_count_up_and_operators_follow_one_another() -> None:
    trace = imported("decode").trace
    layers = [op.layer for op in trace.operators()]
    assert layers == [OUTSIDE, *[0] * 12, *[1] * 12, *[2] * 12, OUTSIDE, OUTSIDE]
    waits = [step.deps for step in trace.expand()]
    assert waits == [(), *((step,) for step in range(len(waits) - 1))]


def test_an_operator_took_as_long_as_its_calls() -> None:
    events = json.loads(gzip.decompress(RECORDED.read_bytes()))["traceEvents"]
    calls = [e for e in events if e.get("cat") == "cpu_op"]
    decode = [e for e in events if e["name"] == "decode"][-1]
    inside = [e for e in calls if decode["ts"] <= e["ts"] < decode["ts"] + decode["dur"]]
    result = imported("decode")
    for aten, ours in (("aten::embedding", "embedding"), ("aten::scaled_dot_product_attention",
                       "attention"), ("aten::linear", "matmul")):  # fmt: skip
        recorded_ns = [round(e["dur"] * 1000) for e in inside if e["name"] == aten]
        times = [
            m.measured_ns for m in result.measured if re.search(rf"\.{ours}(\.\d)?$", m.operator)
        ]
        assert times == recorded_ns
    assert len(result.measured) == result.trace.num_steps
    assert all(m.kernels == () for m in result.measured)


def test_steps_and_annotations_are_chosen() -> None:
    last, first = imported("decode"), imported("decode", step=2)
    assert (last.trace.meta["step"], first.trace.meta["step"]) == (3, 2)
    assert shapes(last.trace) == shapes(first.trace)
    assert last.measured != first.measured
    assert "step 3 was taken, not 2" in last.lost
    with pytest.raises(TraceError, match=r"no ProfilerStep#7 in the file \(steps there: 2, 3\)"):
        import_trace(RECORDED, step=7)
    with pytest.raises(TraceError, match=r"no annotation 'prefil'.*, did you mean 'prefill'\?"):
        import_trace(RECORDED, annotation="prefil")


def test_of_ranges_of_one_name_the_last_is_taken(tmp_path: Path) -> None:
    made = Writer()
    with made.range("ProfilerStep#1"):
        for rows in (4, 5):
            with made.range("decode"):
                made.op("aten::linear", [[rows, 8], [16, 8], []])
    result = import_trace(made.save(tmp_path / "t.json"), annotation="decode")
    (product,) = result.trace.operators()
    assert isinstance(product, Matmul)
    assert product.m == 5
    assert "2 ranges are called 'decode': the last one was taken" in result.lost


def test_a_pass_has_the_weights_of_all_its_tables(tmp_path: Path) -> None:
    made = Writer()
    for _ in range(2):
        for rows in (50, 20):
            made.op("aten::embedding", [[rows, 8], [4], []], [BF16, "long int", "Scalar"])
        made.op("aten::scaled_dot_product_attention", [[1, 2, 4, 4]] * 3)
    trace = import_trace(made.save(tmp_path / "t.json")).trace
    assert trace.weight_bytes == (50 + 20) * 8 * 2
    assert trace.kv_bytes == 4 * 2 * 4 * 2 * 2


def test_without_sequences_taken_together_calls_are_left_as_they_are() -> None:
    whole = import_trace(RECORDED, fuse_sequences=False, partial=True).trace
    assert whole.meta["partial"] is True
    assert "aten::mean" in str(whole.meta["left_out"])
    assert not any(op.kind in ("rope", "kv_append", "norm") for op in whole.operators())


def test_the_recorded_file_is_the_one_that_its_readme_describes() -> None:
    data = RECORDED.read_bytes()
    assert len(data) < 300_000
    readme = (FOLDER / "README.md").read_text()
    assert hashlib.sha256(data).hexdigest() in readme


def test_an_imported_trace_is_written_and_read_back(tmp_path: Path) -> None:
    trace = imported("generate").trace
    write_trace(trace, tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == trace


def test_the_format_is_told_by_the_content(tmp_path: Path) -> None:
    plain = tmp_path / "renamed.txt"
    plain.write_bytes(gzip.decompress(RECORDED.read_bytes()))
    assert recognised_format(plain).name == "kineto"
    assert import_trace(plain).trace.blocks == import_trace(RECORDED).trace.blocks


def test_options_that_the_format_does_not_have_are_refused() -> None:
    with pytest.raises(TraceError, match=r"no option 'steps', did you mean 'step'\?"):
        import_trace(RECORDED, steps=3)


def simple(
    tmp_path: Path, change: Change | None = None, name: str = "t.json", **after: Any
) -> Path:
    """One linear of a CPU in one step."""
    made = Writer()
    with made.range("ProfilerStep#5"):
        made.op("aten::linear", [[4, 8], [16, 8], []])
    for event in made.events:
        if change is not None:
            change(event)
    return made.save(tmp_path / name, **after)


def test_one_product(tmp_path: Path) -> None:
    result = import_trace(simple(tmp_path))
    (block,) = result.trace.blocks
    expected = Matmul(
        name="matmul", deps=("@prev",), m=4, n=16, k=8, dtype="bf16", weight_dtype="bf16"
    )
    assert block.operators == (expected,)
    assert result.trace.weight_bytes == 16 * 8 * 2
    assert [m.measured_ns for m in result.measured] == [2000]


def test_shapes_that_were_not_recorded_are_asked_for(tmp_path: Path) -> None:
    def without_shapes(event: dict[str, Any]) -> None:
        event["args"].pop("Input Dims", None)

    path = simple(tmp_path, without_shapes)
    line = next(
        number
        for number, text in enumerate(path.read_text().splitlines(), start=1)
        if '"Ev Idx"' in text
    )
    with pytest.raises(TraceError, match="record_shapes=True") as error:
        import_trace(path)
    assert abs(int(str(error.value).split(":")[1]) - line) <= 2


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused_wherever_it_is_cut(keep: float, tmp_path: Path) -> None:
    plain = gzip.decompress(RECORDED.read_bytes())
    path = tmp_path / "t.json"
    path.write_bytes(plain[: int(len(plain) * keep)])
    with pytest.raises(TraceError, match=rf"^{re.escape(str(path))}:\d+:\d+: .*\(byte \d+\)"):
        import_trace(path)
    packed = tmp_path / "t.json.gz"
    packed.write_bytes(RECORDED.read_bytes()[: int(len(RECORDED.read_bytes()) * keep)])
    with pytest.raises(TraceError, match=r":\d+:\d+: truncated gzip file: it ends here"):
        import_trace(packed)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"deviceProperties": [], "other": 3}', "no key 'traceEvents' at the top level"),
        ('{"traceEvents": 3}', "traceEvents must be a list"),
        ('{"traceEvents": [3]}', "an event must be an object"),
        ('{"traceEvents": []}', "no operators of a model: was anything recorded?"),
        ('[{"ph": "X", "cat": "cpu_op", "name": "aten::mm"}]', "expected a JSON object"),
        ("not json {", "expected a JSON object, found 'not json {'"),
    ],
)
def test_other_files_are_refused_with_their_place(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(TraceError, match=rf"^{re.escape(str(path))}:1:") as error:
        import_trace(path, format="kineto")
    assert what in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [("ts", "soon", "is not of a Kineto trace"), ("dur", None, "is not of a Kineto trace")],
)
def test_events_with_wrong_times_are_refused(
    key: str, value: object, what: str, tmp_path: Path
) -> None:
    path = simple(tmp_path, lambda event: event.update({key: value}))
    with pytest.raises(TraceError, match=rf":\d+: the cpu_op event .* {what}"):
        import_trace(path)
    path = simple(tmp_path, lambda event: event.pop("ts"))
    with pytest.raises(TraceError, match="is not of a Kineto trace: no 'ts'"):
        import_trace(path)


def test_numbers_beyond_64_bits_and_bad_bytes_do_no_harm(tmp_path: Path) -> None:
    def odd(event: dict[str, Any]) -> None:
        event["args"]["Python id"] = 2**70
        event["args"]["note"] = "XYZ"

    path = simple(tmp_path, odd)
    path.write_bytes(path.read_bytes().replace(b"XYZ", b"\xff\xfeZ"))
    result = import_trace(path)
    assert result.trace.num_steps == 1
    assert any("bytes are not UTF-8, the first at byte" in sentence for sentence in result.lost)
    assert result.lost[0].startswith("4 bytes")  # two in the operator, two in the range


def test_an_operator_that_is_not_understood_is_named_with_line_and_shapes(tmp_path: Path) -> None:
    made = Writer()
    made.op("aten::linear", [[4, 8], [16, 8], []])
    made.op("mylib::secret", [[4, 16], []])
    made.op("mylib::secret", [[4, 16], []])
    path = made.save(tmp_path / "t.json")
    with pytest.raises(TraceError, match=r"mylib::secret x2 \(line \d+, inputs \(4,16\)\)"):
        import_trace(path)
    trace = import_trace(path, partial=True).trace
    assert trace.meta["partial"] is True
    assert "mylib::secret x2" in str(trace.meta["left_out"])
    assert trace.num_steps == 1


def test_views_and_python_functions_are_no_operators(tmp_path: Path) -> None:
    made = Writer()
    made.add("python_function", "nn.Module: Llama_0", 0.0, 9000.0, **{"Python id": 1})
    made.op("aten::view", [[4, 8], []])
    made.op("aten::linear", [[4, 8], [16, 8], []])
    made.op("aten::arange", [[], []])
    made.op("aten::add", [[4], []], ["long int", "Scalar"])
    result = import_trace(made.save(tmp_path / "t.json"))
    assert result.trace.num_steps == 1
    assert any("aten::add x1, aten::arange x1" in sentence for sentence in result.lost)


def test_members_behind_the_events_are_read(tmp_path: Path) -> None:
    path = simple(tmp_path, distributedInfo={"rank": 3})
    assert import_trace(path, rank=3).trace.num_steps == 1
    with pytest.raises(TraceError, match="the file is of rank 3, not of rank 0"):
        import_trace(path, rank=0)
    with pytest.raises(TraceError, match="the file says of no rank, not of rank 0"):
        import_trace(simple(tmp_path), rank=0)


def test_a_step_cut_off_by_the_end_of_the_recording_is_not_taken(tmp_path: Path) -> None:
    made = Writer()
    for rows in (4, 5):
        with made.range(f"ProfilerStep#{rows}"):
            made.op("aten::linear", [[rows, 8], [16, 8], []])
    made.add("user_annotation", "ProfilerStep#6", made.now, made.now + 9)  # nothing in it
    assert import_trace(made.save(tmp_path / "t.json")).trace.meta["step"] == 5
    made.events.append({"ph": "i", "name": "Record Window End", "ts": made.now - 1})
    assert import_trace(made.save(tmp_path / "t.json")).trace.meta["step"] == 4
    made.events[-1]["ts"] = 1.0
    with pytest.raises(TraceError, match="none of the 3 profiler steps in the file is complete"):
        import_trace(made.save(tmp_path / "t.json"))


def test_the_outermost_operator_stands_for_those_within_it(tmp_path: Path) -> None:
    made = Writer()
    with (
        made.within("aten::linear", [[4, 8], [16, 8], []], [BF16, BF16, ""]),
        made.within("aten::matmul", [[4, 8], [8, 16]], [BF16, BF16]),
    ):
        made.op("aten::mm", [[4, 8], [8, 16]])
    with made.within("aten::matmul", [[8], [8, 16]], [BF16, BF16]):  # a vector: not by itself
        made.op("aten::mm", [[1, 8], [8, 16]])
    with made.within("MyBlock", None, None):
        made.op("aten::bmm", [[3, 4, 8], [3, 8, 2]])
    trace = import_trace(made.save(tmp_path / "t.json")).trace
    products = [op for op in trace.operators() if isinstance(op, Matmul)]
    sizes = [(op.batch, op.m, op.n, op.k, op.has_weight) for op in products]
    assert sizes == [(1, 4, 16, 8, True), (1, 1, 16, 8, True), (3, 4, 2, 8, False)]


def test_a_folder_with_a_file_for_each_rank(tmp_path: Path) -> None:
    for rank in range(3):
        made = Writer()
        made.header["distributedInfo"] = {"backend": "nccl", "rank": rank, "world_size": 3}
        made.op("aten::linear", [[4 + rank, 8], [16, 8], []])
        made.save(tmp_path / f"worker{rank}.pt.trace.json.gz")
    (product,) = import_trace(tmp_path, rank=2).trace.operators()
    assert isinstance(product, Matmul)
    assert product.m == 6
    with pytest.raises(TraceError, match=r"3 traces, none of rank 3 \(ranks there: 0, 1, 2\)"):
        import_trace(tmp_path, rank=3)
    with pytest.raises(TraceError, match=r"3 traces, choose one by rank"):
        import_trace(tmp_path)


def test_functions_without_a_name_here_keep_their_own(tmp_path: Path) -> None:
    made = Writer()
    made.op("aten::linear", [[4, 8], [16, 8], []])
    made.op("aten::neg", [[4, 16]])
    made.op("aten::clone", [[4, 16], []])
    made.op("aten::sub", [[4, 16], [4, 16], []])
    result = import_trace(made.save(tmp_path / "t.json"))
    (block,) = result.trace.blocks
    assert [op.name for op in block.operators] == ["matmul", "neg", "clone", "sub"]
    traffic = [(op.read_bytes, op.write_bytes) for op in block.operators[1:]]
    assert traffic == [(128, 128), (128, 128), (256, 128)]
    functions = [op.function for op in block.operators if isinstance(op, Elementwise)]
    assert functions == ["unary", "copy", "binary"]
