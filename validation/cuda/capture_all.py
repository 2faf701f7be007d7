"""Everything: microbenchmarks, grids, models, draft of the machine, README and checksums.

    python validation/cuda/capture_all.py
    python validation/cuda/capture_all.py --dry-run
    python validation/cuda/capture_all.py --seconds 540 --only gemm models

Writes traces/gpu/DEVICE/ of this checkout unless --out says otherwise. The same command goes on
where it was stopped. Options that are not known here are handed on to capture.py and to
capture_model.py (--attention flash_attn). Exit codes: 0 done, 1 a stage failed, 2 wrong input.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gpucap.folder import folder_name, write_readme, write_sums
from gpucap.grid_points import GRIDS
from gpucap.machine import open_machine
from gpucap.options import Options
from gpucap.problems import (
    CHECK_FAILED,
    DONE,
    WRONG_INPUT,
    CaptureError,
    did_you_mean,
    exit_code_of,
    note,
)
from gpucap.stages import HERE, Stage, draft_stage, make_stages
from grids import write_grid

TRACES = HERE.parent.parent / "traces" / "gpu"
LEAST_SECONDS = 5.0  # under which no further stage is started


def main() -> int:
    arguments, extra = _parser().parse_known_args()
    out = arguments.out or _folder_of_device(arguments.device, is_dry=arguments.dry_run)
    extra = ["--device", arguments.device, *extra]
    with tempfile.TemporaryDirectory() as grids:
        for name in GRIDS:
            write_grid(name, Path(grids) / f"{name}.csv")
        stages = _chosen(make_stages(out, Path(grids), extra), arguments.only)
        if arguments.dry_run:
            return _plan(stages)
        code = _run(stages, arguments.seconds)
    if code == WRONG_INPUT:
        return code
    return max(code, _finish(out))


def _folder_of_device(device: str, *, is_dry: bool) -> Path:
    if is_dry:
        return TRACES / "DEVICE"
    return TRACES / folder_name(open_machine(device, Options()).name)


def _chosen(stages: list[Stage], only: list[str] | None) -> list[Stage]:
    names = [stage.name for stage in stages]
    for name in only or []:
        if name not in names:
            hint = did_you_mean(name, names)
            raise CaptureError(f"unknown stage {name!r}{hint} (known: {', '.join(names)})")
    return [stage for stage in stages if only is None or stage.name in only]


def _plan(stages: list[Stage]) -> int:
    """What would be run, and of the captures the sums of their plans."""
    for stage in stages:
        print(f"{stage.name}: {' '.join(stage.command)}", flush=True)
        if stage.is_planned:
            command = [*stage.command, "--dry-run"]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode != DONE:
                note(ran.stderr.strip())
                return ran.returncode
            print(f"  {ran.stdout.strip().splitlines()[-1]}", flush=True)
    return DONE


def _run(stages: list[Stage], seconds: float | None) -> int:
    """The worst exit code; wrong input ends the run at once."""
    end = None if seconds is None else time.monotonic() + seconds
    worst = DONE
    for stage in stages:
        left = None if end is None else end - time.monotonic()
        if left is not None and left < LEAST_SECONDS:
            note(f"no time left for {stage.name}: the same command goes on")
            break
        note(f"== {stage.name}")
        code = subprocess.run(_command(stage, left), check=False).returncode
        if code == WRONG_INPUT and stage.is_timed:
            return WRONG_INPUT
        worst = max(worst, CHECK_FAILED if code else DONE)
    return worst


def _command(stage: Stage, left: float | None) -> list[str]:
    budget = ["--seconds", f"{left:.0f}"] if stage.is_timed and left is not None else []
    return [*stage.command, *budget]


def _finish(out: Path) -> int:
    """Draft of the machine, if there is none yet, README, checksums."""
    code = DONE
    draft = out / "draft"
    if (out / "micro" / "clock.csv").is_file() and not draft.exists():
        stage = draft_stage(out, folder_name(out.name))
        code = CHECK_FAILED if subprocess.run(stage.command, check=False).returncode else DONE
    if not out.is_dir():
        raise CaptureError(f"{out}: nothing was captured")
    write_readme(out, "make -C validation/cuda all")
    note(f"{write_sums(out)} written")
    return code


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    add = parser.add_argument
    add("--out", type=Path, metavar="FOLDER", help="default: traces/gpu/DEVICE")
    add("--device", default="cuda", help="cuda, cuda:N, or cpu to try the tool itself")
    add("--only", nargs="+", metavar="STAGE", help="these stages alone")
    add("--seconds", type=float, metavar="S", help="stop after about this long")
    add("--dry-run", action="store_true", help="print stages and the sums of their plans")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
