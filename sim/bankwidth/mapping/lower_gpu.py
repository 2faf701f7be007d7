"""Operators as GPU kernels: the shapes of devices/gpu, with what the L2 already holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bankwidth.devices.gpu.attention import AttentionShape, decode_cost, prefill_cost
from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.matmul import MatmulShape, matmul_cost
from bankwidth.devices.gpu.vector import vector_cost
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import (
    DTYPE_BITS,
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
    Tensor,
)
from bankwidth.spec import GpuSpec
from bankwidth.units import ns_to_ps


class GpuLowering:
    """Kernels of one GPU."""

    def __init__(self, spec: GpuSpec) -> None:
        self._chip = chip_of(spec)
        self._launch_ps = ns_to_ps(spec.launch_ns)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One kernel per operator. Raises MappingError for a dtype that the chip lacks."""
        cost = _COSTS[type(op)](self._chip, op)
        half_l2 = self._chip.l2_bytes // 2
        return [
            Task(
                name=op.name,
                operator=index,
                engine=engine,
                deps=(),
                launch_ps=self._launch_ps,
                compute_ps=ns_to_ps(cost.compute_ns),
                ideal_ps=ns_to_ps(cost.ideal_ns),
                chunks=cost.chunks,
                loads=_loads(op, cost, half_l2, context),
                stores=_stores(op, cost, context),
                stores_posted=cost.write_bytes <= half_l2,
                counts=_counts(self._chip, op, cost),
                detail=f"{cost.label}, {cost.blocks} blocks, {cost.waves} waves",
            )
        ]

    def supports(self, op: Operator) -> bool:
        """Whether an operator has a kernel here."""
        return type(op) in _COSTS


def _counts(chip: Chip, op: Operator, cost: KernelCost) -> dict[str, float]:
    """What energy is charged for; a byte from the L2 passes shared memory once in and once out."""
    dtype = getattr(op, "dtype", "fp32")
    vector_dtype = dtype if dtype in chip.vector_flops_per_ns else "fp32"
    l2_bits = cost.l2_bytes * 8.0
    counts = {
        f"tensor {dtype}": float(cost.tensor_flops),
        f"vector {vector_dtype}": float(cost.vector_flops),
        "l2": l2_bits,
        "shared": 2 * l2_bits,
    }
    return {item: count for item, count in counts.items() if count}


def _loads(
    op: Operator, cost: KernelCost, l2_held: int, context: LoweringContext
) -> tuple[Transfer, ...]:
    """`cost.read_bytes` shared out over the inputs that do not sit in the L2, by their size."""
    cold = [t for t in op.inputs if not _in_l2(t, l2_held)]
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


def _stores(op: Operator, cost: KernelCost, context: LoweringContext) -> tuple[Transfer, ...]:
    total = sum(t.size_bytes for t in op.outputs)
    if not total or not cost.write_bytes:
        return ()
    return tuple(
        context.transfer(
            t, op.layer, is_write=True, size_bytes=max(1, cost.write_bytes * t.size_bytes // total)
        )
        for t in op.outputs
    )


def _element_bytes(dtype: str) -> float:
    return DTYPE_BITS[dtype] / 8


def _in_l2(tensor: Tensor, l2_held: int) -> bool:
    """An activation was just written by another kernel; half of the L2 may still hold it."""
    return tensor.role == "activation" and tensor.size_bytes <= l2_held


def _activations_in_l2(chip: Chip, op: Operator) -> bool:
    return all(_in_l2(t, chip.l2_bytes // 2) for t in op.inputs if t.role == "activation")


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
    return matmul_cost(chip, shape, x_in_l2=_activations_in_l2(chip, op))


def _attention(chip: Chip, op: Attention) -> KernelCost:
    shape = AttentionShape(
        batch=op.batch,
        q_len=op.q_len,
        kv_len=op.kv_len,
        n_heads=op.n_heads,
        n_kv_heads=op.n_kv_heads,
        head_dim=op.head_dim,
        causal=op.causal,
        flops=op.flops,
        dtype=op.dtype,
        element_bytes=_element_bytes(op.dtype),
        kv_bytes=_element_bytes(op.kv_dtype),
    )
    cost = decode_cost if op.phase == "decode" else prefill_cost
    return cost(chip, shape, q_in_l2=_activations_in_l2(chip, op))


def _vector(chip: Chip, op: Any) -> KernelCost:
    held = chip.l2_bytes // 2
    cold = sum(t.size_bytes for t in op.inputs if not _in_l2(t, held))
    return vector_cost(
        chip,
        label=op.kind,
        dtype=op.dtype,
        flops=op.flops,
        read_bytes=op.read_bytes,
        write_bytes=op.write_bytes,
        dram_read_bytes=min(cold, op.read_bytes),
    )


_COSTS: dict[type[Operator], Callable[[Chip, Any], KernelCost]] = {
    Matmul: _matmul,
    Attention: _attention,
    Norm: _vector,
    Softmax: _vector,
    Elementwise: _vector,
    Rope: _vector,
    Embedding: _vector,
    KvAppend: _vector,
}
