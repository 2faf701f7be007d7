"""What is fetched from a memory further away: a task of a unit of its own, beside the computing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bankwidth.mapping.context import LoweringContext
from bankwidth.mapping.plan import FETCH, Task
from bankwidth.operators import Fetch, Step

BUFFERS: Final = 2  # of each kind of prefetch: one is filled while the other is used


def fetch_task(op: Fetch, index: int, engine: str, context: LoweringContext) -> Task:
    """A copy out of the memory further away into that of activations, one at a time.

    Pieces at places of their own are read as such from drives; what DRAM takes for them is what it
    takes for as many consecutive bytes.
    """
    (far,), (near,) = op.inputs, op.outputs
    load = context.transfer(far, op.layer, is_write=False, size_bytes=op.size_bytes)
    store = context.transfer(near, op.layer, is_write=True, size_bytes=op.size_bytes)
    return Task(
        name=op.name,
        operator=index,
        engine=engine,
        unit=f"{FETCH} from {load.memory}",
        deps=(),
        loads=(load if op.pieces == 1 else load.in_chunks(-(-op.size_bytes // op.pieces)),),
        stores=(store,),
        detail=f"{op.what}, {op.pieces} piece{'s' if op.pieces > 1 else ''} from {load.memory}",
    )


def prefetch_waits(steps: Sequence[Step]) -> Mapping[int, tuple[int, ...]]:
    """Steps that a prefetch waits for: those that used what the one two before it had brought.

    Those that bring the same kind of thing share two buffers, whatever their names.
    """
    users: dict[int, list[int]] = {
        index: [] for index, (op, _) in enumerate(steps) if isinstance(op, Fetch) and op.is_prefetch
    }
    if not users:
        return {}
    for index, (_, deps) in enumerate(steps):
        for dep in deps:
            if dep in users:
                users[dep].append(index)
    likes: dict[str, list[int]] = {}
    waits = {}
    for index in users:
        op = steps[index].operator
        before = likes.setdefault(op.what if isinstance(op, Fetch) else "", [])
        waits[index] = tuple(users[before[-BUFFERS]]) if len(before) >= BUFFERS else ()
        before.append(index)
    return waits
