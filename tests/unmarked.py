"""The shipped descriptions without their marks (`fit:`), for tests that set marks of their own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

_FOLDER = TemporaryDirectory(prefix="bankwidth-")  # gone with the process
UNMARKED = Path(_FOLDER.name) / "arch"
GPU = UNMARKED / "devices" / "gpu" / "h200-sxm.yaml"
MACHINE = UNMARKED / "h200.yaml"


def _copy() -> None:
    shutil.copytree(Path(__file__).parents[1] / "arch", UNMARKED)
    for path in UNMARKED.rglob("*.yaml"):
        text = re.sub(r",?\s*\bfit: \[[^\]]*\]", "", path.read_text())
        named = rf"device: {UNMARKED.as_posix()}/devices/\1.yaml"
        path.write_text(re.sub(r"device: ((?:gpu|dram)/[\w-]+)", named, text))


_copy()
