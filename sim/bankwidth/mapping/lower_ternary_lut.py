"""Operators on a chip of cores that look ternary products up.

Products are in ternary_lut_products.py. Functions behind a product stream with it: a residual or
the other half of a gate comes in while the product runs. Products whose weights the tables cannot
take go to the processor of the same chip, if there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from bankwidth.errors import MappingError
from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import Task, Transfer
from bankwidth.mapping.ternary_lut_parts import decode_of, prefill_of
from bankwidth.mapping.ternary_lut_products import STREAMED, Products
from bankwidth.mapping.ternary_lut_tasks import BITS, Chip, loads_of, stores_of, task_of
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
from bankwidth.spec import TernaryLutSpec, load_cells
from bankwidth.units import ns_to_ps

SOFTMAX_PASSES: Final = 2  # exponentials and their sum, then the division


class TernaryLutLowering:
    """Time, streams and counts of operators on one chip of look-up cores."""

    def __init__(self, spec: TernaryLutSpec) -> None:
        """Raises SpecError for cells that are not shipped."""
        if spec.cells is not None:
            load_cells(spec.cells)
        self._spec = spec
        self._chip = Chip(spec)
        self._products = Products(spec)
        self._prefill: PrefillUnit = prefill_of(spec)
        self._decode: DecodeUnit = decode_of(spec)

    def supports(self, op: Operator) -> bool:
        """All but mixtures of experts and collectives."""
        kinds = Matmul | Attention | KvAppend | Embedding | Norm | Softmax | Elementwise | Rope
        return isinstance(op, kinds)

    def lower(self, op: Operator, index: int, engine: str, context: LoweringContext) -> list[Task]:
        """The operator's tasks. Raises MappingError for a format that the chip does not take."""
        self._check_formats(op)
        return [
            replace(task, operator=index, engine=engine) for task in self._tasks(op, index, context)
        ]

    def _tasks(self, op: Operator, index: int, context: LoweringContext) -> Iterator[Task]:
        match op:
            case Matmul() if op.has_weight and op.weight_dtype in self._spec.weight_dtypes:
                yield from self._products.tasks(op, index, context)
            case Matmul():
                yield self._products.on_host(op, context)
            case Attention():
                yield self._attention(op, context)
            case KvAppend():
                yield self._passed(op.name, stores=stores_of(op.outputs, op, context))
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
        spilled = (t for t in op.inputs if t.role == "activation" and not self._chip.fits(t))
        macs = op.flops // 2
        return task_of(
            op.name,
            compute_ps=self._chip.ck_ps(op.batch * clocks),
            ideal_ps=self._chip.ck_ps(macs / self._attention_macs(is_one)),
            loads=(
                *loads_of(spilled, op, context),
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
        if isinstance(op, STREAMED) and _is_behind_product(index, context):
            others = [t for t in op.inputs[1:] if not self._chip.fits(t)]
            loads = tuple(replace(t, ahead=True) for t in loads_of(others, op, context))
            return self._passed(op.name, loads=loads, counts={"vector": _elements(op)})
        loaded = [t for t in op.inputs if t.role == "weight" or not self._chip.fits(t)]
        return task_of(
            op.name,
            compute_ps=self._chip.ck_ps(self._function_ck(op)),
            loads=loads_of(loaded, op, context),
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
        fill_ps = self._chip.ck_ps(self._spec.vector.fill_ck)
        return task_of(name, compute_ps=fill_ps, loads=loads, stores=stores, counts=counts)

    def _function_ck(self, op: Operator) -> int:
        vector = self._spec.vector
        match op:
            case Norm():
                blocks = self._chip.lane_blocks(op.width)
                slowest = max(vector.norm_sum_ck, vector.norm_scale_ck)
                return op.rows * (blocks * slowest + vector.fill_ck) + blocks * min(
                    vector.norm_sum_ck, vector.norm_scale_ck
                )
            case Softmax():
                row_ck = self._chip.lane_blocks(op.width) * vector.function_ck + vector.fill_ck
                return SOFTMAX_PASSES * op.rows * row_ck
        return self._chip.lane_blocks(_elements(op)) * vector.function_ck + vector.fill_ck

    def _embedding(self, op: Embedding, index: int, context: LoweringContext) -> Task:
        """Rows of the table; the first one of a pass is where the host hands tokens over."""
        weights = [t for t in op.inputs if t.role == "weight"]
        return task_of(
            op.name,
            launch_ps=ns_to_ps(self._spec.start_ns) if index == 0 else 0,
            loads=loads_of(weights, op, context),
            stores=self._kept(op, context),
        )

    # ---- common

    def _kept(self, op: Operator, context: LoweringContext) -> tuple[Transfer, ...]:
        return stores_of((t for t in op.outputs if not self._chip.fits(t)), op, context)


def _is_behind_product(index: int, context: LoweringContext) -> bool:
    return index > 0 and isinstance(context.operator_after(index - 2), Matmul)


def _elements(op: Operator) -> int:
    return sum(t.elements for t in op.outputs)


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
