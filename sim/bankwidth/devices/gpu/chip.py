"""The plain numbers of a GPU that kernel costs are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bankwidth.errors import MappingError, did_you_mean
from bankwidth.spec import GpuSpec, TileSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One GPU: rates are per streaming multiprocessor (SM), so that waves can be counted."""

    sms: int
    tensor_flops_per_ns: Mapping[str, float]  # per SM, dense, at the boost clock
    vector_flops_per_ns: Mapping[str, float]  # per SM
    exp_per_ns: float  # special-function results per SM
    l2_bytes: int
    l2_bytes_per_ns: float  # per SM share of the L2's read bandwidth
    block_ns: float  # start, prologue and epilogue of one thread block
    stages: int  # tiles of K in flight before the first multiply
    tiles: tuple[TileSpec, ...]

    def tensor_rate(self, dtype: str) -> float:
        """Tensor-core FLOPs per ns and SM. Raises MappingError for a dtype the chip lacks."""
        return _rate(self.tensor_flops_per_ns, dtype)

    def vector_rate(self, dtype: str) -> float:
        """Vector FLOPs per ns and SM; 8-bit and narrower types compute at the fp32 rate."""
        return self.vector_flops_per_ns.get(dtype, self.vector_flops_per_ns["fp32"])


def _rate(rates: Mapping[str, float], dtype: str) -> float:
    if dtype not in rates:
        known = ", ".join(sorted(rates))
        raise MappingError(
            f"the GPU has no tensor rate for dtype {dtype!r}; it has {known}"
            f"{did_you_mean(dtype, rates)}"
        )
    return rates[dtype]


def chip_of(spec: GpuSpec) -> Chip:
    """Rates per SM of a described GPU. 1 TFLOPS is 1000 FLOPs per ns."""
    return Chip(
        sms=spec.sms,
        tensor_flops_per_ns={k: v * 1e3 / spec.sms for k, v in spec.tensor_tflops.items()},
        vector_flops_per_ns={k: v * 1e3 / spec.sms for k, v in spec.vector_tflops.items()},
        exp_per_ns=spec.exp_per_clock * spec.clock_ghz,
        l2_bytes=spec.l2_bytes,
        l2_bytes_per_ns=spec.l2_bandwidth_bytes_per_ns / spec.sms,
        block_ns=spec.block_ns,
        stages=spec.stages,
        tiles=tuple(spec.tiles),
    )
