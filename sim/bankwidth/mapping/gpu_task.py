"""A kernel of a GPU as a task of the system, and what the L2 spares it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.dequantise import CODED, conversion_instructions
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import DTYPE_BITS, Operator, Tensor
from bankwidth.units import ns_to_ps

# How the names of dtypes begin that are multiplied as they are stored.
FLOATS: Final = ("fp", "bf", "tf")
_KEPT: Final = re.compile(r"_([0-9]+)of([0-9]+)")


def stored_instructions(stored: str, dtype: str) -> float:
    """Instructions that make a value of `dtype` of one as it is stored; none of one that is.

    Of N:M sparse formats, for each value of the dense matrix: those that are 0 are not converted.
    """
    if stored.startswith(FLOATS) or not dtype.startswith(FLOATS):
        return 0.0
    if stored == "dfloat11":
        return CODED
    kept = _KEPT.search(stored)
    share = int(kept[1]) / int(kept[2]) if kept else 1.0
    is_ternary = stored == "ternary"
    return share * conversion_instructions(DTYPE_BITS[stored], in_powers_of_three=is_ternary)


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
