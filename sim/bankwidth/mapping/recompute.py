"""Sequences without room for their keys and values: through the model again, whole, in every step.

A decode step then begins with a prefill of those sequences, as one pass; in practice it comes in
chunks that fit, which is as much work. Nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bankwidth.errors import MappingError
from bankwidth.mapping.placement import GIB, needed_bytes
from bankwidth.operators import (
    OUTSIDE,
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Trace,
)
from bankwidth.operators.trace import Block
from bankwidth.spec import MachineSpec


def with_recomputation(machine: MachineSpec, trace: Trace) -> Trace:
    """A decode step that computes again what has no room; a prefill keeps what has.

    Raises MappingError where not one sequence has room, and for a run of several steps.
    """
    if not machine.mapping.offload.recompute:
        return trace
    missing = trace.batch - _sequences_with_room(machine, trace)
    if missing <= 0:
        return trace
    kept_bytes = trace.kv_bytes * (trace.batch - missing) // trace.batch
    if trace.phase == "prefill":
        return replace(trace, kv_bytes=kept_bytes)
    if trace.phase != "decode":
        raise MappingError(
            f"{machine.name}: keys and values of {missing} of {trace.batch} sequences are computed "
            "again in every step (mapping.offload.recompute): simulate single steps, --phase decode"
        )
    again = tuple(_again(trace, missing))
    return replace(trace, blocks=(*again, *trace.blocks), kv_bytes=kept_bytes)


def _sequences_with_room(machine: MachineSpec, trace: Trace) -> int:
    """Sequences whose keys and values fit beside all else in their memory."""
    place = machine.mapping.place
    capacity = machine.memories[place["kv"]].capacity_bytes
    if capacity is None:
        return trace.batch
    others = sum(
        size
        for role, size in needed_bytes(trace).items()
        if role != "kv" and place[role] == place["kv"]
    )
    per_sequence = -(-trace.kv_bytes // trace.batch)
    room = max(0, capacity - others) // per_sequence
    if room == 0:
        raise MappingError(
            f"{machine.name}: {others / GIB:.2f} GiB of all else and {per_sequence / GIB:.2f} GiB "
            f"of keys and values of one sequence do not fit {capacity / GIB:.2f} GiB of memory "
            f"{place['kv']!r}"
        )
    return min(trace.batch, room)


def _again(trace: Trace, sequences: int) -> Iterator[Block]:
    """The layers of a prefill of all but the newest token of some sequences; no logits."""
    for block in trace.blocks:
        is_head = block is trace.blocks[-1] and block.operators[0].layer == OUTSIDE
        if not is_head:
            operators = tuple(_operator_again(op, trace, sequences) for op in block.operators)
            yield replace(block, name=f"again {block.name}", operators=operators)


def _operator_again(op: Operator, trace: Trace, sequences: int) -> Operator:
    """The same of all tokens of the sequences instead of one of each of the batch."""
    tokens = sequences * max(1, trace.context - 1)
    changes: dict[str, Any]
    match op:
        case Attention():
            length = max(1, op.kv_len - 1)
            changes = {"phase": "prefill", "batch": sequences, "q_len": length, "kv_len": length}
        case Matmul():
            changes = {"m": tokens}
        case Norm():
            changes = {"rows": tokens}
        case Elementwise():
            changes = {"elements": op.elements // trace.batch * tokens, "rows": tokens}
        case Embedding() | KvAppend() | Rope():
            changes = {"tokens": tokens}
        case _:
            raise MappingError(
                f"{op.kind} {op.name!r} is not computed again: leave out `recompute`"
            )
    return replace(op, **changes)
