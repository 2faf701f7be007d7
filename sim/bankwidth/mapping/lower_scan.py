"""Recurrences as kernels of a GPU: devices/gpu/scan.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.scan import ScanWork, prompt_cost, step_cost
from bankwidth.devices.gpu.vector import missing_share
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import activations_in_l2, kernel_task
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import Scan, Tensor
from bankwidth.operators.tensor import activation

Counts = Callable[[Chip, Scan, KernelCost], Mapping[str, float]]
PASSES = 2  # kernels that write the states of chunks, and that read them


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLowering:
    """What the tasks need of the engine."""

    chip: Chip
    launch_ns: float
    counts: Counts

    def tasks(self, op: Scan, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One task, also where several kernels run. Raises MappingError for an unknown dtype."""
        read = self._read(op)
        between = _between(op)
        missing = int(between.size_bytes * missing_share(self.chip, between.size_bytes))
        work = _work(op, between, sum(t.size_bytes for t in read) + PASSES * missing)
        cost = (
            step_cost(self.chip, work)
            if op.q_len == 1
            else prompt_cost(self.chip, work, self.launch_ns)
        )
        return [
            kernel_task(
                cost,
                name=op.name,
                operator=index,
                engine=engine,
                launch_ns=self.launch_ns,
                loads=[*_moved(read, op, context), *_passed(between, missing, op, context)],
                stores=[
                    *self._stores(op, cost, context),
                    *_passed(between, missing, op, context, is_write=True),
                ],
                counts=self.counts(self.chip, op, cost),
            )
        ]

    def _read(self, op: Scan) -> list[Tensor]:
        """States and parameters, and inputs that the L2 no longer holds."""
        warm = activations_in_l2(self.chip, op)
        return [t for t in op.inputs if not (warm and t.role == "activation")]

    def _stores(self, op: Scan, cost: KernelCost, context: LoweringContext) -> Iterator[Transfer]:
        posted = self.chip.stays_in_l2(cost.write_bytes)
        for tensor in op.outputs:
            yield context.transfer(
                tensor, op.layer, is_write=True, size_bytes=tensor.size_bytes, posted=posted
            )


def _work(op: Scan, between: Tensor, dram_read_bytes: int) -> ScanWork:
    products = op.batch * op.product_flops
    return ScanWork(
        recurrence=op.recurrence,
        is_chunked=op.is_chunked,
        dtype=op.dtype,
        rows=op.batch * op.heads,
        width=op.head_dim * op.state,
        product_flops=products,
        vector_flops=op.flops - products,
        exponentials=_exponentials(op),
        read_bytes=op.read_bytes,
        write_bytes=op.write_bytes,
        between_bytes=PASSES * between.size_bytes,
        dram_read_bytes=dram_read_bytes,
    )


def _exponentials(op: Scan) -> int:
    """Of a selective recurrence one per value and token; in chunks one per pair of tokens and head.

    A gated one has its decays on keys and queries; of an elementwise one they come from a sigmoid.
    """
    tokens = op.batch * op.q_len
    if op.recurrence == "selective":
        return tokens * op.state_elements
    if op.recurrence == "gated":
        return 2 * tokens * op.heads * op.state if op.is_chunked else 0
    return tokens * op.heads * (op.chunk_tokens if op.is_chunked else 1)


def _between(op: Scan) -> Tensor:
    """States at the end of every chunk, which kernels hand on; none without chunks."""
    chunks = -(-op.q_len // op.chunk_tokens) if op.is_chunked else 0
    shape = (op.batch, chunks, op.heads, op.head_dim, op.state)
    return activation(f"{op.name}.chunks", shape, op.state_dtype)


def _moved(tensors: list[Tensor], op: Scan, context: LoweringContext) -> Iterator[Transfer]:
    for tensor in tensors:
        yield from context.transfers(tensor, op.layer, is_write=False, size_bytes=tensor.size_bytes)


def _passed(
    between: Tensor, missing: int, op: Scan, context: LoweringContext, *, is_write: bool = False
) -> Iterator[Transfer]:
    """What of the states of chunks does not stay in the L2, each time that they are handed on."""
    for _ in range(PASSES if missing else 0):
        yield context.transfer(between, op.layer, is_write=is_write, size_bytes=missing)
