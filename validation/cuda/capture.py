"""Measure every operator of a table or a trace on a GPU.

    python validation/cuda/capture.py ops.csv --out measured.csv
    python validation/cuda/capture.py llama.jsonl.gz --out measured.csv --attention flash_attn
    python validation/cuda/capture.py ops.csv --dry-run

INPUT is an operator table (CSV, as `bankwidth compare` reads) or an operator trace (as `bankwidth
trace make` writes). Rows are written one at a time; the same command goes on where it was stopped.
Exit codes: 0 done, 1 a result was wrong or the device failed, 2 wrong input or no device.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gpucap.arguments import add_operators, add_planning, add_running, options_of
from gpucap.assumed import assumed_gpu
from gpucap.machine import Machine, open_machine
from gpucap.operator_table import Wanted, read_operator_table
from gpucap.operator_trace import read_operator_trace
from gpucap.options import Options
from gpucap.plan import Planned, make_plan, plan_lines
from gpucap.problems import CHECK_FAILED, DONE, CaptureError, exit_code_of, note
from gpucap.run import Limits, run_plan
from gpucap.textfile import read_text

SHOWN_ROWS = 20


def main() -> int:
    arguments = _parser().parse_args()
    options = options_of(arguments)
    wanted = read_wanted(arguments.input)[: arguments.rows]
    if arguments.dry_run:
        plan = make_plan(wanted, options, assumed_gpu(arguments.assume))
        print("\n".join(plan_lines(plan, most=len(plan) if arguments.verbose else SHOWN_ROWS)))
        return DONE
    if arguments.out is None:
        raise CaptureError("--out FILE.csv is needed (or --dry-run)")
    return _capture(wanted, options, arguments)


def read_wanted(path: Path) -> list[Wanted]:
    """A trace starts with a JSON object, a table with the names of its columns."""
    is_trace = read_text(path).lstrip().startswith("{")
    return read_operator_trace(path) if is_trace else read_operator_table(path)


def _capture(wanted: list[Wanted], options: Options, arguments: argparse.Namespace) -> int:
    machine = open_machine(arguments.device, options)
    plan = plan_for(machine, wanted, options, arguments.assume)
    _tell_refusals(plan)
    limits = Limits(
        seconds=arguments.seconds, shuffle=arguments.shuffle, retry_errors=arguments.retry_errors
    )
    tally = run_plan(plan, machine, options, arguments.out, limits)
    note(f"{arguments.out}: {tally.text()}")
    return CHECK_FAILED if tally.wrong else DONE


def plan_for(
    machine: Machine, wanted: list[Wanted], options: Options, assume: str
) -> list[Planned]:
    """Copies and memory by the device that is there; only the time is that of an assumed one."""
    assumed = assumed_gpu(assume)
    gpu = type(assumed)(
        machine.l2_bytes,
        machine.memory_bytes,
        assumed.bandwidth_bytes_per_s,
        assumed.tensor_flops_per_s,
    )
    return make_plan(wanted, options, gpu)


def _tell_refusals(plan: list[Planned]) -> None:
    for row in plan:
        if row.refusal:
            note(f"line {row.wanted.line}: not run: {row.shape.label()}: {row.refusal}")


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind)
    add = parser.add_argument
    add("input", type=Path, metavar="INPUT", help="operator table or trace, gzip allowed")
    add("--out", type=Path, metavar="FILE.csv", help="measured table, made or gone on with")
    add_running(parser)
    add_operators(parser)
    add_planning(parser)
    add("--verbose", action="store_true", help="every row of the plan")
    add("--rows", type=int, metavar="N", help="the first N rows of the input alone")
    add("--seconds", type=float, metavar="S", help="stop between rows after this long")
    add("--shuffle", type=int, metavar="SEED", help="measure in a random order")
    add("--retry-errors", action="store_true", help="try again what failed in an earlier run")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
