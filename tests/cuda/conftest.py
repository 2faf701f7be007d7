"""validation/cuda is no package: its folder goes on the path, its scripts run as processes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
CUDA = ROOT / "validation" / "cuda"
sys.path.insert(0, str(CUDA))

Script = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Runs a script of validation/cuda in an empty folder; torch is hidden unless asked for."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "torch.py").write_text("raise ImportError('hidden by the test')\n")

    def run(name: str, *arguments: object, torch: bool = False) -> subprocess.CompletedProcess[str]:
        path = os.environ.get("PYTHONPATH", "") if torch else str(hidden)
        return subprocess.run(
            [sys.executable, str(CUDA / name), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            check=False,
        )

    return run


@pytest.fixture
def torch() -> ModuleType:
    """Where it is installed; on one thread."""
    module: ModuleType = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Sequence[Mapping[str, object]]], Path]:
    """Writes an operator table."""

    def write(rows: Sequence[Mapping[str, object]]) -> Path:
        names = list(dict.fromkeys(name for row in rows for name in row))
        path = tmp_path / "ops.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write
