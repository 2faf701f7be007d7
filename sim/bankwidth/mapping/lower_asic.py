"""Operators on a chip of adders and multipliers: what PIM designs put beside their memory.

It also computes products and attention, streaming weights, keys and values from a plain memory:
what the design would be without computing banks.
"""

from __future__ import annotations

import math

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import (
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
)
from bankwidth.spec import AsicSpec, OpsSpec
from bankwidth.units import ns_to_ps

_PRODUCTS = (Matmul, Attention)
_NORMS = {"layer": "layernorm", "rms": "rmsnorm"}


class AsicLowering:
    """Time and counts of vector functions on one chip."""

    def __init__(self, spec: AsicSpec) -> None:
        self._spec = spec

    def supports(self, op: Operator) -> bool:
        """All but mixtures of experts and collectives."""
        return isinstance(op, (*_PRODUCTS, Norm, Softmax, Elementwise, Rope, Embedding, KvAppend))

    def repeats(self, op: Operator) -> bool:
        """An operator's tasks are the same wherever it comes in a trace."""
        return True

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One task per operator."""
        adds, multiplies = self._operations(op)
        return [
            self.task(
                name=op.name,
                index=index,
                engine=engine,
                adds=adds,
                multiplies=multiplies,
                moved_bytes=op.read_bytes + op.write_bytes,
                loads=self._loads(op, context),
                stores=self._stores(op, context),
                overlap=math.inf if isinstance(op, _PRODUCTS) else 1.0,
            )
        ]

    def task(
        self,
        *,
        name: str,
        index: int,
        engine: str,
        adds: float,
        multiplies: float,
        moved_bytes: int,
        loads: tuple[Transfer, ...] = (),
        stores: tuple[Transfer, ...] = (),
        overlap: float = 1.0,
    ) -> Task:
        """A task of so many additions and multiplications, `moved_bytes` through the SRAM.

        Products work on what has arrived while the rest is on its way (`overlap` infinite).
        """
        spec = self._spec
        cycles = max(adds / spec.adders, multiplies / spec.multipliers)
        busy_ns = cycles / spec.clock_ghz
        return Task(
            name=name,
            operator=index,
            engine=engine,
            deps=(),
            compute_ps=ns_to_ps(busy_ns + spec.latency_ns),
            ideal_ps=ns_to_ps(busy_ns),
            loads=loads,
            stores=stores,
            overlap=overlap,
            counts={"add": adds, "mul": multiplies, "sram": moved_bytes * 8.0},
            detail=f"{adds:.0f} additions, {multiplies:.0f} multiplications",
        )

    def softmax_operations(self, rows: int, elements: int) -> tuple[float, float]:
        """(additions, multiplications) of `rows` softmaxes over `elements` in all."""
        return _count(self._spec.softmax_ops, rows, elements)

    def _operations(self, op: Operator) -> tuple[float, float]:
        match op:
            case Norm():
                ops: OpsSpec = getattr(self._spec, f"{_NORMS[op.style]}_ops")
                return _count(ops, op.rows, op.rows * op.width)
            case Softmax():
                return self.softmax_operations(op.rows, op.rows * op.width)
            case Rope():
                elements = op.tokens * op.heads * op.head_dim
                return _count(self._spec.rope_ops, op.tokens * op.heads, elements)
            case Elementwise():
                return self._elementwise(op)
            case Embedding() | KvAppend():
                return 0.0, 0.0
            case Matmul():
                pairs = op.batch * op.m * op.n * op.k
                return float(pairs), float(pairs)
            case Attention():
                return self._attention(op)
        raise MappingError(f"no function of the chip for {op.kind} {op.name!r}")

    def _attention(self, op: Attention) -> tuple[float, float]:
        """A multiplication and an addition per element of K and of V, and the softmaxes."""
        rows = op.batch * op.n_heads * op.q_len
        adds, multiplies = self.softmax_operations(rows, op.score_elements)
        return adds + op.flops / 2, multiplies + op.flops / 2

    def _elementwise(self, op: Elementwise) -> tuple[float, float]:
        """A fused function such as silu_mul is the sum of its parts; n inputs, n - 1 additions."""
        times = op.num_inputs - 1 if op.function == "add" else 1
        parts = [
            _count(getattr(self._spec, f"{part}_ops"), 1, times * op.elements)
            for part in op.function.split("_")
        ]
        return sum(a for a, _ in parts), sum(m for _, m in parts)

    def _loads(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        """Parameters, K and V come from memory, and so do activations too large for the SRAM."""
        return tuple(
            context.transfer(t, op.layer, is_write=False, size_bytes=t.size_bytes)
            for t in op.inputs
            if t.role != "activation" or t.size_bytes > self._spec.sram_bytes
        )

    def _stores(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        return tuple(
            context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
            for t in op.outputs
            if t.role != "activation" or t.size_bytes > self._spec.sram_bytes
        )


def _count(ops: OpsSpec, rows: int, elements: int) -> tuple[float, float]:
    return (
        ops.adds * elements + ops.row_adds * rows,
        ops.multiplies * elements + ops.row_multiplies * rows,
    )
