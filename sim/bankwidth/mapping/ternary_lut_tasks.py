"""What every lowering to a look-up chip needs: tasks, bytes from and to memory, clocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import Operator
from bankwidth.operators.tensor import Tensor
from bankwidth.spec import TernaryLutSpec
from bankwidth.units import ns_to_ps

CORE, HOST = "core", "host"  # units of the engine
HIDDEN: Final = math.inf  # exponent of bytes and compute that overlap entirely
BITS: Final = 8


class Chip:
    """Clocks and room of one chip."""

    def __init__(self, spec: TernaryLutSpec) -> None:
        self.spec = spec

    def fits(self, tensor: Tensor) -> bool:
        """Whether it stays on the chip between operators."""
        return tensor.size_bytes <= self.spec.activation_bytes

    def lane_blocks(self, elements: int) -> int:
        """Turns of the vector units' lanes."""
        return -(-elements // self.spec.vector.lanes)

    def port_ck(self, size_bytes: int, ports: int) -> int:
        """Clocks of bytes through so many ports."""
        return -(-size_bytes * BITS // (ports * self.spec.ports.width_bits))

    def ck_ps(self, clocks: float) -> int:
        """Time of clocks."""
        return ns_to_ps(clocks / self.spec.clock_ghz)


def task_of(
    name: str,
    *,
    unit: str = CORE,
    launch_ps: int = 0,
    compute_ps: int = 0,
    ideal_ps: int = 0,
    loads: tuple[Transfer, ...] = (),
    stores: tuple[Transfer, ...] = (),
    counts: Mapping[str, float] | None = None,
    detail: str = "",
) -> Task:
    """A task whose bytes and compute overlap entirely; its place is filled in later."""
    return Task(
        name=name,
        operator=0,
        engine="",
        unit=unit,
        deps=(),
        launch_ps=launch_ps,
        compute_ps=compute_ps,
        ideal_ps=ideal_ps,
        overlap=HIDDEN,
        loads=loads,
        stores=stores,
        counts=counts or {},
        detail=detail,
    )


def loads_of(
    tensors: Iterable[Tensor], op: Operator, context: LoweringContext
) -> tuple[Transfer, ...]:
    """All bytes of tensors."""
    return tuple(
        context.transfer(t, op.layer, is_write=False, size_bytes=t.size_bytes) for t in tensors
    )


def stores_of(
    tensors: Iterable[Tensor], op: Operator, context: LoweringContext
) -> tuple[Transfer, ...]:
    """All bytes of tensors; nobody waits for them."""
    return tuple(
        context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
        for t in tensors
    )
