"""Time layers and whole steps of models on a GPU, in CUDA graphs, with power.

    python validation/cuda/capture_model.py --out models.csv
    python validation/cuda/capture_model.py --models llama-3-8b --batches 1 8 --out models.csv
    python validation/cuda/capture_model.py --dry-run

Weights are random, shapes real. `layer` runs four layers in a row and gives the time of one; `step`
runs the whole model from token numbers to logits. Exit codes as of capture.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from gpucap.arguments import add_planning, add_running, options_of
from gpucap.assumed import AssumedGpu, assumed_gpu
from gpucap.machine import Machine, open_machine, torch_module
from gpucap.measure import Failed
from gpucap.model_plan import PARTS, PHASES, Point, make_points
from gpucap.model_run import MODEL_COLUMNS, MODEL_KEY, measure_model, model_head
from gpucap.models import MODELS, find_model
from gpucap.options import MOE, Options
from gpucap.problems import CHECK_FAILED, DONE, CaptureError, exit_code_of, note
from gpucap.results import ResultFile, key_of


def main() -> int:
    arguments = _parser().parse_args()
    options = options_of(arguments)
    points = make_points(
        [find_model(name) for name in arguments.models],
        arguments.parts,
        arguments.phases,
        arguments.batches,
        arguments.contexts,
    )
    if arguments.dry_run:
        print("\n".join(plan_lines(points, assumed_gpu(arguments.assume), options.power_seconds)))
        return DONE
    if arguments.out is None:
        raise CaptureError("--out FILE.csv is needed (or --dry-run)")
    return _capture(points, options, arguments)


def plan_lines(points: list[Point], gpu: AssumedGpu, power_seconds: float) -> list[str]:
    """A line per point, then the sums."""
    lines, run = [], []
    for point in points:
        refusal = point.refusal(gpu.memory_bytes)
        if refusal is None:
            run.append(point)
        size = f"{point.memory_bytes / 1e9:6.1f} GB"
        lines.append(f"{size}  {point.label()}" + (f": not run: {refusal}" if refusal else ""))
    minutes = sum(point.rough_seconds(gpu, power_seconds) for point in run) / 60
    left_out = len(points) - len(run)
    lines.append(f"{len(run)} points to measure, {left_out} not run; about {minutes:.1f} minutes")
    return lines


def _capture(points: list[Point], options: Options, arguments: argparse.Namespace) -> int:
    machine = open_machine(arguments.device, options)
    identity = {"device": machine.name, "library": machine.library}
    end = None if arguments.seconds is None else time.monotonic() + arguments.seconds
    wrong = 0
    with ResultFile(arguments.out, identity, columns=MODEL_COLUMNS, key=MODEL_KEY) as results:
        for index, point in enumerate(points):
            if end is not None and time.monotonic() > end:
                note(f"{len(points) - index} points left: the same command goes on")
                break
            wrong += _one(point, machine, options, results)
    return CHECK_FAILED if wrong else DONE


def _one(point: Point, machine: Machine, options: Options, results: ResultFile) -> bool:
    """Whether the result was wrong."""
    if key_of(model_head(point, machine, options), MODEL_KEY) in results.done:
        return False
    refusal = point.refusal(machine.memory_bytes)
    row = Failed(f"not run: {refusal}") if refusal else _measured(point, machine, options)
    if isinstance(row, Failed):
        note(f"{point.label()}: {row.problem}")
        return row.is_wrong
    results.append(row)
    return False


def _measured(point: Point, machine: Machine, options: Options) -> dict[str, object] | Failed:
    torch = torch_module()
    try:
        return measure_model(point, machine, options)
    except Exception as error:  # whatever a library says of a shape that it does not run
        machine.synchronize()  # a lost device ends the run here
        return Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    finally:
        if machine.is_cuda:
            torch.cuda.empty_cache()


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE.csv", help="measured table, made or gone on with")
    add("--models", nargs="+", default=list(MODELS), metavar="MODEL", help=", ".join(MODELS))
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    add("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    add("--batches", nargs="+", type=int, default=[1, 8, 32])
    add("--contexts", nargs="+", type=int, default=[512, 1024, 2048])
    add("--moe", choices=MOE, default=Options().moe)
    add("--seconds", type=float, metavar="S", help="stop between points after this long")
    add_running(parser)
    add_planning(parser)
    return parser


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
