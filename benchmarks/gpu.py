"""Rows of an operator table per second, as `compare`, `calibrate` and `validate gpu` run them.

    python benchmarks/gpu.py

One core, kernels and memory curves warm; shapes are random, no two alike. The goal is 1,000 rows a
second of CPU.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import bankwidth as bw
from bankwidth.devices.gpu.timing import Timing
from bankwidth.operators import Attention, Matmul, Norm, Operator
from bankwidth.validate.predict import Predictor

ROWS = 35_000
GOAL_ROWS_PER_S = 1000.0
SIZES = [2**e for e in range(5, 17)]


def product(rng: random.Random) -> Operator:
    m, n, k = rng.randint(1, 32768), rng.choice(SIZES), rng.choice(SIZES)
    return Matmul(name="gemm", m=m, n=n, k=k, dtype="bf16", weight_dtype="bf16")


def decode(rng: random.Random) -> Operator:
    return Attention(
        name="attention", phase="decode", batch=rng.randint(1, 256), q_len=1,
        kv_len=rng.randint(1, 65536), n_heads=32, n_kv_heads=8, head_dim=128, dtype="bf16",
        kv_dtype="bf16",
    )  # fmt: skip


def norm(rng: random.Random) -> Operator:
    rows, width = rng.randint(1, 65536), 64 * rng.randint(1, 256)
    return Norm(name="norm", rows=rows, width=width, style="rms", dtype="bf16")


CASES: dict[str, Callable[[random.Random], Operator]] = {
    "matmul": product,
    "attention": decode,
    "norm": norm,
}


def rows_per_s(machine: str, make: Callable[[random.Random], Operator]) -> float:
    """Of CPU time, without what is done once."""
    predictor = Predictor(bw.load_arch(machine), Timing(weight_copies=6, replays_attention=True))
    rng = random.Random(0)
    predictor.time(make(rng))
    operators = [make(rng) for _ in range(ROWS)]
    start = time.process_time()
    for op in operators:
        predictor.time(op)
    return ROWS / (time.process_time() - start)


def main() -> None:
    for machine in ("h200", "a100"):
        for name, make in CASES.items():
            speed = rows_per_s(machine, make)
            print(
                f"{machine} {name:<10} {speed:7,.0f} rows/s  {speed / GOAL_ROWS_PER_S:4.1f} x goal"
            )


if __name__ == "__main__":
    main()
