"""A mixture of experts as the kernels of a GPU, one task each: devices/gpu/grouped.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.grouped import MoeShape, moe_costs
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import kernel_task, stored_instructions
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import DTYPE_BITS, Moe, Tensor, packed_bytes
from bankwidth.operators.tensor import activation
from bankwidth.operators.vector import FUNCTIONS

Counts = Callable[[Chip, Moe, KernelCost], Mapping[str, float]]
_WEIGHTS: Final = {"up": 0, "down": 1}  # of a Moe, by the kernel that reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeLowering:
    """What the tasks need of the engine."""

    chip: Chip
    launch_ns: float
    counts: Counts

    def tasks(self, op: Moe, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Kernels one after the other.

        Raises MappingError without described kernels, and for a dtype that the chip lacks.
        """
        kernels = self.chip.moe
        if kernels is None:
            raise MappingError(
                f"engine {engine!r} cannot run moe {op.name!r}: its device has no field 'moe'"
            )
        costs = moe_costs(self.chip, kernels, moe_shape(op))
        return [
            kernel_task(
                cost,
                name=f"{op.name} {cost.label.split()[0]}",
                operator=index,
                engine=engine,
                launch_ns=self.launch_ns,
                loads=_loads(op, cost, read, context),
                stores=_stores(self.chip, op, cost, written, context),
                counts=self.counts(self.chip, op, cost),
            )
            for cost, (read, written) in zip(costs, _activations(op), strict=True)
        ]


def moe_shape(op: Moe) -> MoeShape:
    """Bare numbers of the operator."""
    return MoeShape(
        tokens=op.tokens,
        topk=op.topk,
        hidden=op.hidden,
        inter=op.local_inter,
        gated=op.gated,
        loads=op.loads,
        is_shared_out=op.moe_ep > 1,
        function_flops=FUNCTIONS["silu_mul" if op.gated else "silu"][1],
        dtype=op.dtype,
        x_bytes=DTYPE_BITS[op.dtype] / 8,
        w_bytes=_weight_bytes(op),
        w_instructions=stored_instructions(op.weight_dtype, op.dtype),
    )


def _weight_bytes(op: Moe) -> float:
    """Of one weight as it is stored: packed, and with the scales of its block."""
    stored = packed_bytes(op.hidden * op.up_width, op.weight_dtype)
    return stored / (op.hidden * op.up_width)


def _activations(op: Moe) -> Iterator[tuple[Tensor, Tensor]]:
    """What each kernel reads and writes beside weights; rows between them are its own."""
    rows = op.tokens * op.topk
    up, inner, parts = (
        activation(f"{op.name}.{name}", (rows, width), op.dtype)
        for name, width in (("up", op.up_width), ("inner", op.local_inter), ("parts", op.hidden))
    )
    x, logits, *_ = op.inputs
    yield logits, logits
    yield x, up
    yield up, inner
    yield inner, parts
    yield parts, op.outputs[0]


def _loads(op: Moe, cost: KernelCost, read: Tensor, context: LoweringContext) -> Iterator[Transfer]:
    """All of the weights that a product needs; what is left of its bytes are activations."""
    left = cost.read_bytes
    place = _WEIGHTS.get(cost.label.split()[0])
    if place is not None:
        tensor = op.weights[place]
        left -= tensor.size_bytes
        yield context.transfer(tensor, op.layer, is_write=False, size_bytes=tensor.size_bytes)
    if left > 0:
        yield context.transfer(read, op.layer, is_write=False, size_bytes=left)


def _stores(
    chip: Chip, op: Moe, cost: KernelCost, written: Tensor, context: LoweringContext
) -> Iterator[Transfer]:
    if cost.write_bytes:
        yield context.transfer(
            written,
            op.layer,
            is_write=True,
            size_bytes=cost.write_bytes,
            posted=chip.stays_in_l2(cost.write_bytes),
        )
