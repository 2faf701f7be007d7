"""Norms, functions, rotations, appends, look-ups, convolutions and selections as kernels of a GPU.

Their model is devices/gpu/vector.py.

What the kernel just before has written is still in the L2, as far as that kept it: the input of a
norm, a softmax or an append. All other inputs come from memory, because the weights of a matrix
multiply have passed the L2 since they were written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.vector import missing_share, posted_bytes, vector_cost
from bankwidth.devices.gpu.vector_kernels import VectorKernel, compiled_name, kernel_of, look_up
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.gpu_task import kernel_task
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import (
    Conv,
    Elementwise,
    Embedding,
    KvAppend,
    KvRead,
    Norm,
    Operator,
    Rope,
    Select,
    Softmax,
    Tensor,
    Unpack,
)
from bankwidth.operators.tensor import activation

Counts = Callable[[Chip, Operator, KernelCost], Mapping[str, float]]
# Functions of whole rows, by what runs where rows are not known: blocks that share out elements.
_WITHOUT_ROWS: Final = {
    "silu_mul": "silu", "gelu_mul": "gelu", "relu2_mul": "relu2", "sigmoid_mul": "sigmoid",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorStep:
    """One kernel of an operator, and its tensors.

    `fresh` inputs were written by the kernel just before; `others` come from memory in full.
    """

    name: str
    label: str  # of a kernel in devices/gpu/vector_kernels.py
    kernel: VectorKernel
    rows: int
    width: int
    dtype: str
    flops: int
    fresh: tuple[Tensor, ...] = ()
    others: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...]

    @property
    def read_bytes(self) -> int:
        return sum(t.size_bytes for t in (*self.fresh, *self.others))

    @property
    def write_bytes(self) -> int:
        return sum(t.size_bytes for t in self.outputs)

    def cold(self, chip: Chip) -> list[tuple[Tensor, int]]:
        """Inputs with what of their bytes must come from memory."""
        missing = [(t, int(t.size_bytes * missing_share(chip, t.size_bytes))) for t in self.fresh]
        return [*missing, *((t, t.size_bytes) for t in self.others)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorLowering:
    """What the tasks need of the engine."""

    chip: Chip
    launch_ns: float
    counts: Counts

    def tasks(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One kernel; several one after the other for a sum of more than two inputs."""
        tasks = [self._task(step, op, index, engine, context) for step in steps_of(self.chip, op)]
        return _posted_at_the_end(tasks)

    def _task(
        self, step: VectorStep, op: Operator, index: int, engine: str, context: LoweringContext
    ) -> Task:
        cost = cost_of(self.chip, step)
        return kernel_task(
            cost,
            name=step.name,
            operator=index,
            engine=engine,
            launch_ns=self.launch_ns,
            loads=_loads(self.chip, step, op.layer, context),
            stores=_stores(self.chip, step, op.layer, context),
            counts=self.counts(self.chip, op, cost),
        )


def steps_of(chip: Chip, op: Operator) -> list[VectorStep]:
    """The kernels of an operator; a KeyError for one that is none of these."""
    return _STEPS[type(op)](chip, op)


def cost_of(chip: Chip, step: VectorStep) -> KernelCost:
    """Work of the SMs, and what must come from memory."""
    return vector_cost(
        chip,
        label=step.label,
        dtype=step.dtype,
        flops=step.flops,
        read_bytes=step.read_bytes,
        write_bytes=step.write_bytes,
        dram_read_bytes=sum(size for _, size in step.cold(chip)),
        kernel=step.kernel,
        rows=step.rows,
        width=step.width,
    )


def _posted_at_the_end(tasks: list[Task]) -> list[Task]:
    """What one kernel leaves in the L2 for the next leaves it after the last."""
    *before, last = tasks
    waited = [tuple(t for t in task.stores if not t.posted) for task in before]
    posted = [t for task in before for t in task.stores if t.posted]
    return [
        *(replace(task, stores=kept) for task, kept in zip(before, waited, strict=True)),
        replace(last, stores=(*last.stores, *posted)),
    ]


def _loads(
    chip: Chip, step: VectorStep, layer: int, context: LoweringContext
) -> Iterator[Transfer]:
    for tensor, size in step.cold(chip):
        if size:
            yield from context.transfers(tensor, layer, is_write=False, size_bytes=size)


def _stores(
    chip: Chip, step: VectorStep, layer: int, context: LoweringContext
) -> Iterator[Transfer]:
    """What was written last stays in the L2 for a while; what came before it has to leave."""
    left = step.write_bytes - posted_bytes(chip, step.read_bytes, step.write_bytes)
    for tensor in step.outputs:
        waited = min(left, tensor.size_bytes)
        left -= waited
        whole = context.transfer(tensor, layer, is_write=True, size_bytes=tensor.size_bytes)
        if waited:
            yield replace(whole, size_bytes=waited)
        if waited < tensor.size_bytes:
            yield replace(
                whole,
                address=whole.address + waited,
                size_bytes=tensor.size_bytes - waited,
                posted=True,
            )


def _step(chip: Chip, op: Any, label: str, rows: int, width: int, **changes: Any) -> VectorStep:
    """The kernel of a name as the chip's library has it, with all inputs from memory."""
    name = compiled_name(label) if chip.compiles_vectors else label
    values: dict[str, Any] = {
        "name": op.name,
        "kernel": kernel_of(name),
        "dtype": op.dtype,
        "flops": op.flops,
        "others": op.inputs,
        "outputs": op.outputs,
    }
    return VectorStep(label=name, rows=rows, width=width, **(values | changes))


def _norm(chip: Chip, op: Norm) -> list[VectorStep]:
    x, *parameters = op.inputs
    return [_step(chip, op, op.style, op.rows, op.width, fresh=(x,), others=tuple(parameters))]


def _softmax(chip: Chip, op: Softmax) -> list[VectorStep]:
    return [_step(chip, op, op.kind, op.rows, op.width, fresh=op.inputs, others=())]


def _rope(chip: Chip, op: Rope) -> list[VectorStep]:
    return [_step(chip, op, op.kind, op.tokens, op.heads * op.head_dim)]


def _kv_append(chip: Chip, op: KvAppend) -> list[VectorStep]:
    width = sum(tensor.elements for tensor in op.inputs) // op.tokens  # keys and values
    return [_step(chip, op, op.kind, op.tokens, width, fresh=op.inputs, others=())]


def _embedding(chip: Chip, op: Embedding) -> list[VectorStep]:
    kernel, rows, width = look_up(op.tokens, op.width)
    return [_step(chip, op, op.kind, rows, width, kernel=kernel)]


def _elementwise(chip: Chip, op: Elementwise) -> list[VectorStep]:
    if op.num_inputs > 2 and op.function == "add":
        return _sum(chip, op)
    if op.rows is None:
        label = _WITHOUT_ROWS.get(op.function, op.function)
        return [_step(chip, op, label, 1, op.elements)]
    return [_step(chip, op, op.function, op.rows, op.elements // op.rows)]


def _sum(chip: Chip, op: Elementwise) -> list[VectorStep]:
    """One addition after the other, each of the sum so far and one more input."""
    first, *more = op.inputs
    last = len(more)
    steps: list[VectorStep] = []
    for number, added in enumerate(more, start=1):
        partial = activation(f"{op.name}.sum{number}", (op.elements,), op.dtype)
        before = steps[-1].outputs if steps else ()
        step = _step(
            chip,
            op,
            op.function,
            1,
            op.elements,
            name=f"{op.name} {number}",
            flops=op.elements,
            fresh=before,
            others=(added,) if before else (first, added),
            outputs=op.outputs if number == last else (partial,),
        )
        steps.append(step)
    return steps


def _conv(chip: Chip, op: Conv) -> list[VectorStep]:
    return [_step(chip, op, op.kind, op.batch * op.q_len, op.width)]


def _select(chip: Chip, op: Select) -> list[VectorStep]:
    """A block per row, which goes through all of it."""
    return [_step(chip, op, op.kind, op.rows, op.width, fresh=op.inputs, others=())]


def _kv_read(chip: Chip, op: KvRead) -> list[VectorStep]:
    return [_step(chip, op, op.kind, op.tokens, op.width)]


def _unpack(chip: Chip, op: Unpack) -> list[VectorStep]:
    return [_step(chip, op, op.kind, op.rows, op.width)]


_STEPS: Final[dict[type[Operator], Callable[[Chip, Any], list[VectorStep]]]] = {
    Norm: _norm,
    Softmax: _softmax,
    Elementwise: _elementwise,
    Rope: _rope,
    Embedding: _embedding,
    KvAppend: _kv_append,
    Conv: _conv,
    Select: _select,
    KvRead: _kv_read,
    Unpack: _unpack,
}
VECTOR_OPERATORS: Final = tuple(_STEPS)
