"""Seconds that building a model's operator trace takes, one thread.

    python benchmarks/traces.py [--context N] [--models NAME ...]

For each model: wall time of one decode trace, and of one in the generate phase with 100 steps; and
the ratio of the first to the goal (stated below), which is for a model of 100 layers. A model whose
layers are all of one kind is one repeated block; `layered`, made here, has 100 layers of which no
neighbours are equal, so that nothing repeats.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

from bankwidth.operators import make_trace
from bankwidth.spec import load_workload

GOAL_S = 0.2  # of 100 layers
MODELS = ("llama-3.1-405b", "deepseek-v3", "qwen3-next-80b-a3b", "jamba-v0.1", "gemma-2-27b")
LAYERS = 100


@dataclass(frozen=True)
class Layered:
    """Sliding and full attention in turn, 100 layers."""

    name: str = "layered"

    @property
    def config(self) -> dict[str, Any]:
        kinds = ["sliding_attention", "full_attention"] * (LAYERS // 2)
        return {**load_workload("gemma-2-27b").config, "num_hidden_layers": LAYERS,
                "layer_types": kinds}  # fmt: skip


def seconds(workload: Any, **options: Any) -> float:
    """Least of a few."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        make_trace(workload, **options)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--models", nargs="+", default=MODELS)
    arguments = parser.parse_args()
    workloads: list[Any] = [*map(load_workload, arguments.models), Layered()]
    for workload in workloads:
        step = seconds(workload, context=arguments.context)
        steps = seconds(workload, phase="generate", prompt=arguments.context, output=100)
        print(
            f"{workload.name:20} decode {step * 1e3:7.2f} ms, {step / GOAL_S:5.3f} of the goal of "
            f"{GOAL_S} s; 100 steps {steps * 1e3:8.1f} ms"
        )


if __name__ == "__main__":
    main()
