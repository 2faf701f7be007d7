"""Operators as GPU kernels: the shapes of devices/gpu, with what the L2 already holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.devices.gpu.collective import Exchange, collective_cost, collective_kernel
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.matmul import MatmulShape, matmul_cost
from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import kernel_task
from bankwidth.mapping.lower_attention import AttentionLowering
from bankwidth.mapping.lower_moe import MoeLowering
from bankwidth.mapping.lower_vector import VectorLowering
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import (
    DTYPE_BITS,
    Attention,
    Collective,
    Matmul,
    Moe,
    Operator,
    Tensor,
)
from bankwidth.spec import GpuSpec


class GpuLowering:
    """Kernels of one GPU."""

    def __init__(self, spec: GpuSpec, timing: Timing = IN_A_MODEL) -> None:
        self._chip = chip_of(spec, timing)
        self._launch_ns = spec.launch_ns
        self._attention = AttentionLowering(
            chip=self._chip, launch_ns=spec.launch_ns, counts=_counts
        )
        self._moe = MoeLowering(
            chip=self._chip, kernels=spec.moe, launch_ns=spec.launch_ns, counts=_counts
        )
        self._vector = VectorLowering(chip=self._chip, launch_ns=spec.launch_ns, counts=_counts)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One kernel per operator, more for a mixture of experts.

        Raises MappingError for a dtype that the chip lacks, and for kernels or links it has not.
        """
        if isinstance(op, Moe):
            return self._moe.tasks(op, index, engine, context)
        if isinstance(op, Attention):
            return self._attention.tasks(op, index, engine, context)
        if self._vector.supports(op):
            return self._vector.tasks(op, index, engine, context)
        cost = _COSTS[type(op)](self._chip, op)
        return [
            kernel_task(
                cost,
                name=op.name,
                operator=index,
                engine=engine,
                launch_ns=self._launch_ns,
                loads=_loads(self._chip, op, cost, context),
                stores=_stores(self._chip, op, cost, context),
                counts=_counts(self._chip, op, cost),
            )
        ]

    def supports(self, op: Operator) -> bool:
        """Whether an operator has a kernel here."""
        known = isinstance(op, Attention | Moe) or type(op) in _COSTS
        return known or self._vector.supports(op)


def _counts(chip: Chip, op: Operator, cost: KernelCost) -> dict[str, float]:
    """What energy is charged for; a byte from the L2 goes into shared memory and out of it."""
    dtype = getattr(op, "dtype", "fp32")
    vector_dtype = dtype if dtype in chip.vector_flops_per_ns else "fp32"
    l2_bits = cost.l2_bytes * 8.0
    counts = {
        f"tensor {dtype}": float(cost.tensor_flops),
        f"vector {vector_dtype}": float(cost.vector_flops),
        "l2": l2_bits,
        "shared": 2 * l2_bits,
        "sm": l2_bits,
        "link": cost.link_bytes * 8.0,
    }
    return {item: count for item, count in counts.items() if count}


def _loads(
    chip: Chip, op: Operator, cost: KernelCost, context: LoweringContext
) -> tuple[Transfer, ...]:
    """`cost.read_bytes` shared out over the inputs that do not sit in the L2, by their size."""
    if not cost.read_bytes:
        return ()
    warm = _activations_in_l2(chip, op)
    cold = [t for t in op.inputs if not (warm and t.role == "activation")]
    sizes = [t.size_bytes for t in cold]
    total = sum(sizes)
    if not total:
        return ()
    return tuple(
        context.transfer(
            t, op.layer, is_write=False, size_bytes=max(1, cost.read_bytes * size // total)
        )
        for t, size in zip(cold, sizes, strict=True)
    )


def _stores(
    chip: Chip, op: Operator, cost: KernelCost, context: LoweringContext
) -> tuple[Transfer, ...]:
    total = sum(t.size_bytes for t in op.outputs)
    if not total or not cost.write_bytes:
        return ()
    return tuple(
        context.transfer(
            t,
            op.layer,
            is_write=True,
            size_bytes=max(1, cost.write_bytes * t.size_bytes // total),
            posted=chip.stays_in_l2(cost.write_bytes),
        )
        for t in op.outputs
    )


def _element_bytes(dtype: str) -> float:
    return DTYPE_BITS[dtype] / 8


def _activations_in_l2(chip: Chip, op: Operator) -> bool:
    """They were just written by other kernels; the L2 holds them if it has room for all."""
    return chip.stays_in_l2(_activation_bytes((*op.inputs, *op.outputs)))


def _weights_in_l2(chip: Chip, op: Operator) -> bool:
    """All copies of the weights that a benchmark goes through; never in a model."""
    copies = chip.timing.weight_copies
    weights = sum(t.size_bytes for t in op.inputs if t.role == "weight")
    others = _activation_bytes((*op.inputs, *op.outputs))
    return copies > 0 and chip.stays_in_l2(copies * weights + others)


def _activation_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.size_bytes for t in tensors if t.role == "activation")


def _matmul(chip: Chip, op: Matmul) -> KernelCost:
    shape = MatmulShape(
        m=op.m,
        n=op.n,
        k=op.k,
        batch=op.batch,
        dtype=op.dtype,
        x_bytes=_element_bytes(op.dtype),
        w_bytes=_element_bytes(op.weight_dtype),
        y_bytes=_element_bytes(op.out_dtype or op.dtype),
    )
    return matmul_cost(
        chip, shape, x_in_l2=_activations_in_l2(chip, op), w_in_l2=_weights_in_l2(chip, op)
    )


def _collective(chip: Chip, op: Collective) -> KernelCost:
    if chip.fabric is None:
        raise MappingError(
            f"collective {op.name!r}: the GPU has no links to others: its device has no field "
            "'interconnect'"
        )
    exchange = Exchange(
        function=op.function,
        size_bytes=op.size_bytes,
        ways=op.ways,
        is_float="int" not in (op.dtype or ""),
    )
    cost = collective_cost(chip.fabric, exchange, chip.collectives)
    return collective_kernel(chip.fabric, cost)


_COSTS: dict[type[Operator], Callable[[Chip, Any], KernelCost]] = {
    Matmul: _matmul,
    Collective: _collective,
}
