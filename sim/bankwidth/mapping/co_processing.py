"""Feed-forward products shared by two engines: each computes a part of the columns at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bankwidth.errors import MappingError
from bankwidth.operators import Attention, KvAppend, Matmul, Operator, Rope
from bankwidth.operators.base import OUTSIDE
from bankwidth.operators.trace import Step
from bankwidth.spec import SharedProductsSpec

COLUMNS = 16  # a part of a product is a multiple of it


def shared_products(steps: Sequence[Step]) -> frozenset[int]:
    """Products of layers that neither feed attention nor take its result."""
    near: set[int] = set()
    for index, (op, deps) in enumerate(steps):
        if isinstance(op, Attention | KvAppend | Rope):
            near.update(deps)
        if any(isinstance(steps[dep].operator, Attention) for dep in deps):
            near.add(index)
    return frozenset(
        index
        for index, (op, _) in enumerate(steps)
        if isinstance(op, Matmul) and op.has_weight and op.layer != OUTSIDE and index not in near
    )


def parts_of(op: Operator, engine: str, shared: SharedProductsSpec) -> list[tuple[str, Operator]]:
    """(engine, its columns of the product). Raises MappingError where they are too few."""
    if not isinstance(op, Matmul):
        raise MappingError(f"{op.kind} {op.name!r} is no product to share")
    theirs = COLUMNS * round(shared.share * op.n / COLUMNS)
    if not 0 < theirs < op.n:
        raise MappingError(
            f"matmul {op.name!r}: {shared.share:.3g} of {op.n} columns is {theirs}, in parts of "
            f"{COLUMNS}: nothing is left to share"
        )
    part = replace(op, name=f"{op.name}.{shared.engine}", n=theirs)
    return [(engine, replace(op, n=op.n - theirs)), (shared.engine, part)]
