"""`validate gpu` as a user runs it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

HEAD = "device,operator,m,n,k,dtype,kernel,latency_s\n"
ROW = "NVIDIA H200,gemm,1,4096,4096,bfloat16,torch_flow,1.4e-5\n"


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def write(text: str, name: str = "m.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_measured_table_is_compared(bankwidth: Any, table: Any) -> None:
    path = table(HEAD + ROW + ROW.replace("1.4e-5", "1.3e-5"))
    ran = bankwidth("validate", "gpu", "--reference", path, "--json")
    (case,) = ran.json["cases"]
    assert (ran.json["suite"], ran.json["n"], case["n"]) == ("gpu", 1, 2)
    assert case["id"] == "gemm bf16, h200, trtllm"
    assert case["quantity"] == "mape_pct"
    assert case["tolerance_pct"] == 7.0
    assert ran.code == (0 if case["ok"] else 1)


def test_a_bar_that_does_not_hold_is_exit_code_1(bankwidth: Any, table: Any) -> None:
    ran = bankwidth("validate", "gpu", "--reference", table(HEAD + ROW.replace("1.4e-5", "1")))
    assert ran.code == 1
    assert re.search(r"gemm bf16 +h200 +trtllm +100\.0 % +7 % +no", ran.out)
    assert "gpu: 0 of 1 bars hold" in ran.out


def test_a_machine_for_devices_without_a_name(bankwidth: Any, table: Any) -> None:
    path = table(HEAD + ROW.replace("NVIDIA H200", "NVIDIA H20"))
    bankwidth("validate", "gpu", "--reference", path).refused("m.csv:2: unknown device", "--arch")
    ran = bankwidth("validate", "gpu", "--reference", path, "--arch", "h100", "--json")
    assert ran.json["cases"][0]["device"] == "h100"


def test_several_references(bankwidth: Any, table: Any) -> None:
    both = ("--reference", table(HEAD + ROW), "--reference", table(HEAD + ROW, "n.csv"))
    assert bankwidth("validate", "gpu", *both, "--json").json["cases"][0]["n"] == 2


def test_markdown_and_a_page(bankwidth: Any, table: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    path = table(HEAD + ROW)
    ran = bankwidth("validate", "gpu", "--reference", path, "--markdown", "--out", out)
    assert ran.out.splitlines()[2].startswith("| family | device | library | mean error | bar |")
    assert (out / "report.html").is_file()
    again = bankwidth("validate", "gpu", "--reference", path, "--out", out)
    again.refused("is not empty", "--force")


@pytest.mark.parametrize("option", [("--arch", "h200"), ("--markdown",), ("--measured", ".")])
def test_options_of_gpu_need_the_suite(option: tuple[str, ...], bankwidth: Any) -> None:
    bankwidth("validate", "dram", *option).refused(option[0], "only with suite gpu")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["m.csv:1: empty file"]),
        (HEAD, ["m.csv:1: no rows"]),
        (
            HEAD + ROW.replace("gemm", "gem"),
            ["m.csv:2: unknown operator 'gem'", "'gemm'", "known:"],
        ),
        (HEAD + ROW.replace("bfloat16", "bfloat61"), ["m.csv:2: unknown dtype", "'bfloat16'"]),
        (HEAD + ROW.replace("1.4e-5", ""), ["m.csv:2: no latency"]),
        (HEAD + ROW.replace("1.4e-5", "0"), ["m.csv:2: latency_s must be", "above 0, got 0"]),
        (HEAD + ROW.replace("1.4e-5", "-1"), ["m.csv:2: latency_s must be"]),
        (HEAD + ROW.replace("1.4e-5", "nan"), ["m.csv:2: latency_s must be"]),
        (HEAD + ROW + ROW[:30], ["m.csv:3: ", "cut off in the middle?"]),
        (HEAD.replace("kernel", "latency_us") + ROW, ["m.csv:1: mixed units: 2 columns"]),
        (
            HEAD.replace("kernel", "unit") + ROW.replace("torch_flow", "us"),
            ["m.csv:2: mixed units"],
        ),
        (HEAD.replace("latency_s", "latency") + ROW, ["m.csv:1: ", "has no unit", "latency_us"]),
        (HEAD.replace("latency_s", "speed") + ROW, ["m.csv:2: no latency"]),
    ],
)
@pytest.mark.parametrize("command", [("validate", "gpu", "--reference"), ("compare", "h200")])
def test_wrong_tables_are_refused_with_their_line(
    command: tuple[str, ...], text: str, parts: list[str], bankwidth: Any, table: Any
) -> None:
    bankwidth(*command, table(text)).refused(*parts)


def test_a_gzip_file_that_was_cut_off_is_refused(bankwidth: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.csv.gz"
    path.write_bytes(gzip.compress((HEAD + 1000 * ROW).encode())[:-12])
    ran = bankwidth("validate", "gpu", "--reference", path)
    ran.refused("damaged or truncated gzip file")
    assert re.search(r"m\.csv\.gz:\d+: ", ran.err)
