"""What equal devices send each other, for engines that have no links of their own to do it.

All devices reach each other through one switch, each by its own port. A reduction is a direct
exchange of parts followed by one of the sums; what a device receives it receives part by part.
"""

from __future__ import annotations

from typing import Protocol

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task
from bankwidth.operators import OUTSIDE, Collective, Operator
from bankwidth.spec.parallel import ParallelSpec
from bankwidth.units import ns_to_ps

BITS = 8
# Exchanges of parts that a function consists of; a message to one neighbour is no part of a whole.
_EXCHANGES = {"all_reduce": 2, "all_gather": 1, "reduce_scatter": 1, "all_to_all": 1}


class EngineLowering(Protocol):
    """What an engine kind does with an operator (see build.py)."""

    def supports(self, op: Operator) -> bool:
        """Whether the engine can run the operator at all."""

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """Tasks that run one after the other."""


class WithExchanges:
    """An engine that also sees to what passes between the devices."""

    def __init__(self, engine: EngineLowering, parallel: ParallelSpec) -> None:
        self._engine = engine
        self._parallel = parallel

    def supports(self, op: Operator) -> bool:
        """What the engine runs, and collectives."""
        return isinstance(op, Collective) or self._engine.supports(op)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """A collective is one task, bound by the device's port."""
        if not isinstance(op, Collective) or self._engine.supports(op):
            return self._engine.lower(op, index, engine, context)
        messages = exchanges_bytes(op)
        sent_bytes = sum(self._parallel.sent_bytes(size) for parts in messages for size in parts)
        took_ns = sum(self._parallel.transfer_ns(*parts) for parts in messages)
        if op.layer == OUTSIDE and op.function == "send_recv":  # out of the devices
            took_ns += self._parallel.host_latency_ns
        return [
            Task(
                name=op.name,
                operator=index,
                engine=engine,
                deps=(),
                compute_ps=ns_to_ps(took_ns),
                ideal_ps=ns_to_ps(sent_bytes / self._parallel.link.bandwidth_bytes_per_ns),
                counts={"link": sent_bytes * BITS},
                detail=f"{op.function} among {op.ways}",
            )
        ]


def exchanges_bytes(op: Collective) -> list[list[float]]:
    """Messages that a device sends, exchange by exchange."""
    if op.function == "send_recv":
        return [[float(op.size_bytes)]]
    part = op.size_bytes / op.ways
    return [[part] * (op.ways - 1)] * _EXCHANGES[op.function]
