"""A trace of operators in their order, from files that know no blocks, phases or caches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.liveness import peak_activation_bytes
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Embedding
from bankwidth.operators.trace import Block, Scalar, Trace

PHASE: Final = "imported"
_DEFAULT_DTYPE: Final = "bf16"  # of a role that no operator has


def one_block(
    model: str,
    operators: Sequence[Operator],
    *,
    weight_bytes: int | None = None,
    meta: Mapping[str, Scalar] | None = None,
) -> Trace:
    """The operators as one block that runs once; see `of_blocks`."""
    block = Block(name="all", operators=tuple(operators))
    return of_blocks(model, (block,), weight_bytes=weight_bytes, meta=meta)


def of_blocks(
    model: str,
    blocks: tuple[Block, ...],
    *,
    weight_bytes: int | None = None,
    meta: Mapping[str, Scalar] | None = None,
) -> Trace:
    """A trace whose phase, batch and context are not known; dtypes are the most frequent ones.

    Without `weight_bytes` every operator has weights of its own, in every repeat.
    """
    operators = [operator for block in blocks for operator in block.operators]
    kept = sum(block.repeat * op.stored_bytes for block in blocks for op in block.operators)
    far = sum(block.repeat * op.far_stored_bytes for block in blocks for op in block.operators)
    weights = sum(block.repeat * stored_weights(op) for block in blocks for op in block.operators)
    return Trace(
        model=model,
        phase=PHASE,
        batch=1,
        context=0,
        output_tokens=1,
        dtypes=_dtypes(operators),
        blocks=blocks,
        weight_bytes=weights if weight_bytes is None else weight_bytes,
        kv_bytes=kept,
        activation_bytes=peak_activation_bytes(blocks),
        meta=dict(meta or {}),
        far_bytes=far,
    )


def stored_weights(operator: Operator) -> int:
    """Bytes of an operator's parameters: whole tables and all experts, not only what it reads."""
    if isinstance(operator, Embedding):
        return packed_bytes(operator.vocab * operator.width, operator.weight_dtype)
    if isinstance(operator, Moe):
        inner = operator.local_inter * (3 if operator.gated else 2)
        experts = operator.experts // operator.moe_ep
        return packed_bytes(experts * operator.hidden * inner, operator.weight_dtype)
    return sum(tensor.size_bytes for tensor in operator.inputs if tensor.role == "weight")


def _dtypes(operators: Iterable[Operator]) -> dict[str, str]:
    counts = {role: Counter[str]() for role in ("weight", "activation", "kv")}
    for operator in operators:
        for tensor in (*operator.inputs, *operator.outputs):
            if tensor.role in counts:
                counts[tensor.role][tensor.dtype] += 1
    main = {role: count.most_common(1)[0][0] for role, count in counts.items() if count}
    activations = main.get("activation", _DEFAULT_DTYPE)
    return {role: main.get(role, activations) for role in counts}


def unique_names(names: Iterable[str]) -> list[str]:
    """The names in order; a second `norm` becomes `norm.1`, whatever is taken is passed over."""
    taken: set[str] = set()
    following: dict[str, int] = {}
    unique = []
    for name in names:
        wanted, count = name, following.get(name, 0)
        while wanted in taken or wanted.startswith("@"):
            count += 1
            wanted = f"{name.lstrip('@')}.{count}"
        following[name] = count
        taken.add(wanted)
        unique.append(wanted)
    return unique


def renamed(operator: Operator, name: str, deps: Iterable[str] = ()) -> Operator:
    """The operator under another name, waiting for others."""
    return replace(operator, name=name, deps=tuple(deps))
