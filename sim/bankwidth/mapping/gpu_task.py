"""A kernel of a GPU as a task of the system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.units import ns_to_ps


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
        loads=tuple(loads),
        stores=tuple(stores),
        counts=counts,
        detail=f"{cost.label}, {cost.blocks} blocks, {cost.waves} waves",
    )
