"""Error on a GPU none of whose rows were used: its datasheet with another one's kernels.

A machine keeps its own datasheet (SMs, clock, peaks, L2, memory); its kernels get the parameters
that were calibrated on another GPU, carried over as the machines without measurements do it: times
of launches and cycles as they are, the tensor rate as a share of the datasheet's, the operand feed
as a share of the L2's bandwidth per SM (blocks of one cluster, on Hopper two, share their loads),
the stores in proportion to the tensor rate of an SM.

    python validation/gpu/transfer.py ../shared/measured/aiconfigurator
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import bankwidth as bw
from bankwidth.operators import read_table
from bankwidth.spec import GpuSpec, MachineSpec
from bankwidth.validate.gpu_captures import predictor_of

EVERY = 3  # row of a table
CLUSTER = {"h200": 2.0, "h100": 2.0, "a100": 1.0}  # blocks that share their loads
# From, to, table, library of the table.
# fmt: off
CASES = (
    ("h200", "a100", "gemm_a100_sxm_sglang_0.5.10", "sglang"),
    ("h200", "a100", "gemm_a100_sxm_vllm_0.14.0", "vllm"),
    ("a100", "h200", "gemm_h200_sxm_trtllm_1.3.0rc20", "trtllm"),
    ("a100", "h200", "gemm_h200_sxm_vllm_0.24.0", "vllm"),
    ("a100", "h100", "gemm_h100_sxm_vllm_0.24.0", "vllm"),
    ("h200", "h100", "gemm_h100_sxm_vllm_0.24.0", "vllm"),
)
# fmt: on


def gpu_of(machine: MachineSpec) -> GpuSpec:
    gpu = machine.engines["gpu"]
    assert isinstance(gpu, GpuSpec)
    return gpu


def l2_bytes_per_cycle(gpu: GpuSpec) -> float:
    """Of one SM."""
    return gpu.l2_bandwidth_bytes_per_ns / gpu.sms / gpu.clock_ghz


def carried(source: MachineSpec, target: MachineSpec) -> MachineSpec:
    """The target with the source's kernels; tiles, blocks and steps are the target library's."""
    old, new = gpu_of(source), gpu_of(target)
    feed = l2_bytes_per_cycle(new) / l2_bytes_per_cycle(old)
    feed *= CLUSTER[target.name] / CLUSTER[source.name]
    rates = [gpu.tensor_tflops["bf16"] / gpu.sms / gpu.clock_ghz for gpu in (old, new)]
    kept = ("tiles", "blocks", "max_split", "step_bytes")
    kernels = old.matmul.model_copy(
        update={name: getattr(new.matmul, name) for name in kept}
        | {
            "feed_bytes_per_cycle": old.matmul.feed_bytes_per_cycle * feed,
            "store_bytes_per_cycle": old.matmul.store_bytes_per_cycle * rates[1] / rates[0],
        }
    )
    libraries = {
        name: library.model_copy(update={"matmul_start_ns": None})
        for name, library in new.libraries.items()
    }
    changes = {
        "matmul": kernels,
        "libraries": libraries,
        "l2_warm": old.l2_warm,
        "sustained_slowdown": old.sustained_slowdown,
    }
    return target.model_copy(update={"engines": {"gpu": new.model_copy(update=changes)}})


def mape_pct(machine: MachineSpec, table: Path, library: str) -> float:
    """Mean absolute error over every third row."""
    rows = read_table(table)[::EVERY]
    predictor = predictor_of(machine, library)
    ours = np.array([predictor.time(row.operator).latency_s for row in rows])
    measured = np.array([row.latency_s for row in rows], dtype=np.float64)
    return float(100 * np.abs(ours / measured - 1).mean())


def main() -> None:
    folder = Path(sys.argv[1])
    print("| machine | kernels calibrated on | table | mean error |\n| --- | --- | --- | --- |")
    for source, target, table, library in CASES:
        machine = carried(bw.load_arch(source), bw.load_arch(target))
        error = mape_pct(machine, folder / f"{table}.csv.gz", library)
        print(f"| {target} | {source} | {table} | {error:.1f} % |")


if __name__ == "__main__":
    main()
