"""What docs/ tells to type works as it stands, and its examples are in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from bankwidth.operators.techniques import TECHNIQUES
from bankwidth.spec import load_workload, with_techniques
from bankwidth.spec.techniques import TechniquesSpec

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]
COMMANDS = {
    page.stem: [
        shlex.split(line, comments=True)
        for line in re.findall(r"^    (bankwidth .*)$", text, flags=re.MULTILINE)
    ]
    for page, text in zip(PAGES, TEXTS, strict=True)
}
PYTHON = [code for text in TEXTS for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


@pytest.fixture(autouse=True)
def _beside_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own with what the pages name; commands use the files of those before."""
    for name in ("docs", "traces", "workloads"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", [page for page, commands in COMMANDS.items() if commands])
def test_commands(page: str, bankwidth: Any) -> None:
    for command in COMMANDS[page]:
        ran = bankwidth(*command[1:])
        assert ran.code == 0, f"{shlex.join(command)}\n{ran.err}"


@pytest.mark.parametrize("code", PYTHON)
def test_python(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "docs", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("file", sorted((ROOT / "docs" / "examples").glob("*.yaml")))
def test_examples(file: Path, bankwidth: Any) -> None:
    ran = bankwidth("check", file)
    assert ran.code == 0, ran.err


def test_there_is_something_to_test() -> None:
    assert COMMANDS
    assert PYTHON


SECTIONS = {
    section.split(":")[0].split()[0]: section
    for section in re.split(r"^### ", (ROOT / "docs" / "techniques.md").read_text(), flags=re.M)[1:]
}


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_every_technique_and_option_is_described_with_paper_and_example(technique: Any) -> None:
    section = SECTIONS[technique.name]
    field = TechniquesSpec.model_fields[technique.name]
    options = get_args(field.annotation)[0].model_fields
    assert [name for name in options if name != "source" and f"`{name}`" not in section] == []
    assert f"--with {technique.name}" in section or f"{technique.name}:" in section
    assert re.search(r"\d{4}\.\d{4,5}|ICML|OSDI|SOSP|ISCA", section)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda technique: technique.name)
def test_the_listed_example_of_a_technique_is_in_order(technique: Any) -> None:
    texts = shlex.split(technique.example)
    assert texts[0] == "--with"
    chosen = with_techniques(load_workload("llama-3-8b"), texts[1::2]).techniques
    assert getattr(chosen, technique.name) is not None
