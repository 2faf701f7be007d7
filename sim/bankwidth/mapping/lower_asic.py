"""Operators on a chip of adders and multipliers: what PIM designs put beside their memory."""

from __future__ import annotations

from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.operators import Elementwise, Embedding, Norm, Operator, Rope, Softmax
from bankwidth.spec import AsicSpec, OpsSpec
from bankwidth.units import ns_to_ps

_NORMS = {"layer": "layernorm", "rms": "rmsnorm"}


class AsicLowering:
    """Time and counts of vector functions on one chip."""

    def __init__(self, spec: AsicSpec) -> None:
        self._spec = spec

    def supports(self, op: Operator) -> bool:
        """Vector functions and gathers; products belong to another engine."""
        return isinstance(op, Norm | Softmax | Elementwise | Rope | Embedding)

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
    ) -> Task:
        """A task of so many additions and multiplications, `moved_bytes` through the SRAM."""
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
            case Embedding():
                return 0.0, 0.0
        raise MappingError(f"no function of the chip for {op.kind} {op.name!r}")

    def _elementwise(self, op: Elementwise) -> tuple[float, float]:
        """A fused function such as silu_mul is the sum of its parts; n inputs, n - 1 additions."""
        times = op.num_inputs - 1 if op.function == "add" else 1
        parts = [
            _count(getattr(self._spec, f"{part}_ops"), 1, times * op.elements)
            for part in op.function.split("_")
        ]
        return sum(a for a, _ in parts), sum(m for _, m in parts)

    def _loads(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        """Parameters come from memory, and so do activations that the SRAM cannot hold."""
        return tuple(
            context.transfer(t, op.layer, is_write=False, size_bytes=t.size_bytes)
            for t in op.inputs
            if t.role == "weight" or t.size_bytes > self._spec.sram_bytes
        )

    def _stores(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        return tuple(
            context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
            for t in op.outputs
            if t.size_bytes > self._spec.sram_bytes
        )


def _count(ops: OpsSpec, rows: int, elements: int) -> tuple[float, float]:
    return (
        ops.adds * elements + ops.row_adds * rows,
        ops.multiplies * elements + ops.row_multiplies * rows,
    )
