"""Tables are read as bankwidth reads them, and wrong ones refused with the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bankwidth.operators import operator_from_row, read_table
from bankwidth.operators.table import OPERATOR_NAMES as BANKWIDTH_NAMES
from gpucap.operator_table import OPERATOR_NAMES, Wanted, read_operator_table
from gpucap.problems import CaptureError
from gpucap.shapes import SHAPE_COLUMNS, Attention, Elementwise, Gemm, Moe, RowWise, Shape

EXAMPLES = {
    "gemm": "m=3,n=64,k=128",
    "matmul": "M=3,N=64,K=128,batch=2",
    "linear": "m=3,n=64,k=128",
    "attn_pre_proj": "m=3,n=64,k=128,tp=2",
    "attention_decode": "batch=2,q_len=1,kv_len=33,n_heads=8,n_kv_heads=2,head_dim=64",
    "attention_prefill": "batch=1,q_len=16,kv_cache_len=0,n_heads_total=8,n_kv_heads_total=2,"
    "tp=2,head_dim=64",
    "softmax": "M=3,N=64",
    "layernorm": "rows=3,width=64",
    "rmsnorm": "tokens=3,width=64",
    "gelu": "M=1000",
    "add": "tokens=3,width=64",
    "silu_mul": "elements=1000",
    "rope": "tokens=3,n_head=8,n_kv_head=2,tp=2,head_dim=64",
    "embedding": "tokens=3,width=64,vocab=100",
    "input_layernorm": "model=Llama-2-7b-hf,tokens=3,width=64",
    "post_attention_layernorm": "model=phi-2,tokens=3,width=64",
    "mlp_act": "model=Llama-2-7b-hf,tokens=3,width=64",
    "attn_rope": "tokens=3,n_head=8,n_kv_head=8,head_dim=64",
    "emb": "tokens=3,width=64",
}


def row_of(operator: str, dtype: str = "bfloat16") -> dict[str, str]:
    cells = dict(part.split("=") for part in EXAMPLES[operator].split(","))
    return {"operator": operator, **cells, "dtype": dtype}


def written(folder: Path, text: str) -> Path:
    path = folder / "ops.csv"
    path.write_text(text)
    return path


def read_one(folder: Path, row: dict[str, str]) -> Wanted:
    text = f"{','.join(row)}\n{','.join(row.values())}\n"
    [wanted] = read_operator_table(written(folder, text))
    return wanted


def moved_bytes(shape: Shape) -> int:
    return shape.cold_bytes + shape.warm_bytes + shape.out_bytes


@pytest.mark.parametrize("operator", EXAMPLES)
def test_bytes_and_flops_are_those_of_bankwidth(operator: str, tmp_path: Path) -> None:
    shape = read_one(tmp_path, row_of(operator)).shape
    ours = operator_from_row(row_of(operator), "here")
    token_numbers = 8 * 3 if shape.operator == "embedding" else 0
    assert moved_bytes(shape) - token_numbers == ours.read_bytes + ours.write_bytes
    if isinstance(shape, Gemm | Attention):
        assert shape.flops == ours.flops


# Functions that no capture has timed yet: bankwidth takes each for the one most like it.
NOT_CAPTURED = {
    "binary", "copy", "gelu_mul", "merge", "relu2", "relu2_mul", "sigmoid", "sigmoid_mul",
    "softplus", "tanh", "unary",
}  # fmt: skip


def test_every_operator_that_bankwidth_reads_is_known() -> None:
    assert set(BANKWIDTH_NAMES) - set(OPERATOR_NAMES) == NOT_CAPTURED


@pytest.mark.parametrize("operator", EXAMPLES)
def test_columns_of_a_shape_are_read_back_alike(operator: str, tmp_path: Path) -> None:
    shape = read_one(tmp_path, row_of(operator)).shape
    cells = {name: str(value) for name, value in shape.columns().items()}
    assert cells.keys() <= set(SHAPE_COLUMNS)
    assert read_one(tmp_path, cells).shape == shape


def test_gzip_and_other_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ops.csv.gz"
    path.write_bytes(gzip.compress(b"device,operator,m,n,k,dtype\nH200,gemm,1,2,3,fp16\n"))
    [wanted] = read_operator_table(path)
    assert (wanted.line, wanted.name) == (2, "gemm")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("m,n\n1,2\n", ["ops.csv:1", "no column 'operator'"]),
        ("operatr,m\ngemm,2\n", ["did you mean 'operatr'"]),
        ("operator,m,n,k,dtype\ngemm,1,2,3,bf16\ngem,1,2,3,bf16\n", ["ops.csv:3", "'gem'", "gemm"]),
        ("operator,m,n,k,dtype\ngemm,1,2,3,bf15\n", ["ops.csv:2", "'bf15'", "bf16", "known: fp64"]),
        ("operator,m,n,k,dtype\ngemm,4 KiB,2,3,bf16\n", ["ops.csv:2", "without a unit", "4 KiB"]),
        ("operator,m,n,k,dtype\ngemm,0,2,3,bf16\n", ["ops.csv:2", "at least 1, got 0"]),
        ("operator,m,n,k,dtype\ngemm,1.5,2,3,bf16\n", ["ops.csv:2", "whole number"]),
        ("operator,m,n,k,dtype\ngemm,nan,2,3,bf16\n", ["ops.csv:2", "finite"]),
        ("operator,m,n,k,dtype\ngemm,1,2,3\n", ["ops.csv:2", "4 cells", "5 columns"]),
        ("operator,m,n,dtype\ngemm,1,2,bf16\n", ["ops.csv:2", "column k (or K) missing"]),
        ("operator,m,m,k,dtype\ngemm,1,2,3,bf16\n", ["ops.csv:1", "m given twice"]),
        ("operator,m,n,k,dtype\n", ["no rows"]),
        ('operator,m\ngemm,"1\n', ["ops.csv:2", "not CSV"]),
        (
            "operator,m,n,k,dtype,latency_s,latency_us\ngemm,1,2,3,bf16,1,1\n",
            ["ops.csv:1", "mixed units", "latency_s, latency_us"],
        ),
        ("operator,m,n,k,dtype,latency\ngemm,1,2,3,bf16,1\n", ["ops.csv:1", "has no unit"]),
        ("operator,m,n,k,dtype,latency_s\ngemm,1,2,3,bf16,0\n", ["ops.csv:2", "above 0, got 0"]),
        ("operator,m,n,k,dtype,time_us\ngemm,1,2,3,bf16,-1\n", ["ops.csv:2", "above 0"]),
        (
            "operator,batch,q_len,kv_len,n_heads,n_kv_heads,head_dim,dtype\n"
            "attention_decode,1,1,9,8,3,64,bf16\n",
            ["ops.csv:2", "multiple of n_kv_heads 3"],
        ),
        (
            "operator,batch,q_len,kv_len,n_heads,n_kv_heads,head_dim,dtype\n"
            "attention_prefill,1,10,9,8,2,64,bf16\n",
            ["ops.csv:2", "q_len 10 exceeds kv_len 9"],
        ),
        (
            "operator,num_tokens,hidden_size,inter_size,topk,num_experts,distribution,dtype\n"
            "moe,4,8,8,2,4,power_law_1,bf16\n",
            ["ops.csv:2", "power_law_1.2, say"],
        ),
    ],
)
def test_wrong_tables_are_refused_with_their_line(
    text: str, parts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(CaptureError) as error:
        read_operator_table(written(tmp_path, text))
    for part in parts:
        assert part in str(error.value)


def test_all_wrong_rows_are_named_at_once(tmp_path: Path) -> None:
    text = "operator,elements,dtype\n" + "gelu,0,bf16\n" * 25
    with pytest.raises(CaptureError) as error:
        read_operator_table(written(tmp_path, text))
    assert "ops.csv:21:" in str(error.value)
    assert "and 5 more rows" in str(error.value)


@pytest.mark.parametrize(
    ("data", "part"),
    [(b"\xff\xfe", "not text"), (b"\x1f\x8bxx", "damaged or truncated gzip")],
)
def test_files_that_are_no_text_are_refused(data: bytes, part: str, tmp_path: Path) -> None:
    path = tmp_path / "ops.csv"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=part):
        read_operator_table(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be read: No such file"):
        read_operator_table(tmp_path / "none.csv")


def test_shapes_by_hand() -> None:
    # 2 x 3 results of k = 4 in bf16: W 24, x 16, y 12 bytes, and a bias of 6; 2 x 2 x 3 x 4 flops
    gemm = Gemm(operator="gemm", m=2, n=3, k=4, bias=True, dtype="bf16", weight_dtype="bf16")
    assert (gemm.cold_bytes, gemm.warm_bytes, gemm.out_bytes, gemm.flops) == (30, 16, 12, 48)
    # int8 gives int32
    eight = Gemm(operator="gemm", m=2, n=3, k=4, dtype="int8", weight_dtype="int8")
    assert (eight.cold_bytes, eight.warm_bytes, eight.out_bytes) == (12, 8, 24)
    norm = RowWise(operator="layernorm", rows=2, width=8, dtype="fp32")
    assert (norm.warm_bytes, norm.out_bytes) == (64 + 64, 64)
    assert Elementwise(operator="add", elements=8, dtype="bf16").warm_bytes == 32
    moe = Moe(
        operator="moe", num_tokens=3, hidden_size=8, inter_size=4, topk=2, num_experts=8,
        dtype="bf16",
    )  # fmt: skip
    # three tokens of two experts wake six of eight; each has 3 x 8 x 4 weights
    assert (moe.cold_bytes, moe.weight_bytes) == (6 * 96 * 2, 8 * 96 * 2)


def test_a_measured_table_of_ours_is_an_operator_table(tmp_path: Path) -> None:
    """`bankwidth compare` takes the columns that a capture writes."""
    from gpucap.results import COLUMNS

    shape = read_one(tmp_path, row_of("gemm")).shape
    cells = {**dict.fromkeys(COLUMNS, ""), **shape.columns(), "latency_s": "1e-05"}
    text = f"{','.join(cells)}\n{','.join(map(str, cells.values()))}\n"
    [row] = read_table(written(tmp_path, text))
    assert row.latency_s == 1e-5
