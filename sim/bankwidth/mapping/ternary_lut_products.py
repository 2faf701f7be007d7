"""Ternary products on look-up cores: fills of the weight buffer, each followed by all tokens.

Matrices that share an input (q, k and v; gate and up) go one after the other, each with the input
again. With a double buffer a fill comes in while the task before runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from bankwidth.devices.ternary_lut.core import Clocks, product_clocks
from bankwidth.devices.ternary_lut.fills import Fill, fills
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.ternary_lut_parts import buffer_of, core_of
from bankwidth.mapping.ternary_lut_tasks import BITS, HOST, Chip, loads_of, task_of
from bankwidth.operators import Elementwise, KvAppend, Matmul, Rope
from bankwidth.spec import TernaryLutSpec
from bankwidth.units import ns_to_ps

PARTIAL_BYTES: Final = 4  # a partial sum on its way through the memory
STREAMED: Final = Elementwise | Rope  # functions that run behind a product


class Products:
    """Products on one chip."""

    def __init__(self, spec: TernaryLutSpec) -> None:
        self._spec = spec
        self._chip = Chip(spec)
        self._core = core_of(spec)
        self._buffer = buffer_of(spec)

    def tasks(self, op: Matmul, index: int, context: LoweringContext) -> Iterator[Task]:
        """Each fill of the weight buffer, and its tokens."""
        rows = self._core.rows(op.k)
        most = self._spec.accumulators * self._spec.cores
        widths = _matrices(op, index, context)
        parts = [
            fill
            for _ in range(op.batch)
            for columns in widths
            for fill in fills(self._buffer, rows, columns, most)
        ]
        stored = _stored_columns(widths, op, index, context)
        whole = sum(fill.load_bytes for fill in parts)
        moved = 0
        for fill in parts:
            load = _at(op, fill.load_bytes, moved, whole, context)
            moved += fill.load_bytes
            columns = min(fill.columns, stored) if fill.is_last else 0
            stored -= columns
            yield from self._filled(op, fill, load, index, context, columns)

    def _filled(
        self,
        op: Matmul,
        fill: Fill,
        load: Transfer,
        index: int,
        context: LoweringContext,
        stored: int,
    ) -> Iterator[Task]:
        """One fill and its tokens; `stored` columns of the result are this product's to store."""
        port_ps = self._chip.ck_ps(self._chip.port_ck(fill.load_bytes, self._spec.ports.weights))
        work = self._work(op, fill, index, context, stored)
        if self._buffer.double:
            compute_ps = max(work.compute_ps, port_ps)
            loads = (replace(load, ahead=True), *work.loads)
            yield replace(work, loads=loads, compute_ps=compute_ps)
            return
        yield task_of(
            f"{op.name}.weights",
            loads=(load,),
            compute_ps=port_ps,
            counts={"buffer": fill.load_bytes * BITS},
        )
        yield work

    def _work(
        self, op: Matmul, fill: Fill, index: int, context: LoweringContext, stored: int
    ) -> Task:
        """All tokens through the core."""
        columns = -(-fill.columns // self._spec.cores)
        at_once = self._core.inputs
        inputs = min(op.k - fill.first_row * at_once, fill.rows * at_once)
        clocks = product_clocks(self._core, op.m, columns, inputs)
        loads = [*self._inputs(op, inputs, context), *self._partial(op, fill, context, False)]
        stores = [*self._outputs(op, stored, context), *self._partial(op, fill, context, True)]
        streams_ck = (
            self._streamed_ck(op, fill, index, context),
            self._chip.port_ck(sum(t.size_bytes for t in loads), self._spec.ports.activations),
        )
        macs = op.m * inputs * fill.columns
        return task_of(
            op.name,
            compute_ps=self._chip.ck_ps(max(clocks.total, *streams_ck)),
            ideal_ps=ns_to_ps(macs / self._spec.peak_macs_per_ns),
            loads=tuple(loads),
            stores=tuple(stores),
            counts=self._lookups(op.m, fill),
            detail=f"{op.m} x {fill.columns} x {inputs}: {_split(clocks)}",
        )

    def _inputs(self, op: Matmul, inputs: int, context: LoweringContext) -> Iterator[Transfer]:
        """x, from where it is; a bias is small and comes in with it."""
        x = op.inputs[0]
        if not self._chip.fits(x):
            size_bytes = max(1, x.size_bytes * inputs // (op.k * op.batch))
            yield context.transfer(x, op.layer, is_write=False, size_bytes=size_bytes)
        yield from loads_of((t for t in op.inputs[2:] if t.role == "weight"), op, context)

    def _outputs(self, op: Matmul, columns: int, context: LoweringContext) -> Iterator[Transfer]:
        out = op.outputs[0]
        if columns and not self._chip.fits(out):
            size_bytes = max(1, out.size_bytes * columns // (op.n * op.batch))
            yield context.transfer(out, op.layer, is_write=True, size_bytes=size_bytes, posted=True)

    def _partial(
        self, op: Matmul, fill: Fill, context: LoweringContext, is_write: bool
    ) -> Iterator[Transfer]:
        """Sums of the rows before, or for the rows to come."""
        if fill.is_last if is_write else fill.is_first:
            return
        size_bytes = op.m * fill.columns * PARTIAL_BYTES
        yield context.transfer(
            op.outputs[0], op.layer, is_write=is_write, size_bytes=size_bytes, posted=is_write
        )

    def _streamed_ck(self, op: Matmul, fill: Fill, index: int, context: LoweringContext) -> int:
        """Of the function behind the product, at work at the same time."""
        if not isinstance(context.operator_after(index), STREAMED):
            return 0
        return op.m * self._chip.lane_blocks(fill.columns) * self._spec.vector.function_ck

    def _lookups(self, m: int, fill: Fill) -> Mapping[str, float]:
        """What the tables do; those of padding too."""
        spec = self._spec
        at_once = self._core.lookups * spec.cores
        built = m * fill.rows * spec.tables * spec.cores
        lookups = m * fill.rows * spec.tables * -(-fill.columns // at_once) * at_once
        return {
            "lookup": lookups,
            "add": lookups + built * self._core.sums,
            "buffer": lookups * spec.index_bits + self._fill_bits(fill),
        }

    def _fill_bits(self, fill: Fill) -> int:
        """Written in the same task as they are read, where the buffer is double."""
        return fill.load_bytes * BITS if self._buffer.double else 0

    def on_host(self, op: Matmul, context: LoweringContext) -> Task:
        """A product on the processor; its weights go through the cores once."""
        host = self._spec.host
        assert host is not None  # checked with the formats
        macs = op.batch * op.m * op.n * op.k
        weights = [t for t in op.inputs if t.role == "weight"]
        read_ns = sum(t.size_bytes for t in weights) / host.bandwidth_bytes_per_ns
        return task_of(
            op.name,
            unit=HOST,
            launch_ps=ns_to_ps(host.launch_ns),
            compute_ps=ns_to_ps(max(macs / host.macs_per_ns, read_ns)),
            ideal_ps=ns_to_ps(macs / host.macs_per_ns),
            loads=loads_of(weights, op, context),
            counts={"host": macs},
            detail=f"{op.m} x {op.n} x {op.k} on the processor",
        )


def _matrices(op: Matmul, index: int, context: LoweringContext) -> tuple[int, ...]:
    """Columns of the matrices that lie side by side in one product."""
    after = context.operator_after(index)
    if isinstance(after, Elementwise) and after.function == "silu_mul":
        return _halves(op) if 2 * after.elements == op.batch * op.m * op.n else (op.n,)
    if isinstance(after, Rope | KvAppend):
        attention = context.attention_after(index)
        query, key = (
            heads * attention.head_dim for heads in (attention.n_heads, attention.n_kv_heads)
        )
        if query + 2 * key == op.n:
            return (query, key, key)
    return (op.n,)


def _halves(op: Matmul) -> tuple[int, ...]:
    return (op.n // 2, op.n // 2)


def _stored_columns(
    widths: tuple[int, ...], op: Matmul, index: int, context: LoweringContext
) -> int:
    """Columns of the result that the product stores; keys and values go to the cache instead."""
    is_qkv = len(widths) == 3 and isinstance(context.operator_after(index), Rope | KvAppend)
    return op.batch * (widths[0] if is_qkv else op.n)


def _split(clocks: Clocks) -> str:
    """The shares of a product's clocks, in words."""
    parts = ("read", "build", "lookup", "output")
    return ", ".join(f"{part} {getattr(clocks, part) / clocks.total:.0%}" for part in parts)


def _at(op: Matmul, size_bytes: int, done: int, whole: int, context: LoweringContext) -> Transfer:
    """A fill's bytes: from its share of the tensor on, but not beyond the region of weights.

    Entries are padded to beats and regions, so the fills of a tensor are longer than it is.
    """
    tensor = op.inputs[1]
    load = context.transfer(tensor, op.layer, is_write=False, size_bytes=size_bytes)
    region = context.placement("weights")
    last = max(region.base, region.base + region.size_bytes - size_bytes)
    return replace(load, address=min(load.address + tensor.size_bytes * done // whole, last))
