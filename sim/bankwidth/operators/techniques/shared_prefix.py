"""A prefix that all sequences share: Hydragen (Juravsky et al., ICML 2024, arXiv 2402.05099).

Attention falls into two parts: all sequences' queries against the one prefix, as one product, and
each sequence's against what follows it; both are merged by their log-sum-exp. The prefix is stored
once, and a prefill goes through it once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.model import AttentionShape, ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.passes import Group, Pass, uniform_pass
from bankwidth.operators.techniques.base import NamedPass, Technique
from bankwidth.operators.techniques.rewrite import (
    expanded_prompts,
    first_layer,
    is_whole,
    rewrite_block,
    rewrite_blocks,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise
from bankwidth.spec.techniques.attention import SharedPrefixSpec


def _passes(passes: list[NamedPass], options: SharedPrefixSpec) -> list[NamedPass]:
    """A prompt's prefix goes through the model once, before what follows it in each sequence."""
    made: list[NamedPass] = []
    for name, run in passes:
        _check(run, options.tokens)
        groups = tuple(_rest(group, options.tokens) for group in run.groups)
        left = tuple(group for group in groups if group.q_len)
        if groups != run.groups:
            prefix = uniform_pass("prefill", batch=1, q_len=options.tokens, kv_len=options.tokens)
            ended = run.logits_rows if not left else 0
            made.append((f"{name}prefix ", replace(prefix, logits=ended)))
        if left:
            made.append((name, replace(run, groups=left)))
    return made


def _check(run: Pass, tokens: int) -> None:
    shortest = min(group.kv_len - (group.phase == "decode") for group in run.groups)
    if shortest < tokens:
        raise SpecError(
            f"shared_prefix: a sequence of {shortest} cached tokens is shorter than the prefix of "
            f"{tokens}; choose fewer, or a longer context or prompt"
        )


def _rest(group: Group, tokens: int) -> Group:
    """A whole prompt without its prefix, which is in the cache by then."""
    is_whole = group.phase == "prefill" and group.q_len == group.kv_len
    return replace(group, q_len=group.q_len - tokens) if is_whole else group


def _trace(trace: Trace, options: SharedPrefixSpec, model: ModelShape) -> Trace:
    def split(block: Block) -> Block:
        layer = first_layer(block)
        is_models = OUTSIDE < layer < len(model.layers)
        return _block(block, model, layer, options) if is_models else block

    return rewrite_blocks(trace, split)


def _block(block: Block, model: ModelShape, layer: int, options: SharedPrefixSpec) -> Block:
    tokens = options.tokens
    mixer = model.layers[layer].attention
    if isinstance(mixer, AttentionShape) and (mixer.window or mixer.chunk):
        return block  # it no longer sees the prefix
    stored: list[str] = []  # attentions that hold the prefix: one is enough

    expanded = expanded_prompts(block)

    def parts(op: Operator) -> list[Operator]:
        if isinstance(op, KvAppend) and is_whole(op):
            return [replace(op, stored_len=_stored_once(op, expanded, tokens))]
        is_behind = isinstance(op, Attention) and op.kv_role == "kv" and op.causal
        if not isinstance(op, Attention) or not is_behind or op.kv_len - op.q_len < tokens:
            return [op]
        if not options.batched:
            stored.append(op.name)
            return [_reading_alone(op, tokens, is_stored=len(stored) == 1)]
        prefix = _prefix(op, tokens, is_stored=not stored)
        stored.append(prefix.name)
        suffix = replace(op, kv_len=op.kv_len - tokens)
        return [prefix, suffix, _merge(op, prefix.name)]

    return rewrite_block(block, parts)


def _stored_once(op: KvAppend, expanded: list[Attention], tokens: int) -> int:
    """Of prompts that latents are stored of: the prefix, and what follows it in each sequence."""
    behind = [each for each in expanded if each.kv_len - each.q_len >= tokens]
    spared = sum(each.batch for each in behind) - 1
    return op.stored_len - max(0, spared) * tokens


def _prefix(op: Attention, tokens: int, *, is_stored: bool) -> Attention:
    """All queries of all sequences as if they were one sequence's, none of them masked."""
    return replace(
        op,
        name=f"{op.name}.prefix",
        phase="prefill",
        batch=1,
        q_len=op.batch * op.q_len,
        kv_len=tokens,
        causal=False,
        residual=0,
        stored_len=None if is_stored else 0,
        has_sinks=False,
    )


def _reading_alone(op: Attention, tokens: int, *, is_stored: bool) -> Attention:
    """The same attention over a cache that has the prefix once."""
    whole = op.batch * (op.kv_len - tokens) + (tokens if is_stored else 0)
    return replace(op, stored_len=-(-whole // op.batch))


def _merge(op: Attention, prefix: str) -> Elementwise:
    rows = op.batch * op.q_len * op.n_heads
    return Elementwise(
        name=f"{op.name}.merge",
        layer=op.layer,
        deps=(op.name, prefix),
        function="merge",
        elements=rows * op.value_dim,
        num_inputs=2,
        dtype=op.dtype,
        rows=rows,
    )


TECHNIQUE: Final = Technique(
    name="shared_prefix",
    paper="Hydragen, Juravsky et al., ICML 2024, arXiv 2402.05099",
    example="--with shared_prefix:tokens=1024",
    passes=_passes,
    trace=_trace,
)
