"""Replacing operators of a trace by others, and cutting its blocks between layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.trace import Block, Trace

INDEX: Final = ".index"  # how appends to something kept beside keys and values are named

Rewriter = Callable[[Operator], Sequence[Operator]]


def rewrite(trace: Trace, function: Rewriter) -> Trace:
    """Every operator as what `function` makes of it: itself, others in its place, or nothing.

    The last operator of a replacement stands for the replaced one where others depend on it; any
    further one that no other of the replacement depends on is waited for as well. What depends on
    an operator that is left out depends on what that one did.
    """
    return rewrite_blocks(trace, lambda block: rewrite_block(block, function))


def rewrite_blocks(trace: Trace, function: Callable[[Block], Block]) -> Trace:
    """Every block as `function` makes it anew."""
    return replace(trace, blocks=tuple(function(block) for block in trace.blocks))


def rewrite_block(block: Block, function: Rewriter) -> Block:
    """As `rewrite`, of one block."""
    made: list[Operator] = []
    stands: dict[str, tuple[str, ...]] = {}  # what others depend on, by the name it had
    for op in block.operators:
        op = with_deps(op, _renamed(op.deps, stands))
        new = tuple(function(op))
        made += new
        results = _results(new) if new else op.deps
        if results != (op.name,):
            stands[op.name] = results
    return replace(block, operators=tuple(made))


def with_deps(op: Operator, deps: tuple[str, ...]) -> Operator:
    """The operator behind others."""
    return op if deps == op.deps else replace(op, deps=deps)


def _results(made: Sequence[Operator]) -> tuple[str, ...]:
    """The last operator, and those before it that nothing else of the replacement needs."""
    needed = {dep for op in made for dep in op.deps}
    return (made[-1].name, *(op.name for op in made[:-1] if op.name not in needed))


def _renamed(deps: Sequence[str], stands: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """In their order, as they give the inputs; what is only waited for comes behind."""
    firsts = [stands[dep][0] if stands.get(dep) else dep for dep in deps]
    others = [name for dep in deps for name in stands.get(dep, ())[1:] if name not in firsts]
    return (*firsts, *dict.fromkeys(others))


def cut(trace: Trace, layer: int) -> Trace:
    """The same with no block that holds both layer `layer` and the one before it."""
    blocks = [part for block in trace.blocks for part in _parts(block, layer)]
    return replace(trace, blocks=tuple(blocks))


def first_layer(block: Block) -> int:
    """The layer of a block's first iteration; OUTSIDE for what belongs to no layer."""
    return next((op.layer for op in block.operators if op.layer != OUTSIDE), OUTSIDE)


def _parts(block: Block, layer: int) -> list[Block]:
    first = first_layer(block)
    before = layer - first
    if first == OUTSIDE or not 0 < before < block.repeat:
        return [block]
    return [_iterations(block, first, 0, before), _iterations(block, first, before, block.repeat)]


def _iterations(block: Block, first: int, start: int, end: int) -> Block:
    """Iterations of a block from `start` up to before `end`."""
    whole = f"{first}-{first + block.repeat - 1}"
    name = f"{block.name.removesuffix(whole)}{first + start}-{first + end - 1}"
    operators = tuple(
        op if op.layer == OUTSIDE else replace(op, layer=op.layer + start) for op in block.operators
    )
    return Block(name=name, repeat=end - start, operators=operators)


def readers(block: Block) -> dict[str, list[Attention]]:
    """Attentions of a block, by the operators that they depend on."""
    found: dict[str, list[Attention]] = {}
    for op in block.operators:
        if isinstance(op, Attention):
            for dep in op.deps:
                found.setdefault(dep, []).append(op)
    return found


def expanded_prompts(block: Block) -> list[Attention]:
    """Attentions of prompts over what was made of stored latents: an append says what is kept."""
    return [
        op
        for op in block.operators
        if isinstance(op, Attention) and op.causal and op.kv_role == "activation"
    ]


def is_whole(op: Operator) -> bool:
    """Whether it is the append of a layer's cache that says itself how much is kept."""
    return isinstance(op, KvAppend) and op.stored_len > 0 and not op.name.endswith(INDEX)


def is_cached(op: Operator) -> bool:
    """Whether it is an attention over keys and values in the cache."""
    return isinstance(op, Attention) and op.kv_role == "kv"


def kept_len(op: Attention) -> int:
    """Tokens of a sequence that the cache keeps, pages not rounded up."""
    seen = op.kv_len if op.window is None else min(op.kv_len, op.window)
    return seen if op.stored_len is None else op.stored_len


def stored_tokens(op: Attention) -> int:
    """Of all its sequences, whole pages where there are any."""
    page = op.page or 1
    return op.batch * -(-kept_len(op) // page) * page
