"""Feed-forward parts of a trace: up, function, down, one behind the other; their neurons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bankwidth.operators import Elementwise, Matmul, Operator, packed_bytes
from bankwidth.operators.base import OUTSIDE

Part = Literal["up", "function", "down"]
_GATED = "silu_mul"
_NO_FUNCTION = ("add", "mul")


def part_of(before: Operator | None, op: Operator, after: Operator | None) -> Part | None:
    """What an operator is of a feed-forward part, by its neighbours; None where it is no part."""
    if op.layer == OUTSIDE:
        return None
    if _is_function(op) and isinstance(before, Matmul) and isinstance(after, Matmul):
        return "function"
    if isinstance(op, Matmul) and op.has_weight:
        if _is_function(after):
            return "up"
        if _is_function(before):
            return "down"
    return None


def _is_function(op: Operator | None) -> bool:
    return isinstance(op, Elementwise) and op.function not in _NO_FUNCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Neurons:
    """Those of one feed-forward part: each has a row of every matrix, `row` elements wide."""

    width: int
    matrices: int  # that a neuron has a row of
    row: int
    dtype: str

    @property
    def row_bytes(self) -> int:
        """Of one matrix."""
        return packed_bytes(self.row, self.dtype)

    @property
    def neuron_bytes(self) -> int:
        """Of all matrices."""
        return self.matrices * self.row_bytes

    def count(self, share: float) -> int:
        """Whole neurons of a share of them."""
        return round(self.width * share)


def neurons_of(up: Matmul, function: Operator | None) -> Neurons:
    """Of the part that begins with `up`; a gated one has two rows of it per neuron."""
    columns = 2 if isinstance(function, Elementwise) and function.function == _GATED else 1
    return Neurons(width=up.n // columns, matrices=columns + 1, row=up.k, dtype=up.weight_dtype)


def narrowed(op: Operator, part: Part, share: float) -> Operator:
    """An operator of a feed-forward part as it computes with a share of the neurons."""
    if part == "function" and isinstance(op, Elementwise):
        rows = op.rows or 1
        return replace(op, elements=rows * max(1, round(op.elements / rows * share)))
    if part == "up" and isinstance(op, Matmul):
        return replace(op, n=max(1, round(op.n * share)))
    if part == "down" and isinstance(op, Matmul):
        return replace(op, k=max(1, round(op.k * share)))
    return op


def parts(operators: Sequence[Operator]) -> Iterator[tuple[Operator, Part | None]]:
    """Every operator with what it is of a feed-forward part."""
    around: Iterable[Operator | None] = [None, *operators, None]
    before, op = None, None
    for after in around:
        if op is not None:
            yield op, part_of(before, op, after)
        before, op = op, after
