"""Tables of made-up measurements, and a machine that needs 1 ns for each FLOP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bankwidth.errors import MappingError
from bankwidth.operators import Operator
from bankwidth.validate import gpu_layers, gpu_tables
from bankwidth.validate.predict import OperatorTime

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a table below a folder of tables; commas and lines as they are."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "measured" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def one_ns_per_flop(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In place of the simulation; collectives do not run. Gives the operators that were run."""
    ran: list[str] = []

    def time(arch: str, library: str, op: Operator) -> OperatorTime:
        ran.append(op.name)
        if op.kind == "collective":
            raise MappingError(f"{arch}: no collective here")
        return OperatorTime(op.flops * 1e-9, 0.0, "compute")

    for module in (gpu_tables, gpu_layers):
        monkeypatch.setattr(module, "operator_time", time)
    return ran
