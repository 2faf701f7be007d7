"""What the README tells a newcomer to type works as it stands."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from bankwidth.__main__ import main
from bankwidth.operators import Matmul
from bankwidth.spec import load_machine
from bankwidth.validate.predict import Predictor

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for line in re.findall(r"^    (bankwidth .*)$", README, flags=re.MULTILINE)
]
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
TINY = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 1000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the README's examples name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "config.json").write_text(json.dumps(TINY))
    table = "operator,m,n,k,dtype,latency_s\ngemm,16,1024,1024,bf16,5e-6\n"
    (tmp_path / "ops.csv").write_text(table)
    (tmp_path / "measured.csv").write_text(measured())
    shutil.copy(ROOT / "arch" / "h200.yaml", tmp_path / "my-machine.yaml")
    columns = "clk,cmd,Channel,PseudoChannel,Sid,BankGroup,Bank,Row,Column\n1,ACT,0,0,0,0,0,0,0\n"
    (tmp_path / "commands.csv.gz").write_bytes(gzip.compress(columns.encode()))
    shutil.copy(ROOT / "docs" / "examples" / "chat-requests.csv", tmp_path / "requests.csv")
    shutil.copy(ROOT / "traces" / "gpt2-decode-1024.jsonl", tmp_path / "model.jsonl")
    recorded = ROOT / "traces" / "kineto" / "llama-tiny-cpu.pt.trace.json.gz"
    shutil.copy(recorded, tmp_path / "recorded.pt.trace.json.gz")
    requests = "".join(f"R {64 * i:#x}\n" for i in range(2000))
    (tmp_path / "requests.txt.gz").write_bytes(gzip.compress(requests.encode()))
    return tmp_path


def measured() -> str:
    """A table as a capture writes it, of a GPU that our H200 is like."""
    shapes = [(m, n, 4096) for m in (1, 16, 300, 2048) for n in (512, 4096, 9000, 16384, 65536, 8)]
    operators = [
        Matmul(name="gemm", m=m, n=n, k=k, dtype="bf16", weight_dtype="bf16") for m, n, k in shapes
    ]
    ours = Predictor(load_machine("h200"))
    rows = [
        f"NVIDIA H200,gemm,{op.m},{op.n},{op.k},bf16,{ours.time(op).latency_s!r}\n"
        for op in operators
    ]
    return "device,operator,m,n,k,dtype,latency_s\n" + "".join(rows)


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (0, None)


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) >= 8
    assert len(PYTHON) == 1


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_commands_work(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(arguments, monkeypatch)


@pytest.mark.nightly  # tests/validate has every row of them, in CI
@pytest.mark.parametrize("suite", ["pim", "flash", "sram-lut"])
def test_long_suites_hold(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(["bankwidth", "validate", suite], monkeypatch)


def test_what_make_run_stands_for_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = next(part for part in README.split("`") if "&& .venv/bin/bankwidth" in part)
    run(["bankwidth", *line.split("&& .venv/bin/bankwidth")[1].split()], monkeypatch)
    assert (folder / "runs" / "h200-llama-2-7b" / "report.html").is_file()


def test_make_run_is_what_the_readme_says() -> None:
    line = next(part for part in README.split("`") if "&& .venv/bin/bankwidth" in part)
    job = " ".join(line.split("&& .venv/bin/bankwidth")[1].split())
    assert f"bankwidth {job}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("code", PYTHON)
def test_python_examples_work(code: str, folder: Path) -> None:
    exec(compile(code, "README.md", "exec"), {})
    assert (folder / "waterfall.html").is_file()
