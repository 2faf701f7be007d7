"""The command line starts at once: no heavy module for --help."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numba", "plotly", "pandas", "simpy", "networkx", "numpy")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stderr.strip().splitlines()[-1].split("|"))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"from bankwidth.cli import app\ntry: app({arguments!r})\nexcept SystemExit: pass"
    assert modules_after(code).isdisjoint(HEAVY)


def test_import_is_lazy() -> None:
    assert modules_after("import bankwidth; dir(bankwidth)").isdisjoint(HEAVY)


def test_every_public_name_can_be_had() -> None:
    import bankwidth

    for name in bankwidth.__all__:
        assert getattr(bankwidth, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bankwidth.nothing  # noqa: B018
