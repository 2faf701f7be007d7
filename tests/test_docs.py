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
