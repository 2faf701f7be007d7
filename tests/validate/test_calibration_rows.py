"""The split of measured rows in halves, and samples of the half that is fitted to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bankwidth.errors import TraceError
from bankwidth.operators import Elementwise, Matmul
from bankwidth.validate.calibration_rows import in_fit_half, read_measured, sample, shape_key


def gemm_rows(count: int, name: str = "gemm") -> list[str]:
    return [f"{name},{m + 1},64,128,bf16,{1e-6 * (m + 1):.9g}" for m in range(count)]


def write(path: Path, rows: list[str], head: str = "operator,m,n,k,dtype,latency_s") -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def halves(path: Path, seed: int = 0) -> dict[int, bool]:
    rows = read_measured([path], seed=seed)
    shapes: list[Any] = [rows.operators[i] for i in rows.shape_of]
    return {op.m: bool(f) for op, f in zip(shapes, rows.is_fit, strict=True)}


def test_the_split_depends_on_shape_and_seed_alone(tmp_path: Path) -> None:
    rows = gemm_rows(200)
    whole = halves(write(tmp_path / "a.csv", rows))
    part = halves(write(tmp_path / "b.csv", rows[150:20:-1]))
    assert part == {m: whole[m] for m in part}
    assert halves(tmp_path / "a.csv", seed=1) != whole
    assert 70 < sum(whole.values()) < 130


def test_equal_shapes_never_straddle_whatever_they_are_called(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", gemm_rows(50) + gemm_rows(50, "linear"))
    second = write(tmp_path / "b.csv", gemm_rows(50, "matmul"))
    rows = read_measured([first, second])
    assert len(rows) == 150
    assert len(rows.operators) == 50
    assert Counter(rows.shape_of.tolist()) == {shape: 3 for shape in range(50)}
    assert rows.is_fit[:50].tolist() == rows.is_fit[50:100].tolist() == rows.is_fit[100:].tolist()
    assert (rows.where[0], rows.where[149]) == (f"{first}:2", f"{second}:51")


def test_a_shape_of_two_libraries_is_timed_twice_and_split_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", gemm_rows(50))
    second = write(tmp_path / "b.csv", gemm_rows(50, "mlp_up_proj"))  # a name of Vidur's
    rows = read_measured([first, second])
    assert rows.libraries == ("torch",) * 50 + ("vidur",) * 50
    assert rows.shape_of.tolist() == list(range(100))
    assert rows.is_fit[:50].tolist() == rows.is_fit[50:].tolist()


def test_a_shape_is_told_from_others_by_all_of_its_sizes() -> None:
    keys = {
        shape_key(Matmul(name="x", m=1, n=2, k=3, dtype="bf16", weight_dtype="bf16")),
        shape_key(Matmul(name="x", m=1, n=2, k=4, dtype="bf16", weight_dtype="bf16")),
        shape_key(Matmul(name="x", m=1, n=2, k=3, dtype="fp8", weight_dtype="fp8")),
        shape_key(Elementwise(name="x", function="gelu", elements=6, num_inputs=1, dtype="bf16")),
    }
    assert len(keys) == 4
    # The split is a promise: these values may not change between versions.
    assert [in_fit_half("matmul {}", seed) for seed in range(6)] == [
        True, True, False, True, True, True,
    ]  # fmt: skip


def test_measured_times_are_nanoseconds(tmp_path: Path) -> None:
    rows = read_measured([write(tmp_path / "a.csv", gemm_rows(40))])
    assert rows.measured_ns.tolist() == pytest.approx([1e3 * (m + 1) for m in range(40)])


def mixed(tmp_path: Path) -> list[Path]:
    """400 products and 30 norms."""
    norms = [f"rmsnorm,{m + 1},4096,bf16,1e-6" for m in range(30)]
    return [
        write(tmp_path / "g.csv", gemm_rows(400)),
        write(tmp_path / "n.csv", norms, "operator,rows,width,dtype,latency_s"),
    ]


def test_a_sample_is_of_the_fit_half_and_fair_to_families_and_sizes(tmp_path: Path) -> None:
    rows = read_measured(mixed(tmp_path))
    chosen = sample(rows, 60, seed=0)
    assert len(set(chosen.tolist())) == len(chosen) == 60
    assert rows.is_fit[chosen].all()
    assert chosen.tolist() == sorted(chosen.tolist())
    norms = int((rows.families[rows.is_fit] == "norm").sum())
    taken = Counter(rows.families[chosen].tolist())
    assert taken == {"norm": min(30, norms), "gemm bf16": 60 - min(30, norms)}
    shapes: list[Any] = [rows.operators[i] for i in rows.shape_of[chosen]]
    m = [op.m for op in shapes if op.kind == "matmul"]
    quarters = Counter(min(3, 4 * (size - 1) // 400) for size in m)
    assert all(abs(quarters[q] - len(m) / 4) <= 0.15 * len(m) for q in range(4))


def test_a_small_half_is_taken_whole_and_seeds_differ(tmp_path: Path) -> None:
    rows = read_measured(mixed(tmp_path))
    assert sample(rows, 10_000, seed=0).tolist() == np.flatnonzero(rows.is_fit).tolist()
    assert sample(rows, 20, seed=0).tolist() == sample(rows, 20, seed=0).tolist()
    assert sample(rows, 20, seed=0).tolist() != sample(rows, 20, seed=5).tolist()


def test_a_sample_does_not_look_at_measured_times(tmp_path: Path) -> None:
    rows = gemm_rows(200)
    first = read_measured([write(tmp_path / "a.csv", rows)])
    other = [f"{row.rpartition(',')[0]},{1e-3 / (1 + i)}" for i, row in enumerate(rows)]
    second = read_measured([write(tmp_path / "a.csv", other)])
    assert sample(first, 30, 0).tolist() == sample(second, 30, 0).tolist()


def test_wrong_tables_are_said(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"19 rows, a calibration needs at least 20"):
        read_measured([write(tmp_path / "a.csv", gemm_rows(19))])
    with pytest.raises(TraceError, match=r"only 1 shapes: none is left for one of the halves"):
        read_measured([write(tmp_path / "b.csv", 30 * gemm_rows(1))])
    unmeasured = [row.rpartition(",")[0] + "," for row in gemm_rows(30)]
    with pytest.raises(TraceError, match=r"c\.csv:2: no latency"):
        read_measured([write(tmp_path / "c.csv", unmeasured)])


def test_one_device_is_calibrated_on(tmp_path: Path) -> None:
    rows = [f"{row},{'H100' if i % 2 else 'A100'}" for i, row in enumerate(gemm_rows(60))]
    path = write(tmp_path / "a.csv", rows, "operator,m,n,k,dtype,latency_s,device")
    with pytest.raises(TraceError, match=r"rows of 2 devices \('A100', 'H100'\): .*--device"):
        read_measured([path])
    assert len(read_measured([path], device="A100")) == 30
    with pytest.raises(TraceError, match=r"no rows of device 'H10', did you mean 'H100'\?"):
        read_measured([path], device="H10")
