"""One measured table beside ours. A GEMM of 1 x 1 x k takes 2 k ns here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.validate.gpu_tables import SHOWN, WORST, Key, Reader, chosen, merged

from .conftest import Write

HEAD = "device,operator,m,n,k,dtype,kernel,latency_us\n"
pytestmark = pytest.mark.usefixtures("one_ns_per_flop")


def silent(_: int) -> None:
    """No progress."""


def test_rows_are_put_together_by_family_machine_and_library(write: Write) -> None:
    path = write(
        "x.csv",
        HEAD
        + "NVIDIA H200,gemm,1,1,500,bf16,torch_flow,1\n"
        + "a100,gemm,1,1,500,bf16,vllm_default,2\n"
        + "NVIDIA H200,gemm,1,1,1000,bf16,torch_flow,4\n"
        + "NVIDIA H200,gemm,1,1,500,fp8,torch_flow,4\n",
    )
    found = Reader().evaluate(path, silent)
    h200 = Key("gemm bf16", "h200", "trtllm")
    assert [part.key for part in found.parts] == [
        h200, Key("gemm bf16", "a100", "vllm"), Key("gemm fp8", "h200", "trtllm"),
    ]  # fmt: skip
    part = merged(found.parts)[h200][0]
    assert part.measured_s.tolist() == pytest.approx([1e-6, 4e-6])
    assert part.ours_s.tolist() == pytest.approx([1e-6, 2e-6])
    first, second = part.points
    assert (first.table, first.line, first.operator) == ("measured/x.csv", 2, "gemm")
    assert first.shape == "m=1 n=1 k=500 batch=1 bf16"
    assert second.error_pct == pytest.approx(-50.0)
    assert second.bound == "compute"


def test_equal_shapes_are_run_once_per_machine(write: Write, one_ns_per_flop: list[str]) -> None:
    rows = "h200,gemm,1,1,5,bf16,x,1\n" * 3 + "h100,gemm,1,1,5,bf16,x,1\n" * 2
    found = Reader().evaluate(write("x.csv", HEAD + rows), silent)
    assert one_ns_per_flop == ["gemm", "gemm"]
    assert [len(part.measured_s) for part in found.parts] == [3, 2]


def test_a_machine_that_is_named_is_that_of_all_rows(write: Write) -> None:
    path = write("x.csv", HEAD + "my GPU,gemm,1,1,5,bf16,x,1\n")
    (part,) = Reader(arch="h100").evaluate(path, silent).parts
    assert part.key.machine == "h100"


def test_what_the_host_adds_is_added_to_ours(write: Write) -> None:
    path = write(
        "x.csv",
        "device,operator,batch,M,N,K,dtype,latency_s,source_file\n"
        "A100,matmul,1,1,1,500,fp16,44e-6,ae/figure5/ab/x.csv\n",
    )
    (part,) = Reader().evaluate(path, silent).parts
    assert part.key == Key("gemm fp16", "a100", "llmcompass")
    assert part.ours_s.tolist() == pytest.approx([22e-6])  # 21 us of the host and 1 us


def test_progress_counts_rows(write: Write) -> None:
    seen: list[int] = []
    Reader().evaluate(write("x.csv", HEAD + "h200,gemm,1,1,5,bf16,x,1\n" * 250), seen.append)
    assert seen == [0, 100, 200]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("NVIDIA H20,gemm,1,1,5,bf16,x,1", "unknown device 'NVIDIA H20', did you mean"),
        (",gemm,1,1,5,bf16,x,1", "no device in this row"),
        ("h200,conv,1,1,5,bf16,x,1", "unknown operator 'conv'"),
        ("h200,gemm,1,1,5,bf61,x,1", "unknown dtype 'bf61'"),
        ("h200,gemm,1,1,5,bf16,x,", "no latency: a comparison needs one in every row"),
        ("h200,gemm,1,1,5,bf16,x,0", "latency_us must be a finite number above 0"),
    ],
)
def test_a_reference_must_be_in_order(row: str, message: str, write: Write) -> None:
    path = write("x.csv", f"{HEAD}h200,gemm,1,1,5,bf16,x,1\n{row}\n")
    with pytest.raises(TraceError) as error:
        Reader().evaluate(path, silent)
    assert str(error.value).startswith(f"{path}:3: ")
    assert message in str(error.value)


@pytest.mark.parametrize("is_strict", [True, False])
def test_what_a_machine_does_not_run_is_left_out_and_said(write: Write, is_strict: bool) -> None:
    head = "device,operator,bytes,n_gpu,m,n,k,dtype,latency_us\n"
    path = write("x.csv", f"{head}h200,gemm,,,1,1,5,bf16,1\n" + 3 * "h200,all_reduce,8,2,,,,,1\n")
    found = Reader(is_strict=is_strict).evaluate(path, silent)
    assert [len(part.measured_s) for part in found.parts] == [1]
    (skipped,) = found.skipped
    assert (skipped.rows, skipped.reason) == (3, "h200: no collective here (first: line 3)")


def test_a_reference_of_which_nothing_can_be_run_is_refused(write: Write) -> None:
    path = write("x.csv", "device,operator,bytes,n_gpu,latency_us\nh200,all_reduce,8,2,1\n")
    with pytest.raises(TraceError, match=r"x\.csv:2: h200: no collective here"):
        Reader().evaluate(path, silent)


def test_what_cannot_be_run_is_left_out_of_a_folder_of_tables(write: Write) -> None:
    path = write(
        "x.csv",
        "device,operator,m,n,k,bytes,n_gpu,dtype,latency_us\n"
        "h200,gemm,1,1,5,,,bf16,1\n"
        "h200,conv,1,1,5,,,bf16,1\nh200,conv,1,1,5,,,bf16,1\n"
        "a40,gemm,1,1,5,,,bf16,1\n"
        "h200,all_reduce,,,,8,2,bf16,1\nh200,all_reduce,,,,16,2,bf16,1\n",
    )
    found = Reader(is_strict=False).evaluate(path, silent)
    assert [len(part.measured_s) for part in found.parts] == [1]
    assert {(skipped.rows, skipped.reason) for skipped in found.skipped} == {
        (2, "operator 'conv' is not known"),
        (1, "no machine describes the device 'a40'"),
        (2, "h200: no collective here (first: line 6)"),
    }


def test_a_table_of_something_else_is_left_out_whole(write: Write) -> None:
    path = write("x.csv", "model,tokens\nx,1\n")
    found = Reader(is_strict=False).evaluate(path, silent)
    assert found.parts == []
    (skipped,) = found.skipped
    assert skipped.reason == "no column 'operator': not an operator table"
    with pytest.raises(TraceError, match=r"x\.csv:1: no column 'operator'"):
        Reader().evaluate(path, silent)


def test_a_wrong_time_is_an_error_also_in_a_folder_of_tables(write: Write) -> None:
    path = write("x.csv", HEAD + "h200,gemm,1,1,5,bf16,x,-1\n")
    with pytest.raises(TraceError, match=r"x\.csv:2: latency_us must be"):
        Reader(is_strict=False).evaluate(path, silent)


@given(count=st.integers(1, 2000), seed=st.integers(0, 100))
def test_chosen_rows_are_few_and_hold_ends_and_worst(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    measured_s, ours_s = rng.random(count) + 0.1, rng.random(count) + 0.1
    rows = chosen(measured_s, ours_s)
    assert rows == sorted(set(rows))
    assert min(count, SHOWN) <= len(rows) <= min(count, SHOWN + WORST)
    assert {int(measured_s.argmin()), int(measured_s.argmax())} <= set(rows)
    assert int(np.abs(ours_s / measured_s - 1).argmax()) in rows


def test_about_half_of_the_shapes_is_unseen_by_calibration(write: Write) -> None:
    rows = [f"h200,gemm,1,1,{k},bf16,x,1\n" for k in range(1, 201)]
    (part,) = Reader().evaluate(write("x.csv", HEAD + "".join(rows)), silent).parts
    assert 70 < part.is_unseen.sum() < 130
    (again,) = Reader().evaluate(write("y.csv", HEAD + "".join(rows)), silent).parts
    assert again.is_unseen.tolist() == part.is_unseen.tolist()
