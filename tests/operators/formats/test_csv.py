from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from bankwidth.errors import TraceError
from bankwidth.operators import (
    Attention,
    Block,
    Elementwise,
    Matmul,
    Operator,
    Trace,
    Workload,
    make_trace,
    read_table,
)
from bankwidth.operators.formats import export_trace, import_trace, recognised_format
from bankwidth.operators.formats.csv_ops import table_text

from .random_traces import TRACES


def shapes(trace: Trace) -> Counter[Operator]:
    """Executions of each operator, whatever its name and place."""
    counts: Counter[Operator] = Counter()
    for block in trace.blocks:
        for operator in block.operators:
            counts[replace(operator, name="", layer=-1, deps=())] += block.repeat
    return counts


def refused(path: Path, *parts: str, partial: bool = False) -> None:
    with pytest.raises(TraceError) as error:
        import_trace(path, format="csv", partial=partial)
    for part in parts:
        assert part in str(error.value)


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ops.csv"
    path.write_text(text)
    return path


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=150,
)
@given(trace=TRACES)
def test_every_execution_comes_back(trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    export_trace(trace, path, force=True)
    assert recognised_format(path).name == "csv"
    imported = import_trace(path)
    assert shapes(imported.trace) == shapes(trace)
    assert imported.trace.num_steps == trace.num_steps
    assert imported.trace.flops == trace.flops
    assert imported.lost


def test_a_models_table_is_what_ops_reads(tiny_llama: Workload, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama, context=8)
    path = tmp_path / "t.csv"
    lost = export_trace(trace, path)
    assert "dependencies" in lost[0]
    rows = read_table(path)
    counts = [int(row.row["count"]) for row in rows]
    assert sum(counts) == trace.num_steps
    assert sum(n * row.operator.flops for n, row in zip(counts, rows, strict=True)) == trace.flops
    read = sum(n * row.operator.read_bytes for n, row in zip(counts, rows, strict=True))
    assert read == trace.read_bytes
    assert len({row.row["operator"] for row in rows}) == len(rows) - 4  # five sizes of matmul


def test_rows_of_one_count_are_a_block_and_wait_for_each_other(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "operator,count,m,n,k,dtype,rows,width,name\n"
        "gemm,,2,3,4,bf16,,,\n"
        "rmsnorm,3,,,,bf16,2,8,norm\n"
        "gemm,3,2,3,4,bf16,,,norm\n"
        "softmax,1,,,,bf16,2,8,soft\n",
    )
    trace = import_trace(path).trace
    assert [(block.repeat, len(block.operators)) for block in trace.blocks] == [
        (1, 1), (3, 2), (1, 1),
    ]  # fmt: skip
    norm, gemm = trace.blocks[1].operators
    assert (norm.name, norm.deps) == ("norm", ("@prev",))
    assert (gemm.name, gemm.deps) == ("norm.1", ("norm",))
    assert isinstance(gemm, Matmul)
    assert gemm.has_weight
    # a product and three: 3 x 4 weights of 2 bytes each; three norms of 8
    assert trace.weight_bytes == 4 * 24 + 3 * 16


def test_weights_are_counted_as_they_are_stored(tmp_path: Path) -> None:
    """A whole table and all experts, of which a step reads but some."""
    path = table(
        tmp_path,
        "operator,dtype,count,tokens,width,vocab,hidden,inter,topk,experts,gated\n"
        "embedding,bf16,1,1,8,100,,,,,\n"
        "moe,bf16,2,1,,,4,6,1,16,\n"
        "moe,bf16,1,1,,,4,6,1,16,false\n",
    )
    trace = import_trace(path).trace
    assert trace.weight_bytes == 2 * (8 * 100 + 2 * 16 * 3 * 4 * 6 + 16 * 2 * 4 * 6)


def test_fields_that_only_our_tables_have(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "operator,dtype,m,n,k,batch,bias,out_dtype,elements,num_inputs,q_len,kv_len,n_heads,"
        "n_kv_heads,head_dim,causal,phase,kv_dtype,window\n"
        "matmul,fp8,2,3,4,1,true,fp32,,,,,,,,,,,\n"
        "matmul,fp8,2,3,4,1,,none,,,,,,,,,,,\n"
        "add,bf16,,,,,,,12,3,,,,,,,,,\n"
        "attention_prefill,bf16,,,,1,,,,,8,4,2,1,16,false,prefill,bf16,\n"
        "attention_decode,float16,,,,1,,,,,1,40,2,1,16,,,,7\n",
    )
    product, plain, add, cross, window = import_trace(path).trace.blocks[0].operators
    assert isinstance(product, Matmul)
    assert (product.bias, product.out_dtype) == (True, "fp32")
    assert isinstance(plain, Matmul)
    assert plain.out_dtype is None
    assert isinstance(add, Elementwise)
    assert add.num_inputs == 3
    assert isinstance(cross, Attention)
    assert (cross.causal, cross.q_len, cross.kv_len) == (False, 8, 4)
    assert isinstance(window, Attention)
    assert (window.window, window.dtype, window.phase) == (7, "fp16", "decode")


def test_distinct_operators_have_one_row_whatever_their_names(tiny_llama: Workload) -> None:
    trace = make_trace(tiny_llama, context=8)
    twice = replace(trace, blocks=(*trace.blocks, *trace.blocks))
    single, double = (list(csv.DictReader(io.StringIO(table_text(t)))) for t in (trace, twice))
    assert [row["operator"] for row in double] == [row["operator"] for row in single]
    assert [int(row["count"]) for row in double] == [2 * int(row["count"]) for row in single]
    names = [row["name"] for row in single]
    assert len(set(names)) == len(names)


def test_gzip(tiny_llama: Workload, tmp_path: Path) -> None:
    trace = make_trace(tiny_llama, context=8)
    export_trace(trace, tmp_path / "t.csv.gz")
    assert gzip.decompress((tmp_path / "t.csv.gz").read_bytes()).decode() == table_text(trace)
    assert shapes(import_trace(tmp_path / "t.csv.gz").trace) == shapes(trace)


HEAD = "operator,m,n,k,dtype,count,bias\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (HEAD + "gem,1,2,3,bf16,1,\n", ("'gem', did you mean 'gemm'? (line 2",)),
        (HEAD + "gem,1,2,3,bf16,1,\ngemm,1,2,3,bf16,1,\n", ("'gem', did you mean", "--partial")),
        (HEAD + "gemm,1,2,x,bf16,1,\n", ("ops.csv:2: k must be a number, got 'x'",)),
        (HEAD + "gemm,1,2,3,bf16,0,\n", ("ops.csv:2: count must be a whole number",)),
        (HEAD + "gemm,1,2,3,bf16,1,maybe\n", ("ops.csv:2: bias must be true or false",)),
        (HEAD + "gemm,1,2,3,bf17,1,\n", ("ops.csv:2: unknown dtype 'bf17'",)),
        (HEAD + "gemm,1,2,3\n", ("ops.csv:2: 4 cells, but the header has 7 columns",)),
        (HEAD + ",1,2,3,bf16,1,\n", ("ops.csv:2: column operator missing or empty",)),
        (HEAD + "scan,1,2,3,bf16,1,\n", ("ops.csv:2: scan: ", "missing")),
        (HEAD + '"gemm,1,2,3,bf16,1,\n', ("ops.csv:2: not CSV",)),
        (HEAD, ("no row of a known operator",)),
        ("m,n\n1,2\n", ("ops.csv:1: no column 'operator'",)),
        ("operator,operator\n", ("ops.csv:1: column operator given twice",)),
        ("", ("ops.csv:1: empty file",)),
    ],
)
def test_bad_tables_say_where(text: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    refused(table(tmp_path, text), *parts)


def test_every_wrong_row_is_named(tmp_path: Path) -> None:
    rows = "".join(f"gemm,1,2,{'x' if i % 2 else 3},bf16,1,\n" for i in range(60))
    with pytest.raises(TraceError) as error:
        import_trace(table(tmp_path, HEAD + rows))
    lines = str(error.value).split("\n")
    assert len(lines) == 21
    assert "ops.csv:3:" in lines[0]
    assert lines[-1] == "and 10 more rows"


def test_a_part_is_marked(tmp_path: Path) -> None:
    path = table(tmp_path, HEAD + "gem,1,2,3,bf16,1,\ngemm,1,2,3,bf16,1,\ngem,1,2,3,bf16,1,\n")
    trace = import_trace(path, partial=True).trace
    assert trace.meta["partial"] is True
    assert "(line 2, 2 rows)" in str(trace.meta["left_out"])
    assert trace.num_steps == 1


def test_a_block_of_many_repeats_stays_one(tmp_path: Path) -> None:
    path = table(tmp_path, HEAD + "gemm,1,2,3,bf16,1000000,\n")
    blocks = import_trace(path).trace.blocks
    assert [(type(block), block.repeat) for block in blocks] == [(Block, 1_000_000)]
