"""Power of an A100 in decode against measured board power of whole models.

Reads `perf_model_a100_h100.csv[.gz]` of Splitwise (Mutinifni/splitwise-sim at 8f99e7d, MIT; Patel
et al., ISCA 2024): mean power of llama2-70b on 2, 4 and 8 A100, as a share of 400 W. Ours is the
dynamic energy of one token on one GPU's shard over the measured time per token, plus the static
power: the model's own time has no gaps between kernels, the measured one has.

    python validation/gpu/power.py perf_model_a100_h100.csv.gz
"""

from __future__ import annotations

import csv
import gzip
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import bankwidth as bw
from bankwidth.units import ps_to_ns

BOARD_W = 400.0  # NVIDIA A100 SXM4 whitepaper; the table gives shares of it
PROMPT, TOKENS = 512, 128  # of the runs compared
# (GPUs, batch) that `sm` and `static` of arch/devices/gpu/a100-sxm.yaml were fitted to.
FITTED = {(2, 1), (8, 1)}
SHARDED = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")


class Run(NamedTuple):
    gpus: int
    batch: int
    power_w: float
    token_ms: float


def measured(path: Path) -> Iterator[Run]:
    """Medians over repeats of each number of GPUs and batch that has a power."""
    rows: dict[tuple[int, int], list[dict[str, str]]] = {}
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for row in csv.DictReader(file):
            if (row["model"], row["hardware"]) != ("llama2-70b", "a100-80gb"):
                continue
            if int(row["prompt_size"]) == PROMPT and float(row["average_power"]) > 0:
                key = int(row["tensor_parallel"]), int(row["batch_size"])
                rows.setdefault(key, []).append(row)
    for (gpus, batch), group in sorted(rows.items()):
        shares = [float(row["average_power"]) for row in group]
        times = [float(row["token_time"]) for row in group]
        yield Run(gpus, batch, BOARD_W * statistics.median(shares), statistics.median(times))


def ours_w(run: Run) -> float:
    """Mean power of one of the GPUs."""
    model = bw.load_workload("llama-2-70b")
    config = {**model.config, "head_dim": 128}
    config |= {field: config[field] // run.gpus for field in SHARDED}
    shard = model.model_copy(update={"config": config})
    trace = bw.make_trace(shard, phase="decode", batch=run.batch, context=PROMPT + TOKENS // 2)
    result = bw.simulate(bw.load_arch("a100"), trace)
    static_w = sum(result.components["energy_static_pj"]) / ps_to_ns(result.latency_ps) * 1e-3
    dynamic_j = sum(result.components["energy_dynamic_pj"]) * 1e-12
    return float(static_w + dynamic_j / (run.token_ms * 1e-3))


def main() -> None:
    print("| GPUs | batch | measured W | ours W | error | |")
    print("| --- | --- | --- | --- | --- | --- |")
    errors = []
    for run in measured(Path(sys.argv[1])):
        ours = ours_w(run)
        error = 100 * (ours / run.power_w - 1)
        is_fitted = (run.gpus, run.batch) in FITTED
        if not is_fitted:
            errors.append(abs(error))
        note = "fitted" if is_fitted else ""
        watts = f"{run.power_w:.0f} | {ours:.0f}"
        print(f"| {run.gpus} | {run.batch} | {watts} | {error:+.1f} % | {note} |")
    print(f"\nMean absolute error of the rows not fitted to: {statistics.mean(errors):.1f} %")


if __name__ == "__main__":
    main()
