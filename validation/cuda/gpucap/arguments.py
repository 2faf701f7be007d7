"""Options that capture.py and capture_model.py share."""

from __future__ import annotations

import argparse

from gpucap.assumed import GPUS
from gpucap.options import ATTENTION, COLD, FUSED, MOE, TIMING, Options


def add_running(parser: argparse.ArgumentParser) -> None:
    """Device, library choices, repeats and power."""
    default = Options()
    add = parser.add_argument
    add("--device", default="cuda", help="cuda, cuda:N, or cpu to try the tool itself")
    add("--attention", choices=ATTENTION, default=default.attention, help="who runs attention")
    add(
        "--fused",
        choices=FUSED,
        default=default.fused,
        help="silu_mul and rope: one kernel or eager",
    )
    add("--timing", choices=TIMING, default=default.timing, help="CUDA graph, or calls on a stream")
    add("--repeats", type=_count, default=default.repeats, help="launches timed, at most")
    add("--warmup-seconds", type=_seconds, default=default.warmup_seconds)
    add("--power-seconds", type=_seconds, default=default.power_seconds,
        help="how long a row runs on for power and sustained clock; 0: not at all")  # fmt: skip
    add("--seed", type=int, default=default.seed, help="of the operands")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """The dry run."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print the plan; needs neither torch nor a GPU")
    add("--assume", default="h100", metavar="GPU",
        help=f"GPU of the estimates of a dry run: {', '.join(GPUS)}")  # fmt: skip


def add_operators(parser: argparse.ArgumentParser) -> None:
    """Choices that only single operators have."""
    default = Options()
    add = parser.add_argument
    add("--moe", choices=MOE, default=default.moe, help="one grouped product or one per expert")
    add("--cold", choices=COLD, default=default.cold,
        help="what comes from memory: weights and KV (activations are reused), or all")  # fmt: skip
    add("--kernel-names", action="store_true", help="record the kernels started (profiler)")


def options_of(arguments: argparse.Namespace) -> Options:
    names = set(Options.__dataclass_fields__) & vars(arguments).keys()
    return Options(**{name: getattr(arguments, name) for name in names})


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return value
