"""A budget of cached tokens: H2O (Zhang et al., NeurIPS 2023, arXiv 2306.14048) and attention sinks
(StreamingLLM: Xiao et al., ICLR 2024, arXiv 2309.17453).

H2O keeps the newest tokens and the heavy hitters: those that got most attention so far. Each step
adds the last one's probabilities to their sums and finds who stays. Sinks are the first tokens,
kept beside a window of the newest: nothing is computed for that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.selection import Select
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import (
    expanded_prompts,
    is_whole,
    kept_len,
    rewrite_block,
    rewrite_blocks,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise
from bankwidth.spec.techniques.kv import EvictionSpec


def _trace(trace: Trace, options: EvictionSpec, model: ModelShape) -> Trace:
    return rewrite_blocks(trace, lambda block: _block(block, options))


def _block(block: Block, options: EvictionSpec) -> Block:
    expanded = expanded_prompts(block)

    def evicted(op: Operator) -> list[Operator]:
        if isinstance(op, Attention) and op.kv_role == "kv":
            return _evicted(op, options)
        if isinstance(op, KvAppend) and is_whole(op):
            kept = sum(each.batch * options.kept(each.kv_len) for each in expanded)
            return [replace(op, stored_len=min(op.stored_len, kept))]
        return [op]

    return rewrite_block(block, evicted)


def _evicted(op: Attention, options: EvictionSpec) -> list[Operator]:
    budget = options.kept(op.kv_len)
    if op.kv_len <= budget:
        return [op]
    if op.phase == "prefill":
        return [_prompt(op, budget, is_window=options.method == "sinks")]
    kept = replace(op, kv_len=max(budget, op.q_len), stored_len=_stored(op, budget))
    if options.method == "sinks":
        return [kept]
    older = max(1, budget - round(budget * options.recent))
    sums = _sums(kept)
    return [
        sums,
        _choice(kept, older, sums.name),
        replace(kept, deps=(*op.deps, f"{op.name}.keep")),
    ]


def _prompt(op: Attention, budget: int, *, is_window: bool) -> Attention:
    """All of a prompt's new tokens are seen, of those before them what was kept."""
    seen = min(op.kv_len - op.q_len, budget) + op.q_len
    window = min(op.window or budget, budget) if is_window else op.window
    return replace(op, kv_len=seen, window=window, stored_len=_stored(op, budget))


def _stored(op: Attention, budget: int) -> int:
    return min(kept_len(op), budget)


def _sums(op: Attention) -> Elementwise:
    """The last step's probabilities, added to what each token got before."""
    return Elementwise(
        name=f"{op.name}.sums",
        layer=op.layer,
        deps=op.deps[1:2],
        function="add",
        elements=op.batch * op.n_heads * op.kv_len,
        num_inputs=2,
        dtype=op.dtype,
    )


def _choice(op: Attention, older: int, sums: str) -> Select:
    """Heads that share keys and values keep the same tokens."""
    return Select(
        name=f"{op.name}.keep",
        layer=op.layer,
        deps=(sums,),
        rows=op.batch * op.n_kv_heads,
        width=older,
        k=older,
        dtype=op.dtype,
    )


TECHNIQUE: Final = Technique(
    name="eviction",
    paper="H2O, Zhang et al., NeurIPS 2023, arXiv 2306.14048; StreamingLLM, arXiv 2309.17453",
    example="--with eviction:budget=1024",
    trace=_trace,
)
