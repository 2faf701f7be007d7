"""The steps of a whole capture, as command lines."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucap.problems import note

HERE: Final = Path(__file__).resolve().parent.parent
# Grids that are measured as they are, then those with options of their own.
PLAIN: Final = (
    "gemm", "attention_decode", "attention_prefill", "norm", "elementwise", "kv_append", "moe",
    "gemm_tf32",
)  # fmt: skip
COLD: Final = ("norm", "elementwise")  # once more with activations from memory
# Once more, last of all, for the names of their kernels: a profiler that was on once may cost a
# little ever after, so no time that counts is taken in its process. They end in .txt, so that
# nobody takes them for measured tables.
NAMED: Final = ("gemm", "attention_decode", "attention_prefill")
_SHUFFLE: Final = "1"  # a capture that is stopped holds a fair sample
_POWER_SECONDS: Final = {"grid": "0.3", "power": "3", "models": "2"}


@dataclass(frozen=True, slots=True)
class Stage:
    """A command line; `is_timed` ones take `--seconds`, `is_planned` ones `--dry-run`."""

    name: str
    command: tuple[str, ...]
    is_timed: bool = False
    is_planned: bool = False


def make_stages(out: Path, grids: Path, extra: list[str]) -> list[Stage]:
    """In the order of their worth: what comes first is there if time runs out."""
    stages = [_micro(out)] if has_nvcc() else []
    stages += [_grid(name, name, out, grids, extra) for name in PLAIN[:3]]
    stages.append(_models(out, extra))
    stages += [_grid(name, name, out, grids, extra) for name in PLAIN[3:]]
    cold = [*extra, "--cold", "all"]
    stages += [_grid(f"{name}_cold", name, out, grids, cold) for name in COLD]
    stages.append(_grid("power", "power", out, grids, extra))
    named = [*extra, "--kernel-names", "--repeats", "5", "--power-seconds", "0"]
    stages += [_grid(f"kernels/{name}", name, out, grids, named, ending="txt") for name in NAMED]
    return stages


def has_nvcc() -> bool:
    found = shutil.which("nvcc") is not None
    if not found:
        note("no nvcc: the microbenchmarks are left out")
    return found


def _micro(out: Path) -> Stage:
    folder = str(HERE / "microbench")
    return Stage("micro", ("make", "-C", folder, "run", f"OUT={(out / 'micro').resolve()}"))


def _grid(
    name: str, grid: str, out: Path, grids: Path, extra: list[str], *, ending: str = "csv"
) -> Stage:
    seconds = _POWER_SECONDS["power" if grid == "power" else "grid"]
    command = _script(
        "capture.py", str(grids / f"{grid}.csv"), "--out", str(out / f"{name}.{ending}")
    )
    options = ("--shuffle", _SHUFFLE, "--power-seconds", seconds, *extra)
    return Stage(name, (*command, *options), is_timed=True, is_planned=True)


def _models(out: Path, extra: list[str]) -> Stage:
    command = _script("capture_model.py", "--out", str(out / "models.csv"))
    options = ("--power-seconds", _POWER_SECONDS["models"], *extra)
    return Stage("models", (*command, *options), is_timed=True, is_planned=True)


def draft_stage(out: Path, name: str) -> Stage:
    command = _script(
        "make_arch.py", str(out / "micro"), "--name", name, "--out", str(out / "draft")
    )
    return Stage("draft", command)


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(HERE / name), *arguments)
