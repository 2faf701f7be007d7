"""The suite `gpu`: groups, bars, what is left out. A GEMM of 1 x 1 x k takes 2 k ns here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bankwidth.errors import SpecError
from bankwidth.validate import gpu_suite
from bankwidth.validate.gpu_suite import MEASURED, own_tables, run_gpu
from bankwidth.validate.verdicts import ErrorCase, Verdict

from .conftest import Write

HEAD = "device,operator,m,n,k,dtype,kernel,latency_us\n"


def of(verdict: Verdict) -> dict[str, ErrorCase]:
    """Cases by their id."""
    return {case.id: case for case in verdict.cases if isinstance(case, ErrorCase)}


@pytest.mark.usefixtures("one_ns_per_flop")
def test_errors_of_a_group_and_of_its_sizes_by_hand(write: Write) -> None:
    path = write(
        "x.csv",
        HEAD
        + "NVIDIA H200,gemm,1,1,550,bf16,torch_flow,1\n"  # 1.1 us: 10 % too slow
        + "NVIDIA H200,gemm,1,1,9500,bf16,torch_flow,20\n"  # 19 us: 5 % too fast
        + "NVIDIA H200,gemm,1,1,10000,bf16,torch_flow,20\n",  # equal
    )
    verdict = run_gpu(path)
    (case,) = verdict.cases
    assert isinstance(case, ErrorCase)
    assert case.id == "gemm bf16, h200, trtllm"
    assert (case.family, case.device, case.library) == ("gemm bf16", "h200", "trtllm")
    assert case.figures["n"] == 3
    assert case.figures["mape_pct"] == pytest.approx(5.0)
    assert case.figures["bias_pct"] == pytest.approx(5 / 3)
    assert case.bar_pct == 7.0
    assert case.ok
    assert {name: at["n"] for name, at in case.by_size.items()} == {"< 10 us": 1, "10-100 us": 2}
    assert case.by_size["< 10 us"]["mape_pct"] == pytest.approx(10.0)
    assert verdict.source == str(path)


@pytest.mark.usefixtures("one_ns_per_flop")
@pytest.mark.parametrize(("k", "ok"), [(534, True), (536, False)])
def test_a_bar_is_held_up_to_its_value(k: int, ok: bool, write: Write) -> None:
    path = write("x.csv", HEAD + f"NVIDIA H200,gemm,1,1,{k},bf16,torch_flow,1\n")
    (case,) = run_gpu(path).cases  # 2 k ns against 1000: bar of 7 %
    assert case.ok is ok


@pytest.mark.usefixtures("one_ns_per_flop")
def test_a_group_without_a_bar_never_fails(write: Write) -> None:
    path = write("x.csv", HEAD + "NVIDIA H200,gemm,1,1,5,fp8,torch_flow,1\n")
    verdict = run_gpu(path)
    data = verdict.to_json()
    (case,) = data["cases"]
    assert case["ours"] == pytest.approx(99.0)
    assert (case["reference"], case["tolerance_pct"], case["ok"]) == (None, None, True)
    assert (data["suite"], data["n"], data["ok"]) == ("gpu", 1, 1)
    json.dumps(data, allow_nan=False)


@pytest.mark.usefixtures("one_ns_per_flop")
def test_cases_are_in_the_order_of_families(write: Write) -> None:
    shape = "m,n,k,rows,width,dtype,latency_us\n"
    path = write(
        "x.csv",
        f"device,operator,{shape}h200,softmax,,,,2,2,bf16,1\nh200,layernorm,,,,2,2,bf16,1\n"
        "h200,gemm,1,1,5,,,bf16,1\nh100,gemm,1,1,5,,,bf16,1\n",
    )
    assert list(of(run_gpu(path))) == [
        "gemm bf16, h100, torch", "gemm bf16, h200, torch", "norm, h200, torch",
        "softmax, h200, torch",
    ]  # fmt: skip


@pytest.mark.usefixtures("one_ns_per_flop")
def test_what_calibration_has_not_seen_is_counted_apart(write: Write) -> None:
    rows = [f"{{}},gemm,1,1,{k},bf16,x,1\n" for k in range(1, 101)]
    text = HEAD + "".join(row.format(device) for device in ("h200", "NVIDIA B200") for row in rows)
    cases = of(run_gpu(write("x.csv", text)))
    unseen = cases["gemm bf16, h200, torch"].unseen
    assert unseen is not None
    assert 20 < unseen["n"] < 80
    assert cases["gemm bf16, b200, torch"].unseen is None  # nothing of it was calibrated


@pytest.mark.usefixtures("one_ns_per_flop")
def test_several_references_are_added_up(write: Write) -> None:
    row = "h200,gemm,1,1,500,bf16,torch_flow,1\n"
    paths = [write("x.csv", HEAD + row), write("y.csv", HEAD + row + row)]
    verdict = run_gpu(paths)
    (case,) = of(verdict).values()
    assert case.figures["n"] == 3
    assert verdict.source == f"{paths[0]}, {paths[1]}"
    assert [point.table for point in verdict.points[case.id]] == [
        "measured/x.csv", "measured/y.csv", "measured/y.csv",
    ]  # fmt: skip


@pytest.mark.usefixtures("one_ns_per_flop")
def test_the_worst_rows_of_all_groups_come_first(write: Write) -> None:
    path = write(
        "x.csv",
        HEAD + "h200,gemm,1,1,600,bf16,x,1\nh200,gemm,1,1,500,bf16,x,1\nh200,gemm,1,1,5,fp8,x,1\n",
    )
    worst = run_gpu(path, worst=2).details["worst"]
    assert [(row["line"], round(row["error_pct"])) for row in worst] == [(4, -99), (2, 20)]
    assert worst[0]["group"] == "gemm fp8, h200, torch"


@pytest.mark.usefixtures("one_ns_per_flop")
def test_a_folder_of_tables_is_taken_whole(write: Write, tmp_path: Path) -> None:
    row = "h200,gemm,1,1,500,bf16,torch_flow,1\n"
    write("b/x.csv", HEAD + row)
    packed = write("c/y.csv.gz", "")
    packed.write_bytes(gzip.compress((HEAD + row + row).encode()))
    write("x.errors.csv", HEAD + "h200,gemm,1,1,500,bf16,x,\n")  # what could not be measured
    write("README.md", "none")
    write("other.csv", "a,b\n1,2\n")
    verdict = run_gpu(measured=tmp_path / "measured")
    (case,) = of(verdict).values()
    assert case.figures["n"] == 3
    (skipped,) = verdict.details["skipped"]
    assert skipped["table"] == "measured/other.csv"
    assert verdict.source == "3 measured tables"


@pytest.mark.usefixtures("one_ns_per_flop")
def test_vidurs_tables_give_layers_whatever_their_order(write: Write, tmp_path: Path) -> None:
    projections = ("attn_pre_proj", "attn_post_proj", "mlp_up_proj", "mlp_down_proj")
    model = "Llama-2-70b-hf"
    gemms = [f"a100,{model},{op},2,8,2,2,fp16,1\n" for op in projections]
    write("vidur/gemm.csv", "device,model,operator,tp,m,n,k,dtype,latency_us\n" + "".join(gemms))
    names = ("input_layernorm", "post_attention_layernorm", "mlp_act", "add", "attn_rope")
    vectors = [f"a100,{model},{op},2,8,2,64,8,128,fp16,1\n" for op in names]
    head = "device,model,operator,tp,tokens,width,n_head,n_kv_head,head_dim,dtype,latency_us\n"
    write("vidur/vector.csv", head + "".join(vectors))
    head = "device,operator,tp,batch,q_len,kv_cache_len,n_heads_total,n_kv_heads_total,head_dim,"
    row = "a100,attention_decode,2,8,1,99,64,8,128,fp16,1\n"
    write("vidur/attention.csv", f"{head}dtype,latency_us\n{row}")
    case = of(run_gpu(measured=tmp_path / "measured"))["decode layer, a100, vidur"]
    assert case.figures["n"] == 1
    assert case.bar_pct == 10.0


@pytest.mark.usefixtures("one_ns_per_flop")
def test_a_table_of_a_whole_layer_is_known_by_its_columns(write: Write) -> None:
    path = write(
        "x.csv",
        "device,phase,operator,batch,q_len,kv_len,d_model,n_heads,tp,dtype,latency_s\n"
        "4xA100-80GB-SXM,decode,GeLU,8,1,3072,12288,96,4,fp16,1e-3\n",
    )
    assert list(of(run_gpu(path))) == ["decode layer, a100, llmcompass"]


@pytest.mark.usefixtures("one_ns_per_flop")
def test_progress_goes_through_all_tables(write: Write, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        write(name, HEAD + "h200,gemm,1,1,500,bf16,torch_flow,1\n" * 150)
    seen: list[tuple[int, int]] = []
    run_gpu(measured=tmp_path / "measured", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 302), (100, 302), (151, 302), (251, 302)]


def test_a_folder_must_be_there_and_hold_tables(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such folder of measured tables"):
        run_gpu(measured=tmp_path / "none")
    with pytest.raises(SpecError, match="holds no measured tables"):
        run_gpu(measured=tmp_path)


def test_without_any_table_there_is_nothing_to_fail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_suite, "CAPTURES", tmp_path)
    monkeypatch.setattr(gpu_suite, "MEASURED", tmp_path / "none")
    verdict = run_gpu()
    assert verdict.ok
    assert verdict.cases == []
    assert verdict.source == "no measured table: none is at hand"


def test_an_unknown_machine_is_refused(write: Write) -> None:
    path = write("x.csv", HEAD + "h200,gemm,1,1,500,bf16,torch_flow,1\n")
    with pytest.raises(SpecError, match=r"^unknown machine 'h300', did you mean 'h"):
        run_gpu(path, arch="h300")


@pytest.mark.validation
@pytest.mark.skipif(not MEASURED.is_dir(), reason="no ../shared/measured")
def test_some_rows_of_every_measured_table(tmp_path: Path) -> None:
    """The first rows of each table at hand: all families, and nothing left out but what is said."""
    for path in own_tables(MEASURED):
        read = gzip.decompress if path.name.endswith(".gz") else bytes
        lines = read(path.read_bytes()).splitlines(keepends=True)
        copy = tmp_path / path.parent.name / path.name.removesuffix(".gz")
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(b"".join(lines[:25] if len(lines) > 200 else lines))
    verdict = run_gpu(measured=tmp_path)
    families = {case.family for case in of(verdict).values()}
    assert families >= {
        "gemm bf16", "gemm fp8", "attention decode", "attention prefill", "norm", "activation",
        "softmax", "decode layer", "prefill layer",
    }  # fmt: skip
    assert all(case.figures["n"] > 0 for case in of(verdict).values())
    assert {case.device for case in of(verdict).values()} == {"h200", "h100", "a100"}
