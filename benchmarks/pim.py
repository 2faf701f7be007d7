"""Speed of runs on computing banks, one thread, kernels warm.

    python benchmarks/pim.py [--output 1024]

For each run: seconds of CPU from the machine's description to the result's tables, commands that
its memory issued (all channels), how many of them were passed over because they repeated what was
known, and commands per second of CPU, all of them and those simulated one by one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bankwidth as bw
from bankwidth.simulation import simulate

ARCH = Path(__file__).parents[1] / "arch"
GOAL_S = {"gpt3-xl generate": 20.0, "llama-2-70b decode": 5.0}


def runs(output: int) -> dict[str, tuple[str, str, Mapping[str, Any]]]:
    """Machine, model and arguments of the trace, by a name."""
    generate: Mapping[str, Any] = {"phase": "generate", "prompt": 1, "output": output}
    found: dict[str, tuple[str, str, Mapping[str, Any]]] = {
        "gpt3-xl generate": ("pim-gpt", "gpt3-xl", generate),
        "gpt2-xl decode": ("pim-gpt", "gpt2-xl", {"context": 1024}),
    }
    if (ARCH / "cent-70b.yaml").exists():
        found["llama-2-70b decode"] = ("cent-70b", "llama-2-70b", {"context": 4096})
    return found


def measure(machine: str, model: str, arguments: Mapping[str, Any]) -> str:
    """One line about one run."""
    started = time.process_time()
    trace = bw.make_trace(bw.load_workload(model), **arguments)
    result = simulate(bw.load_arch(machine), trace)
    seconds = time.process_time() - started
    commands = int(result.commands["count"].sum())
    skipped = max(result.provenance["skipped_pct"].values(), default=0.0) / 100.0
    return (
        f"{seconds:7.2f} s {commands:16,d} {100 * skipped:8.2f} % {commands / seconds:14,.0f} "
        f"{commands * (1 - skipped) / seconds:14,.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=int, default=1024, help="tokens that gpt3-xl generates")
    options = parser.parse_args()
    simulate(bw.load_arch("pim-gpt"), bw.make_trace(bw.load_workload("gpt2"), context=300))
    print(f"{'':20}{'CPU':>9}{'commands':>17}{'skipped':>11}{'commands/s':>15}{'simulated/s':>15}")
    for name, run in runs(options.output).items():
        goal = f"  (goal {GOAL_S[name]:g} s)" if name in GOAL_S else ""
        print(f"{name:20}{measure(*run)}{goal}", flush=True)


if __name__ == "__main__":
    main()
