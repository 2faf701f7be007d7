"""Tensor parallelism: one device's share of a trace (Shoeybi et al. 2019, Megatron-LM).

A product of a whole input is split by columns, and with it what computes on its output: heads of
attention, elements of a function. The product that takes such a part in is split by rows; an
all-reduce adds up the devices' results. Norms, residual additions and tables of positions are
computed by every device. The table of tokens and the head are split by the vocabulary, which is
padded to a multiple of the devices; their results are added up and gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from bankwidth.errors import MappingError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise, Rope, Softmax

# Work on heads, whatever it is fed by: field names of what is shared out.
_HEADS: Final[dict[type[Operator], tuple[str, ...]]] = {
    Attention: ("n_heads", "n_kv_heads"),
    KvAppend: ("kv_heads",),
    Rope: ("heads",),
}


def shard(trace: Trace, tensor: int) -> Trace:
    """One of `tensor` equal devices' share of a trace, with its collectives.

    Raises MappingError where heads, columns or rows do not divide, and for a trace that has
    collectives already.
    """
    if tensor < 1:
        raise MappingError(f"tensor parallelism over {tensor} devices: need at least 1")
    if tensor == 1:
        return trace
    tokens = _vocabulary(trace.blocks)
    blocks = tuple(_Share(block, tensor, tokens).block() for block in trace.blocks)
    whole = _whole_bytes(trace.blocks, tokens)
    return replace(
        trace,
        blocks=blocks,
        weight_bytes=whole + -(-(trace.weight_bytes - whole) // tensor),
        kv_bytes=-(-trace.kv_bytes // tensor),
        activation_bytes=peak_activation_bytes(blocks),
        meta={**trace.meta, "tensor": tensor},
    )


class _Share:
    """The operators of one block as one device has them."""

    def __init__(self, block: Block, tensor: int, tokens: int) -> None:
        self._block = block
        self._tensor = tensor
        self._tokens = tokens  # rows of the table of tokens, columns of the head
        self._parts: set[str] = set()  # operators whose output is a part of the whole one's
        self._made: list[Operator] = []
        self._renamed: dict[str, str] = {}  # an output, to that of its collective

    def block(self) -> Block:
        for op in self._block.operators:
            self._add(op)
        return replace(self._block, operators=tuple(self._made))

    def _add(self, op: Operator) -> None:
        op = replace(op, deps=tuple(self._renamed.get(dep, dep) for dep in op.deps))
        if isinstance(op, Matmul) and op.has_weight:
            self._matmul(op)
        elif isinstance(op, Moe):
            self._summed(replace(op, moe_tp=op.moe_tp * self._tensor), op.tokens * op.hidden)
        elif isinstance(op, Embedding) and op.vocab == self._tokens:
            self._summed(replace(op, vocab=-(-op.vocab // self._tensor)), op.tokens * op.width)
        elif isinstance(op, Collective):
            raise MappingError(f"collective {op.name!r}: the trace is one device's share already")
        elif type(op) in _HEADS:
            self._part(self._split(op, *_HEADS[type(op)]))
        else:
            self._follow(op)

    def _matmul(self, op: Matmul) -> None:
        if self._is_part(op):
            self._summed(self._split(op, "k"), op.batch * op.m * op.n)
        elif _is_head(op, self._tokens):
            self._made.append(replace(op, n=-(-op.n // self._tensor)))
            self._join(op, "all_gather", op.m * op.n)
        elif op.layer == OUTSIDE:
            self._made.append(op)  # a projection beside the embedding
        else:
            self._part(self._split(op, "n"))

    def _follow(self, op: Operator) -> None:
        """What computes on a part computes a part; on whole inputs every device does it all."""
        parts = [dep in self._parts for dep in op.deps]
        if not any(parts):
            self._made.append(op)
        elif isinstance(op, Elementwise) and all(parts):
            self._part(self._split(op, "elements"))
        elif isinstance(op, Softmax) and all(parts):
            self._part(self._split(op, "rows"))
        elif isinstance(op, Matmul) and all(parts):
            self._part(self._split(op, "batch"))  # a product of activations, by heads
        else:
            raise MappingError(
                f"{op.kind} {op.name!r} needs all of what {', '.join(op.deps)} leave in parts on "
                f"{self._tensor} devices; a matmul with weights must come between"
            )

    def _is_part(self, op: Operator) -> bool:
        return bool(op.deps) and op.deps[0] in self._parts

    def _part(self, op: Operator) -> None:
        self._made.append(op)
        self._parts.add(op.name)

    def _summed(self, op: Operator, elements: int) -> None:
        self._made.append(op)
        self._join(op, "all_reduce", elements)

    def _join(self, op: Any, function: Literal["all_reduce", "all_gather"], elements: int) -> None:
        dtype: str = getattr(op, "out_dtype", None) or op.dtype
        joined = Collective(
            name=f"{op.name}.{function}",
            layer=op.layer,
            deps=(op.name,),
            function=function,
            size_bytes=packed_bytes(elements, dtype),
            ways=self._tensor,
            dtype=dtype,
        )
        self._made.append(joined)
        self._renamed[op.name] = joined.name

    def _split(self, op: Operator, *fields: str) -> Operator:
        """An operator with some of its sizes shared out."""
        for field in fields:
            size = getattr(op, field)
            if size % self._tensor:
                raise MappingError(
                    f"{op.kind} {op.name!r}: {field} {size} cannot be shared out equally over "
                    f"{self._tensor} devices; choose a divisor of it"
                )
        sizes = {field: getattr(op, field) // self._tensor for field in fields}
        return replace(op, **sizes)


def _vocabulary(blocks: Sequence[Block]) -> int:
    """Columns of the head: of the last product with weights outside the layers; 0 without one."""
    return next(
        (
            op.n
            for block in reversed(blocks)
            for op in reversed(block.operators)
            if isinstance(op, Matmul) and op.has_weight and op.layer == OUTSIDE
        ),
        0,
    )


def _is_head(op: Matmul, tokens: int) -> bool:
    return op.layer == OUTSIDE and op.n == tokens


def _whole_bytes(blocks: Sequence[Block], tokens: int) -> int:
    """Stored weights that every device has in whole."""
    stored = {}
    for block in blocks:
        for op in block.operators:
            for iteration in range(block.repeat if op.layer != OUTSIDE else 1):
                stored[op.name, op.layer + iteration] = sum(_whole_weights(op, tokens))
    return sum(stored.values())


def _whole_weights(op: Operator, tokens: int) -> Iterator[int]:
    """Norms, tables of positions, projections beside the embedding; biases are left out."""
    if isinstance(op, Embedding) and op.vocab != tokens:
        yield packed_bytes(op.vocab * op.width, op.weight_dtype)
    elif isinstance(op, Matmul) and op.layer == OUTSIDE and op.n != tokens:
        yield packed_bytes(op.k * op.n, op.weight_dtype)
    elif not isinstance(op, Embedding | Matmul | Moe):
        yield from (t.size_bytes for t in op.inputs if t.role == "weight")
