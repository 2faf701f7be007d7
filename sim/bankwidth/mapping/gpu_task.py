"""A kernel of a GPU as a task of the system, and what the L2 spares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import Operator, Tensor
from bankwidth.units import ns_to_ps


def activations_in_l2(chip: Chip, op: Operator) -> bool:
    """They were just written by other kernels; the L2 holds them if it has room for all."""
    return chip.stays_in_l2(activation_bytes(op))


def activation_bytes(op: Operator) -> int:
    """What an operator reads and writes of them."""
    return sum(t.size_bytes for t in (*op.inputs, *op.outputs) if t.role == "activation")


def shares(tensors: Iterable[Tensor], size_bytes: int) -> Iterator[tuple[Tensor, int]]:
    """`size_bytes` shared out over the tensors by their size; nothing where there is nothing."""
    chosen = list(tensors)
    total = sum(t.size_bytes for t in chosen)
    for tensor in chosen if size_bytes > 0 else ():
        yield tensor, max(1, size_bytes * tensor.size_bytes // total)


def kernel_task(
    cost: KernelCost,
    *,
    name: str,
    operator: int,
    engine: str,
    launch_ns: float,
    loads: Iterable[Transfer],
    stores: Iterable[Transfer],
    counts: Mapping[str, float],
) -> Task:
    """`operator` is its index in the trace; what it waits for is filled in by the plan."""
    return Task(
        name=name,
        operator=operator,
        engine=engine,
        deps=(),
        launch_ps=ns_to_ps(launch_ns + cost.start_ns),
        compute_ps=ns_to_ps(cost.compute_ns),
        ideal_ps=ns_to_ps(cost.ideal_ns),
        overlap=cost.overlap,
        drain_ps=ns_to_ps(cost.drain_ns),
        loads=tuple(sorted(loads, key=lambda load: not load.ahead)),  # those that go ahead first
        stores=tuple(stores),
        counts=counts,
        detail=f"{cost.label}, {cost.blocks} blocks, {cost.waves} waves",
    )
