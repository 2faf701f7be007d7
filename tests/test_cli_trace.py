"""`bankwidth trace`: other tools' files in and out, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RECORDED = ROOT / "traces" / "kineto" / "llama-tiny-cpu.pt.trace.json.gz"
CHAKRA = sorted((ROOT / "traces" / "chakra").glob("*.et*"))
OUT = "out.jsonl"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def data(ran: Any) -> Any:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_recorded_model_is_imported_shown_and_run(bankwidth: Any) -> None:
    written = data(bankwidth("trace", "import", RECORDED, OUT, "--annotation", "decode", "--json"))
    assert written["operators"] > 30
    assert not written["partial"]
    assert any("which tensor" in sentence for sentence in written["lost"])
    shown = data(bankwidth("trace", "show", OUT, "--json"))
    layers = [op for op in shown["operators"] if op["block"].startswith("layers")]
    assert {op["repeat"] for op in layers} == {3}
    run = data(bankwidth("run", "h100", OUT, "--json"))
    assert run["latency_ns"] > 0


def test_recorded_times_are_a_table_that_compare_reads(bankwidth: Any) -> None:
    assert bankwidth("trace", "import", RECORDED, OUT, "--measured", "m.csv").code == 0
    assert data(bankwidth("compare", "h100", "m.csv", "--json"))


def test_what_is_exported_comes_back(bankwidth: Any) -> None:
    assert bankwidth("trace", "make", "gpt2", "a.jsonl").code == 0
    assert bankwidth("trace", "export", "a.jsonl", "a.0.et").code == 0
    assert bankwidth("trace", "import", "a.0.et", "b.jsonl").code == 0
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


def test_a_table_says_what_it_cannot_hold(bankwidth: Any) -> None:
    assert bankwidth("trace", "make", "gpt2", "a.jsonl").code == 0
    lost = data(bankwidth("trace", "export", "a.jsonl", "a.csv", "--json"))["lost"]
    assert any("dependencies" in sentence for sentence in lost)
    assert data(bankwidth("ops", "h200", "a.csv", "--json"))


def test_the_folder_of_a_run_becomes_a_timeline(bankwidth: Any) -> None:
    assert bankwidth("run", "h200", "gpt2", "--out", "run").code == 0
    for name in ("t.json", "t.pftrace"):
        assert bankwidth("trace", "export", "run", name).code == 0
        assert Path(name).stat().st_size > 1000
    assert bankwidth("trace", "make", "gpt2", "a.jsonl").code == 0
    assert bankwidth("trace", "export", "a.jsonl", "a.et", "--run", "run").code == 0
    assert bankwidth("trace", "export", "a.jsonl", "a.json", "--run", "run").code == 2


@pytest.mark.parametrize("file", CHAKRA, ids=lambda file: file.name)
def test_the_sample_is_read(file: Path, bankwidth: Any) -> None:
    assert data(bankwidth("trace", "show", file, "--json"))["operators"]


def test_nothing_is_overwritten(bankwidth: Any) -> None:
    Path(OUT).write_text("mine")
    for arguments in (("make", "gpt2", OUT), ("import", RECORDED, OUT)):
        ran = bankwidth("trace", *arguments)
        assert (ran.code, Path(OUT).read_text()) == (2, "mine")
        assert "--force" in ran.err


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('{"schemaVersion": 1, "traceEvents": [{"ph": "X", "cat": ', "t.pt.trace.json", ":1:"),
        ("hello", "t.json", "no format of traces"),
        ("", "t.et", "empty"),
        ('{"format": "bankwidth-trace", "version": 1}', "t.jsonl", ":1"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_place(
    text: str, name: str, message: str, bankwidth: Any
) -> None:
    Path(name).write_text(text)
    ran = bankwidth("trace", "import", name, OUT)
    assert (ran.code, ran.out) == (2, "")
    assert name in ran.err and message in ran.err  # noqa: PT018 - the message is one thing
    assert not Path(OUT).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dim", "batch"), "need NAME=SIZE"),
        (("--ranks", "2"), "no option 'ranks'"),
        (("--format", "kinto"), "did you mean 'kineto'"),
        (("--step", "99"), "99"),
    ],
)
def test_options_that_are_wrong_are_named(
    arguments: tuple[str, ...], message: str, bankwidth: Any
) -> None:
    ran = bankwidth("trace", "import", RECORDED, OUT, *arguments)
    assert ran.code == 2
    assert message in ran.err


def test_techniques_are_of_models_not_of_traces(bankwidth: Any) -> None:
    assert bankwidth("trace", "make", "gpt2", OUT, "--with", "paged", "--tp", "2").code == 0
    shown = data(bankwidth("trace", "show", OUT, "--json"))
    assert shown["meta"]["techniques"] == "paged, parallel:tensor=2"
    ran = bankwidth("run", "h100", OUT, "--with", "paged")
    assert ran.code == 2
    assert "is a trace" in ran.err


def test_a_technique_that_is_unknown_is_named_with_its_column(bankwidth: Any) -> None:
    ran = bankwidth("run", "h100", "gpt2", "--with", "pagd")
    assert ran.code == 2
    assert "--with pagd:1:8: pagd: unknown key 'pagd'" in ran.err


def test_check_looks_at_the_model_of_a_workload(bankwidth: Any) -> None:
    file = Path("mine.yaml")
    text = (ROOT / "workloads" / "llama-2-7b.yaml").read_text()
    file.write_text(text)
    assert bankwidth("check", file).code == 0
    file.write_text(text.replace("hidden_size: 4096", "hidden_siz: 4096"))
    ran = bankwidth("check", file)
    assert ran.code == 2
    assert "hidden_size is missing, did you mean 'hidden_siz'?" in ran.err
