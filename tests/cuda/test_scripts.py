"""The scripts as a person runs them: dry runs, exit codes, resume, a whole capture on the CPU."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from gpucap.folder import folder_name, write_readme, write_sums
from gpucap.grid_points import GRIDS
from gpucap.machine import Machine
from gpucap.measure import Failed, Row, head
from gpucap.meter import NoMeter
from gpucap.options import Options
from gpucap.plan import Planned, make_plan
from gpucap.problems import DeviceFailure
from gpucap.run import Limits, run_plan

ROOT = Path(__file__).parent.parent.parent
CUDA = ROOT / "validation" / "cuda"
Script = Callable[..., "subprocess.CompletedProcess[str]"]
Table = Callable[[Sequence[Mapping[str, object]]], Path]

GEMMS = [{"operator": "gemm", "m": m, "n": 64, "k": 64, "dtype": "bf16"} for m in (1, 16, 17)]
QUICK = ("--device", "cpu", "--fused", "eager", "--power-seconds", 0, "--warmup-seconds", 0,
         "--repeats", 2)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["capture.py", "capture_model.py", "capture_all.py", "grids.py", "make_arch.py"]
)
def test_help_needs_no_torch(name: str, script: Script) -> None:
    ran = script(name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert "usage:" in ran.stdout


def test_a_dry_run_needs_no_torch(script: Script, table: Table) -> None:
    ran = script("capture.py", table(GEMMS), "--dry-run", "--assume", "h200")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("torch.nn.functional.linear") == 3
    assert "3 shapes to measure, 0 not run" in ran.stdout


def test_a_dry_run_of_a_trace(script: Script) -> None:
    ran = script("capture.py", ROOT / "traces" / "gpt2-decode-1024.jsonl", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "kv_append" in ran.stdout


@pytest.mark.parametrize("name", ["capture_model.py", "capture_all.py"])
def test_other_dry_runs_need_no_torch(name: str, script: Script) -> None:
    ran = script(name, "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "to measure" in ran.stdout


def refused(ran: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit code 2, one line, no stack trace, nothing on stdout."""
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    for part in parts:
        assert part in ran.stderr


def test_without_torch_it_says_so(script: Script, table: Table) -> None:
    ran = script("capture.py", table(GEMMS), "--out", "out.csv")
    refused(ran, "pip install torch", "--dry-run works without")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["capture.py", "capture_model.py", "capture_all.py"])
def test_without_cuda_it_says_so(
    name: str, script: Script, table: Table, torch: ModuleType, tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    arguments = [table(GEMMS)] if name == "capture.py" else []
    out = [] if name == "capture_all.py" else ["--out", "out.csv"]
    ran = script(name, *arguments, *out, torch=True)
    refused(ran, "no CUDA device", "--dry-run")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"operator": "gem"}, ["ops.csv:2", "unknown operator 'gem'", "did you mean 'gemm'"]),
        ({"dtype": "bf17"}, ["ops.csv:2", "unknown dtype 'bf17'", "known: fp64"]),
        ({"m": "16 rows"}, ["ops.csv:2", "without a unit"]),
        ({"latency_s": "0"}, ["ops.csv:2", "above 0"]),
        ({"latency_s": "1", "latency_us": "1"}, ["ops.csv:1", "mixed units"]),
    ],
)
def test_wrong_tables_are_refused(
    row: dict[str, object], parts: list[str], script: Script, table: Table
) -> None:
    refused(script("capture.py", table([GEMMS[0] | row]), "--dry-run"), *parts)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--dry-run", "--assume", "h20"), "did you mean 'h200'"),
        ((), "--out FILE.csv is needed"),
        (("--dry-run", "--repeats", 0), "at least 1"),
        (("--dry-run", "--power-seconds", -1), "at least 0"),
    ],
)
def test_wrong_options_are_refused(
    arguments: tuple[object, ...], part: str, script: Script, table: Table
) -> None:
    refused(script("capture.py", table(GEMMS), *arguments), part)


def test_unknown_names_are_refused(script: Script) -> None:
    refused(script("grids.py", "here", "gem"), "unknown grid 'gem'", "did you mean 'gemm'")
    refused(script("capture_model.py", "--models", "gpt2xl", "--dry-run"), "did you mean 'gpt2-xl'")
    ran = script("capture_all.py", "--dry-run", "--only", "gem")
    refused(ran, "unknown stage 'gem'", "did you mean 'gemm'")


@pytest.mark.parametrize("name", GRIDS)
def test_grids_can_be_captured(name: str, script: Script, tmp_path: Path) -> None:
    assert script("grids.py", tmp_path / "grids", name).returncode == 0
    ran = script("capture.py", tmp_path / "grids" / f"{name}.csv", "--dry-run", "--assume", "h200")
    assert ran.returncode == 0, ran.stderr
    assert " 0 not run" in ran.stdout


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_capture_is_gone_on_with_after_a_cut(
    script: Script, table: Table, torch: ModuleType, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    first = script("capture.py", table(GEMMS), "--out", out, *QUICK, torch=True)
    assert first.returncode == 0, first.stderr
    assert "3 measured" in first.stderr
    whole = out.read_bytes()
    kept = [row["time_utc"] for row in rows_of(out)][:2]
    out.write_bytes(whole[:-20])
    second = script("capture.py", table(GEMMS), "--out", out, *QUICK, torch=True)
    assert "out.csv:4: cut off" in second.stderr
    assert "1 measured, 2 kept" in second.stderr
    rows = rows_of(out)
    assert [row["m"] for row in rows] == ["1", "16", "17"]
    assert [row["time_utc"] for row in rows][:2] == kept
    assert all(float(row["latency_s"]) > 0 for row in rows)
    assert all(float(row["latency_p10_s"]) <= float(row["latency_p90_s"]) for row in rows)


def machine() -> Machine:
    return Machine(
        name="fake", torch_device="cpu", library="torch 0", driver="", cuda="", l2_bytes=1000,
        memory_bytes=10**9, capability=(0, 0), meter=NoMeter(),
    )  # fmt: skip


def plan_of(table: Table) -> list[Planned]:
    from gpucap.assumed import assumed_gpu
    from gpucap.operator_table import read_operator_table

    rows = [GEMMS[0] | {"m": m} for m in range(1, 7)]
    return make_plan(read_operator_table(table(rows)), Options(), assumed_gpu("h100"))


def fake(planned: Planned, machine: Machine, options: Options) -> Row | Failed:
    """Row 2 is wrong, row 3 is not run by the library."""
    m = planned.shape.columns()["m"]
    if m in (2, 3):
        return Failed(f"problem\nof {m}", is_wrong=m == 2)
    return head(planned, machine) | {"latency_s": 1e-6}


def test_failures_have_a_file_of_their_own(table: Table, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    plan = plan_of(table)
    tally = run_plan(plan, machine(), Options(), out, Limits(), measure_row=fake)
    assert (tally.measured, tally.failed, tally.wrong, tally.left) == (4, 1, 1, 0)
    assert [row["m"] for row in rows_of(out)] == ["1", "4", "5", "6"]
    errors = [(row["m"], row["problem"]) for row in rows_of(tmp_path / "out.errors.csv")]
    assert errors == [("2", "problem of 2"), ("3", "problem of 3")]
    again = run_plan(plan, machine(), Options(), out, Limits(), measure_row=fake)
    assert (again.measured, again.kept) == (0, 6)
    retried = run_plan(plan, machine(), Options(), out, Limits(retry_errors=True), measure_row=fake)
    assert (retried.kept, retried.failed, retried.wrong) == (4, 1, 1)


def test_a_lost_device_ends_the_run_and_is_not_tried_again(table: Table, tmp_path: Path) -> None:
    def lost(planned: Planned, machine: Machine, options: Options) -> Row | Failed:
        if planned.shape.columns()["m"] == 3:
            raise DeviceFailure("illegal access")
        return head(planned, machine) | {"latency_s": 1e-6}

    out, plan = tmp_path / "out.csv", plan_of(table)
    with pytest.raises(DeviceFailure):
        run_plan(plan, machine(), Options(), out, Limits(), measure_row=lost)
    tally = run_plan(plan, machine(), Options(), out, Limits(), measure_row=lost)
    assert (tally.measured, tally.kept) == (3, 3)


def test_a_run_out_of_time_says_what_is_left(table: Table, tmp_path: Path) -> None:
    limits = Limits(seconds=-1.0)
    tally = run_plan(
        plan_of(table), machine(), Options(), tmp_path / "o.csv", limits, measure_row=fake
    )
    assert (tally.measured, tally.left) == (0, 6)
    assert "6 left: the same command goes on" in tally.text()


def test_a_seed_gives_the_order(table: Table, tmp_path: Path) -> None:
    orders = []
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        run_plan(plan_of(table), machine(), Options(), tmp_path / name, Limits(shuffle=seed),
                 measure_row=lambda p, m, o: head(p, m) | {"latency_s": 1e-6})  # fmt: skip
        orders.append([row["m"] for row in rows_of(tmp_path / name)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_a_device_folder_has_readme_and_checksums(tmp_path: Path) -> None:
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "launch.csv").write_text("x\n1\n")
    (tmp_path / "gemm.csv").write_text(
        "device,library,driver,cuda,time_utc\n" + "NVIDIA H200,torch 2,580,13.0,2026-01-02\n" * 2
    )
    write_readme(tmp_path, "make all")
    lines = [line.split("  ") for line in write_sums(tmp_path).read_text().splitlines()]
    sums = {name: checksum for checksum, name in lines}
    assert sums.keys() == {"gemm.csv", "micro/launch.csv"}
    assert sums["gemm.csv"] == hashlib.sha256((tmp_path / "gemm.csv").read_bytes()).hexdigest()
    readme = (tmp_path / "README.md").read_text()
    for part in ("# NVIDIA H200", "torch 2", "580", "2026-01-02", "| gemm.csv | 2 |"):
        assert part in readme


def test_folder_names() -> None:
    assert folder_name("NVIDIA A100-SXM4-80GB") == "nvidia-a100-sxm4-80gb"


def test_nothing_of_bankwidth_is_needed() -> None:
    sources = [path.read_text() for path in CUDA.rglob("*.py")]
    assert len(sources) > 30
    for source in sources:
        assert "import bankwidth" not in source
        assert "from bankwidth" not in source


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_microbenchmarks_compile(tmp_path: Path) -> None:
    """For one architecture, in a copy; warnings are errors."""
    folder = tmp_path / "microbench"
    shutil.copytree(CUDA / "microbench", folder, ignore=shutil.ignore_patterns("build"))
    arch = os.environ.get("BANKWIDTH_NVCC_ARCH", "sm_90")
    ran = subprocess.run(
        ["make", "-j2", "all", f"ARCH={arch}"], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    built = {path.name for path in (folder / "build").iterdir()}
    assert {"device", "launch", "bandwidth", "latency", "vector", "tensor", "clock"} <= built


def test_every_cuda_call_is_checked() -> None:
    """A call of the runtime stands within CHECK, or gives a status that is looked at."""
    calls = re.compile(r"\b(cuda|cublas)[A-Z]\w*\(")
    asked = re.compile(r"CHECK(_BLAS)?\(|status = |cudaGetErrorString\(")
    for path in sorted((CUDA / "microbench").glob("*.cu*")):
        lines = [line.split("//")[0] for line in path.read_text().splitlines()]
        for number, line in enumerate(lines):
            if calls.search(line):
                assert asked.search(line), f"{path.name}:{number + 1}: {line}"


def test_every_launch_is_checked() -> None:
    for path in (CUDA / "microbench").glob("*.cu*"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if "<<<" in line and not line.lstrip().startswith("//"):
                following = " ".join(lines[number : number + 3])
                assert "LAUNCHED();" in following, f"{path.name}:{number + 1}: {line}"
