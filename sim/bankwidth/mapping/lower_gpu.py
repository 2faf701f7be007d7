"""Operators as GPU kernels: the shapes of devices/gpu, with what the L2 already holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.devices.gpu.collective import Exchange, collective_cost, collective_kernel
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.matmul import MatmulShape, matmul_cost
from bankwidth.devices.gpu.timing import IN_A_MODEL, Timing
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.fetching import fetch_task
from bankwidth.mapping.gpu_task import (
    activation_bytes,
    activations_in_l2,
    kernel_task,
    shares,
    stored_instructions,
)
from bankwidth.mapping.lower_attention import AttentionLowering
from bankwidth.mapping.lower_moe import MoeLowering
from bankwidth.mapping.lower_scan import ScanLowering
from bankwidth.mapping.lower_vector import VECTOR_OPERATORS, VectorLowering
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import (
    DTYPE_BITS,
    Attention,
    Collective,
    Fetch,
    Matmul,
    Moe,
    Operator,
    Scan,
    Score,
    packed_bytes,
)
from bankwidth.spec import GpuSpec

MakeTasks = Callable[[Any, int, str, LoweringContext], list[Task]]


class GpuLowering:
    """Kernels of one GPU."""

    def __init__(self, spec: GpuSpec, timing: Timing = IN_A_MODEL) -> None:
        chip, launch_ns = chip_of(spec, timing), spec.launch_ns
        self._chip, self._launch_ns = chip, launch_ns
        attention = AttentionLowering(chip=chip, launch_ns=launch_ns, counts=_counts)
        moe = MoeLowering(chip=chip, launch_ns=launch_ns, counts=_counts)
        scan = ScanLowering(chip=chip, launch_ns=launch_ns, counts=_counts)
        vector = VectorLowering(chip=chip, launch_ns=launch_ns, counts=_counts)
        self._tasks: dict[type[Operator], MakeTasks] = {
            Attention: attention.tasks,
            Moe: moe.tasks,
            Scan: scan.tasks,
            Fetch: _fetch,
            **dict.fromkeys(VECTOR_OPERATORS, vector.tasks),
            **dict.fromkeys(_COSTS, self._kernel),
        }

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One kernel per operator, or several one after the other.

        Raises MappingError for a dtype that the chip lacks, and for kernels or links it has not.
        """
        return self._tasks[type(op)](op, index, engine, context)

    def supports(self, op: Operator) -> bool:
        """Whether an operator has a kernel here."""
        return type(op) in self._tasks

    def repeats(self, op: Operator) -> bool:
        """Whether its tasks are the same wherever it comes: kernels do not know of each other."""
        return True

    def _kernel(
        self, op: Operator, index: int, engine: str, context: LoweringContext
    ) -> list[Task]:
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


def _fetch(op: Fetch, index: int, engine: str, context: LoweringContext) -> list[Task]:
    """Copy engines do it: no kernel is launched."""
    return [fetch_task(op, index, engine, context)]


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
) -> Iterator[Transfer]:
    """`cost.read_bytes` of the inputs that do not sit in the L2."""
    warm = activations_in_l2(chip, op)
    cold = (t for t in op.inputs if not (warm and t.role == "activation"))
    for tensor, part in shares(cold, cost.read_bytes):
        yield from context.transfers(tensor, op.layer, is_write=False, size_bytes=part)


def _stores(
    chip: Chip, op: Operator, cost: KernelCost, context: LoweringContext
) -> Iterator[Transfer]:
    posted = chip.stays_in_l2(cost.write_bytes)
    for tensor, part in shares(op.outputs, cost.write_bytes):
        yield from context.transfers(
            tensor, op.layer, is_write=True, size_bytes=part, posted=posted
        )


def _element_bytes(dtype: str) -> float:
    return DTYPE_BITS[dtype] / 8


def _weight_bytes(op: Matmul) -> float:
    """Of one weight as it is stored: packed, and with the scales of its block."""
    return packed_bytes(op.k * op.n, op.weight_dtype) / (op.k * op.n)


def _weights_in_l2(chip: Chip, op: Operator) -> bool:
    """All copies of the weights that a benchmark goes through; never in a model."""
    copies = chip.timing.weight_copies
    weights = sum(t.size_bytes for t in op.inputs if t.role == "weight")
    return copies > 0 and chip.stays_in_l2(copies * weights + activation_bytes(op))


def _matmul(chip: Chip, op: Matmul) -> KernelCost:
    shape = MatmulShape(
        m=op.m,
        n=op.n,
        k=op.k,
        batch=op.batch,
        dtype=op.dtype,
        x_bytes=_element_bytes(op.dtype),
        w_bytes=_weight_bytes(op),
        y_bytes=_element_bytes(op.out_dtype or op.dtype),
        w_instructions=stored_instructions(op.weight_dtype, op.dtype),
    )
    return matmul_cost(
        chip, shape, x_in_l2=activations_in_l2(chip, op), w_in_l2=_weights_in_l2(chip, op)
    )


def _score(chip: Chip, op: Score) -> KernelCost:
    """A batched product: rows of the cache of each KV head with the queries that share it."""
    values = op.batch * op.n_kv_heads * op.rows * op.width
    shape = MatmulShape(
        m=op.q_len * op.n_heads // op.n_kv_heads,
        n=op.rows,
        k=op.width,
        batch=op.batch * op.n_kv_heads,
        dtype=op.dtype,
        x_bytes=_element_bytes(op.dtype),
        w_bytes=packed_bytes(values, op.kv_dtype) / values,
        y_bytes=_element_bytes(op.dtype),
        w_instructions=stored_instructions(op.kv_dtype, op.dtype),
    )
    warm = activations_in_l2(chip, op)
    return matmul_cost(chip, shape, x_in_l2=warm, w_in_l2=warm and op.kv_role == "activation")


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
    Score: _score,
    Collective: _collective,
}
