"""The plain numbers of a GPU that kernel costs are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.gpu.collective import Fabric, fabric_of
from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError, did_you_mean
from bankwidth.spec import (
    AttentionSpec,
    GpuSpec,
    MatmulKernelsSpec,
    MoeKernelsSpec,
    VectorKernelsSpec,
)

# Kernels of about this length are slowed halfway to the sustained clock. Assumed: some milliseconds
# are told from each other by no measured table.
SUSTAINED_NS = 2e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One GPU: rates are per streaming multiprocessor (SM), so that waves can be counted."""

    sms: int
    clock_ghz: float
    tensor_flops_per_ns: Mapping[str, float]  # per SM, dense, at the boost clock
    vector_flops_per_ns: Mapping[str, float]  # per SM
    exp_per_ns: float  # special-function results per SM
    l2_bytes: int
    l2_warm: float  # share of the L2 in which activations stay from one kernel to the next
    l2_bytes_per_ns: float  # per SM share of the L2's read bandwidth
    sustained_slowdown: float  # of kernels that run into the power limit
    matmul: MatmulKernelsSpec
    vector: VectorKernelsSpec
    attention: AttentionSpec  # of the library that runs
    moe: MoeKernelsSpec | None = None
    fabric: Fabric | None = None  # links to the other GPUs of the node
    timing: Timing = IN_A_MODEL
    collectives: str = "nccl"  # the library that runs them
    compiles_vectors: bool = False  # norms and functions are those of torch.compile
    tile_m: NDArray[np.int64]  # [tile] rows and columns of the library's output tiles
    tile_n: NDArray[np.int64]
    scaled: Scaled | None = None  # 8-bit products, where they have kernels of their own

    def tensor_rate(self, dtype: str) -> float:
        """Tensor-core FLOPs per ns and SM. Raises MappingError for a dtype the chip lacks."""
        return _rate(self.tensor_flops_per_ns, dtype)

    def vector_rate(self, dtype: str) -> float:
        """Vector FLOPs per ns and SM; 8-bit and narrower types compute at the fp32 rate."""
        return self.vector_flops_per_ns.get(dtype, self.vector_flops_per_ns["fp32"])

    def sustained_ns(self, compute_ns: float) -> float:
        """Compute of a kernel with the clock that the power limit leaves it.

        The chip starts at the boost clock; the regulator needs some milliseconds to answer.
        """
        share = compute_ns / (compute_ns + SUSTAINED_NS)
        return compute_ns * (1 + self.sustained_slowdown * share)

    def stays_in_l2(self, size_bytes: float) -> bool:
        """Whether activations of this size are still there when the next kernel reads them."""
        return size_bytes <= self.l2_bytes * self.l2_warm


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Products of 8-bit operands: x is quantised first. `product` is the chip as they see it."""

    start_ns: float  # of the kernels before the product
    row_ns: float  # per row of x, one after the other
    bytes_per_ns: float  # of x through the kernels before the product
    product: Chip


def _rate(rates: Mapping[str, float], dtype: str) -> float:
    if dtype not in rates:
        known = ", ".join(sorted(rates))
        raise MappingError(
            f"the GPU has no tensor rate for dtype {dtype!r}; it has {known}"
            f"{did_you_mean(dtype, rates)}"
        )
    return rates[dtype]


def chip_of(spec: GpuSpec, timing: Timing = IN_A_MODEL) -> Chip:
    """Rates per SM of a described GPU. 1 TFLOPS is 1000 FLOPs per ns."""
    tile_m, tile_n = _columns(spec.tiles())
    chip = Chip(
        sms=spec.sms,
        clock_ghz=spec.clock_ghz,
        tensor_flops_per_ns={k: v * 1e3 / spec.sms for k, v in _product_tflops(spec).items()},
        vector_flops_per_ns={k: v * 1e3 / spec.sms for k, v in spec.vector_tflops.items()},
        exp_per_ns=spec.exp_per_clock * spec.clock_ghz,
        l2_bytes=spec.l2_bytes,
        l2_warm=spec.l2_warm,
        l2_bytes_per_ns=spec.l2_bandwidth_bytes_per_ns / spec.sms,
        sustained_slowdown=spec.sustained_slowdown,
        matmul=_matmul_of(spec),
        vector=spec.vector_kernels,
        timing=timing,
        attention=spec.kernels.attention,
        collectives=spec.kernels.collectives,
        compiles_vectors=spec.kernels.vector == "compiled",
        moe=spec.moe,
        fabric=fabric_of(spec.interconnect) if spec.interconnect else None,
        tile_m=tile_m,
        tile_n=tile_n,
    )
    return replace(chip, scaled=_scaled(spec, chip))


def _scaled(spec: GpuSpec, chip: Chip) -> Scaled | None:
    described = spec.kernels.scaled
    if described is None:
        return None
    tile_m, tile_n = _columns(spec.tiles_of(described.kernels))
    product = replace(chip, matmul=described.kernels, tile_m=tile_m, tile_n=tile_n)
    return Scaled(
        start_ns=described.start_ns,
        row_ns=described.row_ns,
        bytes_per_ns=described.bandwidth_bytes_per_ns,
        product=product,
    )


def _product_tflops(spec: GpuSpec) -> dict[str, float]:
    """Of matrix products: fp32 runs on the vector units where the tensor cores have no rate."""
    return {"fp32": spec.vector_tflops["fp32"], **spec.tensor_tflops}


def _matmul_of(spec: GpuSpec) -> MatmulKernelsSpec:
    start_ns = spec.kernels.matmul_start_ns
    return (
        spec.matmul if start_ns is None else spec.matmul.model_copy(update={"start_ns": start_ns})
    )


def _columns(tiles: Iterable[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = np.array(list(tiles), dtype=np.int64)
    return table[:, 0], table[:, 1]
