"""The command line as a fixture; hypothesis without deadlines, and in CI the same examples.

Machines differ in speed and the first example of a kernel compiles it, so a deadline says nothing.
A red CI must mean that the change broke something; new examples are looked for everywhere else.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import settings

from bankwidth.__main__ import main
from bankwidth.kernel_cache import prepare

prepare()  # before numba: one kernel calls another, so that only a folder per version is safe

settings.register_profile("everywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "everywhere")


class Ran:
    """Exit code and output of one command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def refused(self, *parts: str) -> None:
        """Exit code 2, one message with these parts, nothing on stdout, no stack trace."""
        assert self.code == 2, self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        for part in parts:
            assert part in self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bankwidth(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["bankwidth", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
