"""Operators on cores that look ternary products up: weights into their buffer, activations through.

A product becomes fills of the weight buffer, each followed by all tokens; with a double buffer the
next fill comes in meanwhile. Matrices that share an input (q, k and v; gate and up) go one after
the other, each with the input again. Functions behind a product stream with it: a residual or the
other half of a gate comes in while the product runs. Products whose weights the tables cannot take
go to the processor of the same chip, if there is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from bankwidth.devices.ternary_lut.attention import (
    DecodeUnit,
    PrefillUnit,
    Shape,
    decode_ck,
    keys_of_blocks,
    prefill_ck,
)
from bankwidth.devices.ternary_lut.core import Clocks, product_clocks
from bankwidth.devices.ternary_lut.fills import Fill, fills
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.ternary_lut_parts import buffer_of, core_of, decode_of, prefill_of
from bankwidth.operators import (
    DTYPE_BITS,
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
from bankwidth.operators.tensor import Tensor
from bankwidth.spec import TernaryLutSpec
from bankwidth.units import ns_to_ps

CORE, HOST = "core", "host"  # units of the engine
HIDDEN: Final = math.inf  # exponent of bytes and compute that overlap entirely
PARTIAL_BYTES: Final = 4  # a partial sum on its way through the memory
BITS: Final = 8
SOFTMAX_PASSES: Final = 2  # exponentials and their sum, then the division
_STREAMED: Final = Elementwise | Rope  # functions that run behind a product


class TernaryLutLowering:
    """Time, streams and counts of operators on one chip of look-up cores."""

    def __init__(self, spec: TernaryLutSpec) -> None:
        self._spec = spec
        self._core = core_of(spec)
        self._buffer = buffer_of(spec)
        self._prefill: PrefillUnit = prefill_of(spec)
        self._decode: DecodeUnit = decode_of(spec)

    def supports(self, op: Operator) -> bool:
        """All but mixtures of experts and collectives."""
        kinds = Matmul | Attention | KvAppend | Embedding | Norm | Softmax | Elementwise | Rope
        return isinstance(op, kinds)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """The operator's tasks. Raises MappingError for a format that the chip does not take."""
        self._check_formats(op)
        tasks = [
            replace(task, operator=index, engine=engine) for task in self._tasks(op, index, context)
        ]
        return tasks

    def _tasks(self, op: Operator, index: int, context: LoweringContext) -> Iterator[Task]:
        match op:
            case Matmul() if op.has_weight and op.weight_dtype in self._spec.weight_dtypes:
                yield from self._product(op, index, context)
            case Matmul():
                yield self._on_host(op, context)
            case Attention():
                yield self._attention(op, context)
            case KvAppend():
                yield self._passed(op.name, stores=_stores(op.outputs, op, context))
            case Embedding():
                yield self._embedding(op, index, context)
            case _:
                yield self._function(op, index, context)

    # ---- formats

    def _check_formats(self, op: Operator) -> None:
        allowed = self._spec.stream_dtypes
        for field in ("dtype", "kv_dtype"):
            found = getattr(op, field, None)
            if found is not None and found not in allowed:
                what = "keys and values" if field == "kv_dtype" else "activations"
                raise MappingError(
                    f"{op.kind} {op.name!r}: {what} in {found}, {self._spec.name} takes "
                    f"{', '.join(allowed)}"
                )
        if isinstance(op, Matmul) and not self._takes_weights(op):
            raise MappingError(self._wrong_weights(op))

    def _takes_weights(self, op: Matmul) -> bool:
        host = self._spec.host.weight_dtypes if self._spec.host else []
        return op.has_weight and op.weight_dtype in (*self._spec.weight_dtypes, *host)

    def _wrong_weights(self, op: Matmul) -> str:
        spec = self._spec
        here = f"{op.kind} {op.name!r}: "
        if not op.has_weight:
            return f"{here}both operands are activations; a table is looked up by weights"
        host = f", its processor {', '.join(spec.host.weight_dtypes)}" if spec.host else ""
        return (
            f"{here}weights in {op.weight_dtype}, the tables of {spec.name} take "
            f"{', '.join(spec.weight_dtypes)}{host}"
        )

    # ---- products

    def _product(self, op: Matmul, index: int, context: LoweringContext) -> Iterator[Task]:
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
        port_ps = self._ck_ps(self._port_ck(fill.load_bytes, self._spec.ports.weights))
        work = self._work(op, fill, index, context, stored)
        if self._buffer.double:
            compute_ps = max(work.compute_ps, port_ps)
            loads = (replace(load, ahead=True), *work.loads)
            yield replace(work, loads=loads, compute_ps=compute_ps)
            return
        yield _task(
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
            self._port_ck(sum(t.size_bytes for t in loads), self._spec.ports.activations),
        )
        macs = op.m * inputs * fill.columns
        return _task(
            op.name,
            compute_ps=self._ck_ps(max(clocks.total, *streams_ck)),
            ideal_ps=ns_to_ps(macs / self._spec.peak_macs_per_ns),
            loads=tuple(loads),
            stores=tuple(stores),
            counts=self._lookups(op.m, fill),
            detail=f"{op.m} x {fill.columns} x {inputs}: {_split(clocks)}",
        )

    def _inputs(self, op: Matmul, inputs: int, context: LoweringContext) -> Iterator[Transfer]:
        """x, from where it is; a bias is small and comes in with it."""
        x = op.inputs[0]
        if not self._fits(x):
            size_bytes = max(1, x.size_bytes * inputs // (op.k * op.batch))
            yield context.transfer(x, op.layer, is_write=False, size_bytes=size_bytes)
        yield from _loads((t for t in op.inputs[2:] if t.role == "weight"), op, context)

    def _outputs(self, op: Matmul, columns: int, context: LoweringContext) -> Iterator[Transfer]:
        out = op.outputs[0]
        if columns and not self._fits(out):
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
        if not isinstance(context.operator_after(index), _STREAMED):
            return 0
        return op.m * self._lane_blocks(fill.columns) * self._spec.vector.function_ck

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

    def _on_host(self, op: Matmul, context: LoweringContext) -> Task:
        """A product on the processor; its weights go through the cores once."""
        host = self._spec.host
        assert host is not None  # checked with the formats
        macs = op.batch * op.m * op.n * op.k
        weights = [t for t in op.inputs if t.role == "weight"]
        read_ns = sum(t.size_bytes for t in weights) / host.bandwidth_bytes_per_ns
        return _task(
            op.name,
            unit=HOST,
            launch_ps=ns_to_ps(host.launch_ns),
            compute_ps=ns_to_ps(max(macs / host.macs_per_ns, read_ns)),
            ideal_ps=ns_to_ps(macs / host.macs_per_ns),
            loads=_loads(weights, op, context),
            counts={"host": macs},
            detail=f"{op.m} x {op.n} x {op.k} on the processor",
        )

    # ---- attention

    def _attention(self, op: Attention, context: LoweringContext) -> Task:
        keys, values = (t for t in op.inputs if t.role == "kv")
        shape = Shape(
            q_len=op.q_len,
            kv_len=op.kv_len,
            heads=op.n_heads,
            width=op.n_heads * op.head_dim,
            kv_bytes=op.n_kv_heads * op.head_dim * DTYPE_BITS[op.kv_dtype] // BITS,
            causal=op.causal,
        )
        is_one = op.phase == "decode" and op.q_len == 1
        clocks = decode_ck(self._decode, shape) if is_one else prefill_ck(self._prefill, shape)
        read = op.kv_len if is_one else sum(keys_of_blocks(self._prefill, shape))
        spilled = (t for t in op.inputs if t.role == "activation" and not self._fits(t))
        macs = op.flops // 2
        return _task(
            op.name,
            compute_ps=self._ck_ps(op.batch * clocks),
            ideal_ps=self._ck_ps(macs / self._attention_macs(is_one)),
            loads=(
                *_loads(spilled, op, context),
                *_repeated(keys, read, op, context),
                *_repeated(values, read, op, context),
                *self._scores(op, context, is_write=False),
            ),
            stores=(*self._kept(op, context), *self._scores(op, context, is_write=True)),
            counts={"attention": macs},
            detail=f"{read} keys",
        )

    def _attention_macs(self, is_one: bool) -> float:
        """Multiply-adds per clock that no attention exceeds."""
        unit = self._spec.decode
        if is_one:
            return 2.0 * unit.lanes / max(1, unit.lane_ck)
        lanes = self._spec.prefill
        return 2.0 * lanes.queries * lanes.lanes / max(1, lanes.score_ck)

    def _scores(
        self, op: Attention, context: LoweringContext, *, is_write: bool
    ) -> Iterator[Transfer]:
        """Of a decode step, those that the chip does not hold."""
        beyond = op.kv_len - self._spec.decode.score_tokens
        if op.phase == "decode" and op.q_len == 1 and beyond > 0:
            size_bytes = op.batch * op.n_heads * beyond * DTYPE_BITS[op.dtype] // BITS
            yield context.transfer(
                op.outputs[0], op.layer, is_write=is_write, size_bytes=size_bytes
            )

    # ---- functions and copies

    def _function(self, op: Operator, index: int, context: LoweringContext) -> Task:
        if isinstance(op, _STREAMED) and _is_behind_product(index, context):
            others = [t for t in op.inputs[1:] if not self._fits(t)]
            loads = tuple(replace(t, ahead=True) for t in _loads(others, op, context))
            return self._passed(op.name, loads=loads, counts={"vector": _elements(op)})
        loaded = [t for t in op.inputs if t.role == "weight" or not self._fits(t)]
        return _task(
            op.name,
            compute_ps=self._ck_ps(self._function_ck(op)),
            loads=_loads(loaded, op, context),
            stores=self._kept(op, context),
            counts={"vector": _elements(op)},
        )

    def _passed(
        self,
        name: str,
        *,
        loads: tuple[Transfer, ...] = (),
        stores: tuple[Transfer, ...] = (),
        counts: Mapping[str, float] | None = None,
    ) -> Task:
        """What streams behind a product: only its last elements' way through is to be seen."""
        fill_ps = self._ck_ps(self._spec.vector.fill_ck)
        return _task(name, compute_ps=fill_ps, loads=loads, stores=stores, counts=counts)

    def _function_ck(self, op: Operator) -> int:
        vector = self._spec.vector
        match op:
            case Norm():
                blocks = self._lane_blocks(op.width)
                slowest = max(vector.norm_sum_ck, vector.norm_scale_ck)
                return op.rows * (blocks * slowest + vector.fill_ck) + blocks * min(
                    vector.norm_sum_ck, vector.norm_scale_ck
                )
            case Softmax():
                row_ck = self._lane_blocks(op.width) * vector.function_ck + vector.fill_ck
                return SOFTMAX_PASSES * op.rows * row_ck
        return self._lane_blocks(_elements(op)) * vector.function_ck + vector.fill_ck

    def _embedding(self, op: Embedding, index: int, context: LoweringContext) -> Task:
        """Rows of the table; the first one of a pass is where the host hands tokens over."""
        weights = [t for t in op.inputs if t.role == "weight"]
        return _task(
            op.name,
            launch_ps=ns_to_ps(self._spec.start_ns) if index == 0 else 0,
            loads=_loads(weights, op, context),
            stores=self._kept(op, context),
        )

    # ---- common

    def _kept(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        return _stores((t for t in op.outputs if not self._fits(t)), op, context)

    def _fits(self, tensor: Tensor) -> bool:
        return tensor.size_bytes <= self._spec.activation_bytes

    def _lane_blocks(self, elements: int) -> int:
        return -(-elements // self._spec.vector.lanes)

    def _port_ck(self, size_bytes: int, ports: int) -> int:
        return -(-size_bytes * BITS // (ports * self._spec.ports.width_bits))

    def _ck_ps(self, clocks: float) -> int:
        return ns_to_ps(clocks / self._spec.clock_ghz)


def _task(
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


def _is_behind_product(index: int, context: LoweringContext) -> bool:
    return index > 0 and isinstance(context.operator_after(index - 2), Matmul)


def _elements(op: Operator) -> int:
    return sum(t.elements for t in op.outputs)


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


def _repeated(
    tensor: Tensor, tokens: int, op: Attention, context: LoweringContext
) -> Iterator[Transfer]:
    """Keys or values of `tokens` tokens of each sequence, the cache over and over."""
    whole, rest = divmod(tokens, op.kv_len)
    sizes = [tensor.size_bytes] * whole
    if rest:
        sizes.append(max(1, tensor.size_bytes * rest // op.kv_len))
    for size_bytes in sizes:
        yield context.transfer(tensor, op.layer, is_write=False, size_bytes=size_bytes)


def _loads(
    tensors: Iterable[Tensor], op: Operator, context: LoweringContext
) -> tuple[Transfer, ...]:
    return tuple(
        context.transfer(t, op.layer, is_write=False, size_bytes=t.size_bytes) for t in tensors
    )


def _stores(
    tensors: Iterable[Tensor], op: Operator, context: LoweringContext
) -> tuple[Transfer, ...]:
    return tuple(
        context.transfer(t, op.layer, is_write=True, size_bytes=t.size_bytes, posted=True)
        for t in tensors
    )
