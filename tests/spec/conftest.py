"""Files in a folder of their own, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from bankwidth.spec import check_file

Write = Callable[[str, str], Path]
Said = Callable[[str], list[str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file below the current folder; its path is relative, as users type it."""
    monkeypatch.chdir(tmp_path)

    def to(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return to


@pytest.fixture
def said(write: Write) -> Said:
    """What is wrong with a text, one line per mistake."""
    return lambda text: [str(problem) for problem in check_file(write("f.yaml", text))]
