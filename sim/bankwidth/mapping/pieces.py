"""Operators cut into pieces of heads, and the order in which their tasks wait for one another.

Attention that runs beside the banks that make its queries, keys and values can start as soon as the
first heads are there. So, where a machine says how many heads go together, an attention and all
operators from its product on are cut alike: a piece waits only for the same piece before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bankwidth.errors import MappingError
from bankwidth.mapping.plan import Task
from bankwidth.operators import Attention, KvAppend, Matmul, Operator, Rope
from bankwidth.operators.trace import Step


@dataclass(frozen=True, slots=True)
class Linked:
    """An operator's tasks in the plan: the first one, and the last one of each piece."""

    first: int
    ends: tuple[int, ...]


def link(
    pieces: Sequence[Sequence[Task]],
    producers: Sequence[Linked],
    plan: list[Task],
    operator: int,
) -> Linked:
    """Append the tasks of the pieces of operator number `operator` to a plan.

    The first task of a piece waits for the producers, for their piece alone where they are cut
    alike; each further task for its forerunner. Loads that go ahead wait for what the task before
    waits for; those of a piece's first task for what the last one of the piece before waits for, so
    that the scratchpads hold two pieces at most (IANUS, section 6.2: keys of the next head are
    fetched while the context of this one is computed).
    """
    first = len(plan)
    ends: list[int] = []
    for number, tasks in enumerate(pieces):
        waits = _waits(producers, number, len(pieces))
        before = tuple(ends[-1:]) or waits[:1]
        for task in tasks:
            early = plan[before[0]].deps if before else ()
            plan.append(task.placed(operator, waits, early))
            waits = before = (len(plan) - 1,)
        ends.append(len(plan) - 1)
    return Linked(first, tuple(ends))


def _waits(producers: Sequence[Linked], piece: int, pieces: int) -> tuple[int, ...]:
    """What the first task of a piece waits for."""
    if len(producers) == 1:
        return _ends(producers[0], piece, pieces)
    return tuple([end for p in producers for end in _ends(p, piece, pieces)])


def _ends(producer: Linked, piece: int, pieces: int) -> tuple[int, ...]:
    return (producer.ends[piece],) if len(producer.ends) == pieces else producer.ends


def cut_attention(steps: Sequence[Step], heads: int) -> Mapping[int, int]:
    """Pieces of each operator that is cut: attentions, and back to the products before them.

    Raises MappingError where `heads` does not divide the heads of an attention.
    """
    pieces = {}
    for index, (op, _) in enumerate(steps):
        if isinstance(op, Attention):
            if op.n_kv_heads % heads:
                raise MappingError(
                    f"mapping.heads_together: {heads} heads do not divide the {op.n_kv_heads} "
                    f"of {op.name!r}"
                )
            for part in _back_to_product(steps, index, op):
                pieces[part] = op.n_kv_heads // heads
    return pieces


def _back_to_product(steps: Sequence[Step], index: int, attention: Attention) -> Iterator[int]:
    """The attention at `index` and its producers up to the product of all its heads."""
    heads = attention.n_heads + 2 * attention.n_kv_heads
    found, left = {index}, [index]
    while left:
        for dep in steps[left.pop()].deps:
            op = steps[dep].operator
            is_product = isinstance(op, Matmul) and op.n == heads * attention.head_dim
            if dep not in found and (is_product or isinstance(op, KvAppend | Rope)):
                found.add(dep)
                left += [] if is_product else [dep]
    yield from sorted(found)


def piece_of(op: Operator, pieces: int, number: int) -> Operator:
    """One of equal pieces of an operator that `cut_attention` cuts."""
    name = f"{op.name}.{number}"
    match op:
        case Attention():
            n_heads, n_kv_heads = op.n_heads // pieces, op.n_kv_heads // pieces
            return replace(op, name=name, n_heads=n_heads, n_kv_heads=n_kv_heads)
        case Matmul():
            return replace(op, name=name, n=op.n // pieces)
        case KvAppend():
            return replace(op, name=name, kv_heads=op.kv_heads // pieces)
        case Rope():
            return replace(op, name=name, heads=op.heads // pieces)
    raise MappingError(f"{op.kind} {op.name!r} is not cut into heads")
