"""What docs/ tells to type works as it stands, and its examples are in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [page.read_text(encoding="utf-8") for page in PAGES]
COMMANDS = [
    shlex.split(line, comments=True)
    for text in TEXTS
    for line in re.findall(r"^    (bankwidth .*)$", text, flags=re.MULTILINE)
]
PYTHON = [code for text in TEXTS for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:4]))
def test_commands(command: list[str], bankwidth: Any) -> None:
    ran = bankwidth(*command[1:])
    assert ran.code == 0, ran.err


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
