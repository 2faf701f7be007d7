"""GPUs as their datasheets have them: for estimates before a run, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gpucap.problems import CaptureError, did_you_mean
from gpucap.shapes import Shape

GB: Final = 10**9
MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class AssumedGpu:
    l2_bytes: int
    memory_bytes: int
    bandwidth_bytes_per_s: float
    tensor_flops_per_s: float  # dense bf16; fp16 on those without


# fmt: off
GPUS: Final = {
    #                    L2         memory    bandwidth  tensor
    "h200":  AssumedGpu(  50 * MIB, 141 * GB, 4.80e12,    989e12),
    "h100":  AssumedGpu(  50 * MIB,  80 * GB, 3.35e12,    989e12),
    "gh200": AssumedGpu(  50 * MIB,  96 * GB, 4.00e12,    989e12),
    "b200":  AssumedGpu( 126 * MIB, 180 * GB, 8.00e12,   2250e12),
    "a100":  AssumedGpu(  40 * MIB,  80 * GB, 2.04e12,    312e12),
    "l40s":  AssumedGpu(  96 * MIB,  48 * GB, 0.86e12,    362e12),
    "a6000": AssumedGpu(   6 * MIB,  48 * GB, 0.77e12,    155e12),
    "v100":  AssumedGpu(   6 * MIB,  32 * GB, 0.90e12,    125e12),
    "t4":    AssumedGpu(   4 * MIB,  16 * GB, 0.32e12,     65e12),
}
# fmt: on
# Rate of a format in tensor cores, of that of bf16.
_OF_BF16: Final = {"fp8": 2.0, "int8": 2.0, "tf32": 0.5, "fp32": 0.07, "fp64": 0.07}
_LAUNCH_S: Final = 3e-6  # the shortest kernels of the public tables take 2.4 to 3.3 us


def assumed_gpu(name: str) -> AssumedGpu:
    """Raises CaptureError with the known names."""
    if name not in GPUS:
        hint = did_you_mean(name, GPUS)
        raise CaptureError(f"unknown GPU {name!r}{hint} (known: {', '.join(GPUS)})")
    return GPUS[name]


def rough_latency_s(shape: Shape, gpu: AssumedGpu) -> float:
    """The larger of both peaks plus a launch; for plans, no prediction."""
    moved_bytes = shape.cold_bytes + shape.warm_bytes + shape.out_bytes
    rate = gpu.tensor_flops_per_s * _OF_BF16.get(shape.dtype, 1.0)
    return _LAUNCH_S + max(moved_bytes / gpu.bandwidth_bytes_per_s, shape.flops / rate)
