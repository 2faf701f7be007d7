from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bankwidth.errors import TraceError
from bankwidth.spec import load_machine
from bankwidth.validate import compare, run_ops
from bankwidth.validate.comparison import error_figures

SHARED = Path(__file__).parents[3] / "shared" / "measured" / "aiconfigurator"


def test_error_figures_by_hand() -> None:
    # +10 %, -20 %, +30 %, 0 %: mean of the absolute 15, median 15, bias 5, 90th percentile 27
    figures = error_figures(np.array([1.1, 0.8, 1.3, 1.0]), np.ones(4))
    assert figures == pytest.approx(
        {"n": 4, "mape_pct": 15.0, "median_ape_pct": 15.0, "bias_pct": 5.0, "p90_ape_pct": 27.0}
    )


def test_rows_of_equal_shape_get_equal_times(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    row = "gemm,64,1024,1024,bf16,1e-5\n"
    path.write_text("operator,m,n,k,dtype,latency_s\n" + 3 * row)
    table = run_ops(load_machine("h200"), path)
    assert len(set(table["latency_s"].tolist())) == 1
    assert table["line"].tolist() == [2, 3, 4]


def test_an_empty_table_is_said(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("operator,m,n,k,dtype,latency_s\n")
    with pytest.raises(TraceError, match="no rows"):
        compare(load_machine("h200"), path)


def test_rows_without_a_time_are_named_with_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "operator,m,n,k,dtype,latency_us\n" + "gemm,1,2,3,bf16,4\n" + 2 * "gemm,1,2,3,bf16,\n"
    )
    with pytest.raises(TraceError, match=r"m\.csv:3: no latency \(and in 1 more\): .*latency_us"):
        compare(load_machine("h200"), path)


def test_the_unit_of_the_time_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("operator,m,n,k,dtype,latency_ms\ngemm,1,4096,4096,bf16,0.01\n")
    (row,) = compare(load_machine("h200"), path).worst
    assert row["measured_s"] == pytest.approx(1e-5)
    assert "latency_ms" not in row


def test_the_worst_rows_come_first(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(
        "operator,m,n,k,dtype,latency_s\n"
        "gemm,1,4096,4096,bf16,1.0\ngemm,1,4096,4096,bf16,1e-5\ngemm,1,4096,4096,bf16,1e-9\n"
    )
    worst = compare(load_machine("h200"), path, worst=2).worst
    assert [row["line"] for row in worst] == [4, 2]


@pytest.mark.validation
@pytest.mark.parametrize(
    ("arch", "name", "least_rows"),
    [
        ("h200", "gemm_h200_sxm_trtllm_1.3.0rc20.csv.gz", 17_000),
        ("a100", "attention_decode_a100_sxm_vllm_0.14.0.csv.gz", 2_000),
        ("h100", "attention_prefill_h100_sxm_vllm_0.24.0.csv.gz", 6_000),
    ],
)
def test_measured_tables_run_whole(arch: str, name: str, least_rows: int) -> None:
    if not (SHARED / name).exists():
        pytest.skip("needs the measured tables")
    comparison = compare(load_machine(arch), SHARED / name)
    (figures,) = comparison.families.values()
    assert figures["n"] >= least_rows
    assert len(comparison.rows) == figures["n"]
    assert all(comparison.rows["latency_s"] >= comparison.rows["lower_bound_s"])
