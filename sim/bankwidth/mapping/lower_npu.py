"""Operators on an NPU: products on its arrays, functions on its vector lanes, copies by its DMA.

The cores share a product by its outputs and attention by its heads. Weights stream in behind the
computation (both take as long as the longer of them), and as much of them as half the weight
scratchpads hold is fetched while the operator before still runs; so are keys, and values while the
softmax runs. Activations stay in the scratchpads unless these are too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from bankwidth.devices.npu.array import DATAFLOWS, Array
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
from bankwidth.operators.dtypes import DTYPE_BITS
from bankwidth.operators.tensor import Tensor
from bankwidth.spec import NpuSpec, VectorCostSpec
from bankwidth.units import ns_to_ps

MATRIX, VECTOR, DMA = "matrix", "vector", "dma"  # units of the engine
HIDDEN: Final = math.inf  # exponent of bytes and compute that overlap entirely
_NORMS: Final = {"layer": "layernorm", "rms": "rmsnorm"}
# A norm is two commands: mean and variance, then the values (IANUS, ASPLOS'24, section 5.4).
_NORM_COMMANDS: Final = 2


class NpuLowering:
    """Time and counts of operators on one NPU."""

    def __init__(self, spec: NpuSpec) -> None:
        self._spec = spec
        array = spec.array
        self._array = Array(rows=array.rows, columns=array.columns, macs=array.macs_per_element)
        self._product_ck = DATAFLOWS[array.dataflow]

    def supports(self, op: Operator) -> bool:
        """All but mixtures of experts and collectives."""
        kinds = Matmul | Attention | KvAppend | Embedding | Norm | Softmax | Elementwise | Rope
        return isinstance(op, kinds)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """One task; for attention a chain of three."""
        match op:
            case Matmul():
                return [self._matmul(op, index, engine, context)]
            case Attention():
                return list(self._attention(op, index, engine, context))
            case KvAppend() | Embedding():
                return [self._copy(op, index, engine, context)]
        return [self._function(op, index, engine, context)]

    # ---- products

    def _matmul(self, op: Matmul, index: int, engine: str, context: LoweringContext) -> Task:
        """Each core computes its share of the outputs; the rows of x are the same for all."""
        x, *weights = op.inputs
        macs = op.batch * op.m * op.n * op.k
        in_parallel = min(op.batch, self._spec.cores)
        n = -(-op.n // (self._spec.cores // in_parallel))
        rounds = -(-op.batch // in_parallel)
        fetched = [t for t in weights if t.role == "weight"]
        spilled = [t for t in (x, *weights) if t.role != "weight" and not self._fits(t)]
        return Task(
            name=op.name,
            operator=index,
            engine=engine,
            unit=MATRIX,
            deps=(),
            issue_ps=self._commands_ps(1),
            compute_ps=self._ck_ps(rounds * self._product_ck(self._array, op.m, n, op.k)),
            ideal_ps=ns_to_ps(macs / self._spec.peak_macs_per_ns),
            overlap=HIDDEN,
            loads=(*self._ahead(fetched, op, context), *_loads(spilled, op, context)),
            stores=self._spilled_stores(op, context),
            counts=self._counts(macs=macs, moved_bytes=self._product_bytes(op)),
            detail=f"{op.m} x {op.n} x {op.k}",
        )

    def _product_bytes(self, op: Matmul) -> int:
        """Through the scratchpads: weights in and out, x out once per round of outputs, y in."""
        x, second, *_ = op.inputs
        rounds = -(-op.n // (self._spec.cores * self._spec.array.columns))
        written = sum(t.size_bytes for t in op.outputs)
        return 2 * second.size_bytes + rounds * x.size_bytes + written

    # ---- attention

    # Keys are put together and transposed by the DMA while queries are made, values moved during
    # the softmax (IANUS, section 6.2): no command of theirs is waited for.

    def _attention(
        self, op: Attention, index: int, engine: str, context: LoweringContext
    ) -> Iterator[Task]:
        """Scores, softmax, context: a head of each core at a time, a command for each.

        The heads of a core follow one another; where attention is cut into pieces, these overlap.
        """
        keys, values = (t for t in op.inputs if t.role == "kv")
        heads = -(-op.batch * op.n_kv_heads // self._spec.cores)
        rows = op.q_len * (op.n_heads // op.n_kv_heads)
        score_ck = heads * self._product_ck(self._array, rows, op.kv_len, op.head_dim)
        context_ck = heads * self._product_ck(self._array, rows, op.head_dim, op.kv_len)
        stages = ((".score", score_ck, keys), (".context", context_ck, values))
        score, weighted = (
            Task(
                name=f"{op.name}{suffix}",
                operator=index,
                engine=engine,
                unit=MATRIX,
                deps=(),
                issue_ps=self._commands_ps(heads),
                compute_ps=self._ck_ps(cycles),
                ideal_ps=ns_to_ps(op.flops / 4 / self._spec.peak_macs_per_ns),
                overlap=HIDDEN,
                loads=self._ahead([cached], op, context),
                counts=self._counts(macs=op.flops / 4, moved_bytes=2 * cached.size_bytes),
            )
            for suffix, cycles, cached in stages
        )
        yield from (score, self._softmax(op, index, engine, heads), weighted)

    def _softmax(self, op: Attention, index: int, engine: str, heads: int) -> Task:
        elements = op.score_elements
        rows = op.batch * op.n_heads * op.q_len
        moved_bytes = 2 * elements * DTYPE_BITS[op.dtype] // 8
        return self._on_lanes(
            f"{op.name}.softmax", index, engine, self._spec.vector.softmax, rows, elements,
            commands=heads, moved_bytes=moved_bytes,
        )  # fmt: skip

    # ---- functions

    def _function(self, op: Operator, index: int, engine: str, context: LoweringContext) -> Task:
        vector = self._spec.vector
        commands = 1
        match op:
            case Norm():
                costs = [getattr(vector, _NORMS[op.style])]
                rows, elements, commands = op.rows, op.rows * op.width, _NORM_COMMANDS
            case Softmax():
                costs, rows, elements = [vector.softmax], op.rows, op.rows * op.width
            case Rope():
                costs, rows = [vector.rope], op.tokens * op.heads
                elements = rows * op.head_dim
            case Elementwise():
                costs = [getattr(vector, part) for part in op.function.split("_")]
                rows, elements = op.rows or 1, op.elements * max(1, op.num_inputs - 1)
            case _:
                raise MappingError(f"no function of the NPU for {op.kind} {op.name!r}")
        weights = [t for t in op.inputs if t.role == "weight"]
        spilled = [t for t in op.inputs if t.role != "weight" and not self._fits(t)]
        return self._on_lanes(
            op.name, index, engine, _sum_of(costs), rows, elements,
            commands=commands,
            moved_bytes=op.read_bytes + op.write_bytes,
            loads=(*self._ahead(weights, op, context), *_loads(spilled, op, context)),
            stores=self._spilled_stores(op, context),
        )  # fmt: skip

    def _on_lanes(
        self,
        name: str,
        index: int,
        engine: str,
        cost: VectorCostSpec,
        rows: int,
        elements: int,
        *,
        commands: int,
        moved_bytes: int,
        loads: tuple[Transfer, ...] = (),
        stores: tuple[Transfer, ...] = (),
    ) -> Task:
        """Processors share the rows; a row alone is shared by its elements."""
        spec = self._spec
        lanes = spec.vector.lanes * spec.cores
        row_ck = cost.row * -(-rows // (spec.vector.processors * spec.cores))
        work = cost.element * elements + cost.row * rows * spec.vector.width
        return Task(
            name=name,
            operator=index,
            engine=engine,
            unit=VECTOR,
            deps=(),
            issue_ps=self._commands_ps(commands),
            compute_ps=self._ck_ps(cost.element * -(-elements // lanes) + row_ck),
            ideal_ps=ns_to_ps(cost.element * elements / lanes / spec.clock_ghz),
            overlap=HIDDEN,
            loads=loads,
            stores=stores,
            counts=self._counts(vector_ops=work, moved_bytes=moved_bytes),
            detail=f"{elements} elements in {rows} rows",
        )

    # ---- copies

    def _copy(self, op: Operator, index: int, engine: str, context: LoweringContext) -> Task:
        """Rows of a table into the scratchpad, or new keys and values out of it."""
        inputs = [t for t in op.inputs if t.role == "weight"]
        stores = tuple(
            context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
            for t in op.outputs
            if t.role == "kv"
        )
        return Task(
            name=op.name,
            operator=index,
            engine=engine,
            unit=DMA,
            deps=(),
            issue_ps=0 if stores else self._commands_ps(1),
            overlap=HIDDEN,
            loads=() if stores else _loads(inputs, op, context, size_bytes=op.write_bytes),
            stores=stores,
            counts=self._counts(moved_bytes=op.write_bytes),
        )

    # ---- common

    def _fits(self, tensor: Tensor) -> bool:
        return tensor.size_bytes <= self._spec.activation_bytes * self._spec.cores

    def _ahead(
        self, tensors: Iterable[Tensor], op: Operator, context: LoweringContext
    ) -> tuple[Transfer, ...]:
        """Loads, those first that half the weight scratchpads hold before they are needed."""
        room = self._spec.weight_bytes * self._spec.cores // 2
        early, late = [], []
        for tensor in tensors:
            load = _loads([tensor], op, context)[0]
            now = min(room, load.size_bytes)
            room -= now
            early += _part(load, 0, now, ahead=True)
            late += _part(load, now, load.size_bytes - now, ahead=False)
        return (*early, *late)

    def _spilled_stores(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        return tuple(
            context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
            for t in op.outputs
            if not self._fits(t)
        )

    def _commands_ps(self, commands: int) -> int:
        return ns_to_ps(commands * self._spec.command_ns)

    def _ck_ps(self, cycles: float) -> int:
        return ns_to_ps(cycles / self._spec.clock_ghz)

    def _counts(
        self, *, macs: float = 0.0, vector_ops: float = 0.0, moved_bytes: int = 0
    ) -> dict[str, float]:
        return {"mac": macs, "vector_op": vector_ops, "scratchpad": moved_bytes * 8.0}


def _sum_of(costs: list[VectorCostSpec]) -> VectorCostSpec:
    element, row = sum(c.element for c in costs), sum(c.row for c in costs)
    return VectorCostSpec.model_construct(element=element, row=row, source=None)


def _loads(
    tensors: Iterable[Tensor],
    op: Operator,
    context: LoweringContext,
    size_bytes: int | None = None,
) -> tuple[Transfer, ...]:
    return tuple(
        context.transfer(t, op.layer, is_write=False, size_bytes=size_bytes or t.size_bytes)
        for t in tensors
    )


def _part(load: Transfer, first: int, size_bytes: int, *, ahead: bool) -> list[Transfer]:
    """`size_bytes` of a load from byte `first` on, if there are any."""
    if size_bytes == 0:
        return []
    return [
        Transfer(
            memory=load.memory,
            address=load.address + first,
            size_bytes=size_bytes,
            is_write=False,
            ahead=ahead,
        )
    ]
