from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
    operator_from_row,
    read_table,
)

from .conftest import ROOT

MEASURED = ROOT.parent / "shared" / "measured"
GPU_TABLES = [
    *sorted(MEASURED.glob("aiconfigurator/gemm_*.csv.gz")),
    *sorted(MEASURED.glob("aiconfigurator/attention_*.csv.gz")),
]
OTHER_TABLES = [
    "llmcompass_ops_A100_MI210.csv",
    "llmcompass_allreduce_4xA100.csv",
    "aiconfigurator/comm_h200_h100_a100.csv.gz",
    "vidur/attention_a100_tp2_64h8kv.csv.gz",
    "vidur/comm.csv.gz",
    "vidur/elementwise_norm_a100_a40_h100.csv.gz",
    "vidur/gemm_a100_a40_h100.csv.gz",
]


def operator(**row: str) -> Operator:
    return operator_from_row(row, "t.csv:2")


def problem(**row: str) -> str:
    with pytest.raises(TraceError) as error:
        operator_from_row(row, "t.csv:2")
    message = str(error.value)
    assert message.startswith("t.csv:2: ")
    return message.removeprefix("t.csv:2: ")


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ops.csv"
    path.write_text(text)
    return path


def test_a_gemm_row_is_a_matmul_with_a_weight() -> None:
    found = operator(operator="gemm", m="96", n="512", k="4096", dtype="bfloat16")
    assert found == Matmul(
        name="gemm", m=96, n=512, k=4096, dtype="bf16", weight_dtype="bf16", has_weight=True
    )


def test_a_kv_append_row_fills_a_cache_of_its_own_dtype() -> None:
    cells = {"operator": "kv_append", "tokens": "64", "kv_heads": "8", "head_dim": "128"}
    found = operator(**cells, dtype="bf16", kv_dtype="fp8")
    assert isinstance(found, KvAppend)
    assert (found.read_bytes, found.write_bytes) == (2 * 64 * 8 * 128 * 2, 2 * 64 * 8 * 128)
    assert operator(**cells, dtype="bf16").write_bytes == 2 * found.write_bytes


def test_tf32_is_stored_in_32_bits() -> None:
    assert operator(operator="gemm", m="2", n="3", k="4", dtype="tf32").write_bytes == 4 * 6


def test_an_fp8_product_leaves_as_bf16() -> None:
    found = operator(operator="gemm", m="2", n="3", k="4", dtype="fp8")
    assert found.read_bytes == 8 + 12
    assert found.write_bytes == 2 * 6


def test_a_matmul_row_may_be_batched_and_in_capitals() -> None:
    found = operator(operator="matmul", batch="4", M="2", N="3", K="5", dtype="fp16")
    assert isinstance(found, Matmul)
    assert (found.batch, found.m, found.n, found.k, found.has_weight) == (4, 2, 3, 5, False)


def test_attention_rows_become_the_two_phases() -> None:
    shape = {"batch": "2", "n_heads": "8", "n_kv_heads": "2", "head_dim": "64", "dtype": "bf16"}
    decode = operator(operator="attention_decode", q_len="1", kv_len="100", **shape)
    prefill = operator(operator="attention_prefill", q_len="100", kv_len="100", **shape)
    assert isinstance(decode, Attention)
    assert isinstance(prefill, Attention)
    assert (decode.phase, decode.pairs) == ("decode", 100)
    assert (prefill.phase, prefill.pairs) == ("prefill", 100 * 101 // 2)


def test_vidur_gives_the_cache_before_the_new_tokens_and_heads_of_all_gpus() -> None:
    found = operator(
        operator="attention_prefill", tp="2", batch="1", q_len="64", kv_cache_len="32",
        n_heads_total="64", n_kv_heads_total="8", head_dim="128", dtype="fp16",
    )  # fmt: skip
    assert isinstance(found, Attention)
    assert (found.kv_len, found.n_heads, found.n_kv_heads) == (96, 32, 4)


def test_norm_and_softmax_rows() -> None:
    size = {"batch": "1", "M": "4096", "N": "32", "K": "", "dtype": "fp16"}
    assert operator(operator="layernorm", **size) == Norm(
        name="layernorm", rows=4096, width=32, style="layer", dtype="fp16"
    )
    assert operator(operator="rmsnorm", rows="3", width="5", dtype="fp16") == Norm(
        name="rmsnorm", rows=3, width=5, style="rms", dtype="fp16"
    )
    assert operator(operator="softmax", **size) == Softmax(
        name="softmax", rows=4096, width=32, dtype="fp16"
    )


def test_a_model_decides_what_norm_and_function_vidur_means() -> None:
    row = {"tokens": "7", "width": "16", "dtype": "fp16"}
    llama = operator(operator="input_layernorm", model="Llama-2-7b-hf", **row)
    phi = operator(operator="input_layernorm", model="phi-2", **row)
    assert isinstance(llama, Norm)
    assert isinstance(phi, Norm)
    assert (llama.style, phi.style) == ("rms", "layer")
    gated = operator(operator="mlp_act", model="Llama-2-7b-hf", **row)
    assert isinstance(gated, Elementwise)
    assert (gated.function, gated.elements) == ("silu_mul", 112)


def test_elementwise_rows_take_elements_or_their_factors() -> None:
    for sizes in ({"elements": "1024"}, {"M": "1024"}, {"tokens": "32", "width": "32"}):
        found = operator(operator="gelu", dtype="fp16", **sizes)
        assert isinstance(found, Elementwise)
        assert (found.function, found.elements) == ("gelu", 1024)


def test_rows_of_elements_are_kept_where_the_table_has_them() -> None:
    sizes = {"elements": "1024"}, {"M": "1024"}, {"tokens": "64", "width": "16"}
    found = [operator(operator="silu_mul", dtype="fp16", **size) for size in sizes]
    assert [op.rows for op in found if isinstance(op, Elementwise)] == [None, None, 64]
    capital = operator(operator="gelu", M="8", N="4", dtype="fp16")
    assert isinstance(capital, Elementwise)
    assert (capital.rows, capital.elements) == (8, 32)


def test_a_model_with_parallel_halves_adds_both_to_the_residual() -> None:
    row = {"operator": "add", "tokens": "7", "width": "16", "dtype": "fp16"}
    llama, phi = (operator(model=model, **row) for model in ("Llama-2-7b-hf", "phi-2"))
    assert isinstance(llama, Elementwise)
    assert isinstance(phi, Elementwise)
    assert (llama.num_inputs, phi.num_inputs) == (2, 3)
    function = operator(**(row | {"operator": "mlp_act"}), model="phi-2")
    assert isinstance(function, Elementwise)
    assert (function.function, function.num_inputs) == ("gelu", 1)


def test_rope_and_embedding_rows() -> None:
    rope = operator(
        operator="attn_rope", tp="2", tokens="5", n_head="64", n_kv_head="8", head_dim="128",
        dtype="fp16",
    )  # fmt: skip
    assert isinstance(rope, Rope)
    assert rope.heads == 36
    embedding = operator(operator="emb", tokens="5", width="16", dtype="fp16")
    assert isinstance(embedding, Embedding)
    assert embedding.read_bytes == 160


def test_collective_rows_count_bytes_and_gpus() -> None:
    found = operator(operator="alltoall", n_gpu="4", bytes="512", dtype="half")
    assert found == Collective(
        name="alltoall", function="all_to_all", size_bytes=512, ways=4, dtype="fp16"
    )


def test_an_unknown_operator_gets_a_hint_and_the_known_names() -> None:
    message = problem(operator="gem", m="1", n="1", k="1", dtype="bf16")
    assert message.startswith("unknown operator 'gem', did you mean 'gemm'? (known: gemm, matmul")


def test_an_unknown_dtype_gets_a_hint() -> None:
    message = problem(operator="gemm", m="1", n="1", k="1", dtype="bf61")
    assert "unknown dtype 'bf61', did you mean" in message


def test_a_missing_or_empty_column_is_named() -> None:
    assert problem(operator="gemm", m="1", n="1", kk="1", dtype="bf16").startswith(
        "column k (or K) missing or empty"
    )
    assert "column k (or K) missing" in problem(operator="gemm", m="1", n="1", k="", dtype="bf16")


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "x", "inf", "nan"])
def test_a_size_must_be_a_positive_whole_number(value: str) -> None:
    assert problem(operator="gemm", m=value, n="1", k="1", dtype="bf16").startswith("m must be")


def test_a_shape_that_cannot_be_is_named_with_its_place() -> None:
    message = problem(
        operator="attention_decode", batch="1", q_len="1", kv_len="5", n_heads="4",
        n_kv_heads="3", head_dim="8", dtype="bf16",
    )  # fmt: skip
    assert "n_heads 4 must be a multiple of n_kv_heads 3" in message


def test_a_table_keeps_lines_rows_and_latencies(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype,latency_s,note\ngemm,1,2,3,bf16,1.5e-6,x\n\ngemm,1,2,3,bf16,,y\n"
    first, second = read_table(table(tmp_path, text))
    assert (first.line, first.latency_s, first.row["note"]) == (2, 1.5e-6, "x")
    assert (second.line, second.latency_s, second.row["note"]) == (4, None, "y")


def test_rows_of_equal_shape_share_an_operator(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype,latency_s\n" + "gemm,1,2,3,bf16,1e-6\ngemm,1,2,3,bf16,2e-6\n"
    first, second = read_table(table(tmp_path, text))
    assert first.operator is second.operator


def test_rows_that_differ_in_any_shape_column_do_not(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype\ngemm,1,2,3,bf16\ngemm,1,2,4,bf16\ngemm,1,2,3,fp16\n"
    assert len({row.operator for row in read_table(table(tmp_path, text))}) == 3


def test_all_wrong_rows_are_named_with_their_lines(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype\ngemm,0,2,3,bf16\ngemm,1,2,3,bf16\nconv,1,2,3,bf16\ngemm,1\n"
    path = table(tmp_path, text)
    with pytest.raises(TraceError) as error:
        read_table(path)
    lines = str(error.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:{n}" for n in (2, 4, 5)]
    assert lines[2].endswith("2 cells, but the header has 5 columns")


def test_only_the_first_wrong_rows_are_listed(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype\n" + "gemm,0,2,3,bf16\n" * 50
    with pytest.raises(TraceError, match="and 30 more rows"):
        read_table(table(tmp_path, text))


@pytest.mark.parametrize("latency", ["0", "-1", "nan", "fast"])
def test_a_latency_must_be_a_positive_number(latency: str, tmp_path: Path) -> None:
    text = f"operator,m,n,k,dtype,latency_s\ngemm,1,2,3,bf16,{latency}\n"
    with pytest.raises(TraceError, match=r"ops\.csv:2: latency_s must be"):
        read_table(table(tmp_path, text))


def test_a_table_without_operators_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"ops\.csv:1: no column 'operator', did you mean 'operat"):
        read_table(table(tmp_path, "operators,m\ngemm,1\n"))


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"ops\.csv:1: column m given twice"):
        read_table(table(tmp_path, "operator,m, m,dtype\ngemm,1,2,bf16\n"))


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_an_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"ops\.csv:1: empty file: not an operator table"):
        read_table(table(tmp_path, text))


@pytest.mark.parametrize(
    "last",
    ["gemm,64,12", "gemm,64,1,2,bf16,1.5e-", "ge", 'gemm,64,1,2,"bf'],
)
def test_a_row_that_is_cut_off_is_said_to_be(last: str, tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype,latency_s\ngemm,1,2,3,bf16,1e-6\n" + last
    with pytest.raises(TraceError, match=r"ops\.csv:3: .*cut off in the middle\?"):
        read_table(table(tmp_path, text))


def test_a_wrong_row_with_its_end_was_not_cut_off(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype,latency_s\ngemm,1,2\n"
    with pytest.raises(TraceError, match=r"ops\.csv:2: 3 cells, but the header has 6 columns$"):
        read_table(table(tmp_path, text))


def test_the_end_of_the_last_line_may_be_missing(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype,latency_s\ngemm,1,2,3,bf16,1e-6"
    assert len(read_table(table(tmp_path, text))) == 1


def test_rows_of_unknown_operators_can_be_left_out(tmp_path: Path) -> None:
    text = "operator,m,n,k,dtype\nconv,1,2,3,bf16\ngemm,1,2,3,bf16\nconv,1,,,\nfft,1,2,3,bf16\n"
    unknown: dict[str, list[int]] = {}
    (row,) = read_table(table(tmp_path, text), unknown)
    assert row.line == 3
    assert unknown == {"conv": [2, 4], "fft": [5]}


def test_a_row_without_an_operator_is_never_left_out(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"ops\.csv:2: column operator missing or empty"):
        read_table(table(tmp_path, "operator,m\n,1\n"), {})


def test_a_spreadsheet_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffoperator,M,N,dtype\nsoftmax,2,3,fp32\n")
    assert len(read_table(path)) == 1


def test_a_truncated_gzip_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ops.csv.gz"
    lines = b"".join(b"gemm,%d\n" % number for number in range(5000))
    packed = gzip.compress(b"operator,m\n" + lines)
    path.write_bytes(packed[:-9])  # all lines are there, the check sum is not
    with pytest.raises(TraceError, match=r"ops\.csv\.gz:\d+: damaged or truncated gzip"):
        read_table(path)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(TraceError) as error:
        read_table(path)
    line = int(str(error.value).removeprefix(f"{path}:").split(":")[0])
    assert 2000 < line < 3000


def test_thirty_five_thousand_rows_take_well_under_two_seconds(tmp_path: Path) -> None:
    rows = [f"x,gemm,{m},{n},4096,bf16,1e-5\n" for m in range(1, 351) for n in range(1, 101)]
    path = table(tmp_path, "device,operator,m,n,k,dtype,latency_s\n" + "".join(rows))
    start_s = time.process_time()
    assert len(read_table(path)) == 35_000
    assert time.process_time() - start_s < 2


@pytest.mark.skipif(not GPU_TABLES, reason="measured tables not here")
@pytest.mark.parametrize("path", GPU_TABLES, ids=lambda path: path.name)
def test_measured_gpu_tables_are_read_whole(path: Path) -> None:
    rows = read_table(path)
    assert len(rows) == len(gzip.decompress(path.read_bytes()).splitlines()) - 1
    assert all(row.latency_s is not None for row in rows)
    kind = Matmul if path.name.startswith("gemm") else Attention
    assert {type(row.operator) for row in rows} == {kind}


@pytest.mark.parametrize("name", OTHER_TABLES)
def test_other_measured_tables_are_read(name: str) -> None:
    if not (MEASURED / name).exists():
        pytest.skip("measured tables not here")
    assert len(read_table(MEASURED / name)) > 0


@pytest.mark.parametrize("name", ["aiconfigurator/e2e_silicon_ttft_tpot.csv.gz"])
def test_measured_tables_of_other_things_are_refused(name: str) -> None:
    if not (MEASURED / name).exists():
        pytest.skip("measured tables not here")
    with pytest.raises(TraceError, match="not an operator table"):
        read_table(MEASURED / name)
