"""Attention where keys and values are: DistAttention of Infinite-LLM (Lin et al. 2024, arXiv
2401.02669) and Lamina (Chen et al. 2024, arXiv 2405.01814).

A layer's keys and values are shared out to several places, by tokens or by heads. In a decode step
the query goes to all of them, each attends to what it has, and the outputs come back: of tokens
with their log-sum-exp, by which they are merged. What is traced is one place that has all the rest
of the model as well; the others' attention takes as long as its own. New keys and values travel
with the query, those of a prompt once, after it was attended to here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import Collective, KvAppend
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import (
    expanded_prompts,
    is_cached,
    is_whole,
    kept_len,
    rewrite_block,
    rewrite_blocks,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise
from bankwidth.spec.techniques.attention import AttentionAtKvSpec

LSE_DTYPE: Final = "fp32"  # of a log-sum-exp: one per head of a new token


def _trace(trace: Trace, options: AttentionAtKvSpec, model: ModelShape) -> Trace:
    return rewrite_blocks(trace, lambda block: _Layer(block, options).block())


class _Layer:
    """The operators of one block."""

    def __init__(self, block: Block, options: AttentionAtKvSpec) -> None:
        self._block = block
        self._ways = options.ways
        self._by_heads = options.split == "heads"
        reading = [op for op in block.operators if isinstance(op, Attention) and is_cached(op)]
        self._reading = reading
        self._expanded = expanded_prompts(block)
        self._appends = {dep for op in reading for dep in op.deps}

    def block(self) -> Block:
        return rewrite_block(self._block, self._shared)

    def _shared(self, op: Operator) -> list[Operator]:
        if isinstance(op, KvAppend) and (op.name in self._appends or is_whole(op)):
            return self._appended(op)
        if isinstance(op, Attention) and op.kv_role == "kv":
            return self._prompt(op) if _is_prompt(op) else self._asked(op)
        return [op]

    def _appended(self, op: KvAppend) -> list[Operator]:
        """This place's share of the new keys and values; a prompt's others are sent away."""
        prompts = [each for each in self._reading if _is_prompt(each)]
        kept = op.stored_len + sum(each.batch * kept_len(each) for each in prompts)
        stored = self._part(kept)
        if self._by_heads:
            heads = self._divided(op.name, "heads of keys and values", op.kv_heads)
            share = replace(op, kv_heads=heads, stored_len=kept)
        else:
            share = replace(op, tokens=self._part(op.tokens), stored_len=stored)
        tokens = sum(each.batch * each.q_len for each in prompts or self._expanded)
        if not tokens:
            return [share]
        width = op.head_dim if op.latent else op.head_dim + (op.v_head_dim or op.head_dim)
        sent = self._elsewhere(packed_bytes(tokens * op.kv_heads * width, op.kv_dtype))
        message = self._message(op, "send", op.deps, sent)
        return [message, replace(share, deps=(*op.deps, message.name))]

    def _prompt(self, op: Attention) -> list[Operator]:
        """All of its keys and values were just made here."""
        return [
            replace(
                op, kv_role="activation", kv_dtype=op.dtype, v_dtype=None, residual=0, page=0,
                stored_len=None,
            )
        ]  # fmt: skip

    def _asked(self, op: Attention) -> list[Operator]:
        query = self._message(op, "ask", op.deps[:1], self._question_bytes(op))
        part = replace(self._own(op), deps=(*op.deps, query.name))
        back = self._message(op, "answer", (part.name,), self._answer_bytes(op))
        return [query, part, back] if self._by_heads else [query, part, back, self._merge(op, back)]

    def _own(self, op: Attention) -> Attention:
        """This place's part of the attention."""
        if self._by_heads:
            heads = self._divided(op.name, "heads of keys and values", op.n_kv_heads)
            return replace(op, n_heads=op.n_heads // self._ways, n_kv_heads=heads)
        return replace(
            op,
            kv_len=self._part(op.read_len),
            stored_len=self._part(kept_len(op)),
            causal=op.causal and op.q_len == 1,
            window=None,
        )

    def _question_bytes(self, op: Attention) -> int:
        """Queries, to every other place all of them or its heads', and its new keys and values."""
        rows = op.batch * op.q_len
        query = packed_bytes(rows * op.n_heads * op.head_dim, op.dtype)
        width = op.head_dim if op.latent else op.head_dim + op.value_dim
        new = packed_bytes(rows * op.n_kv_heads * width, op.dtype) if op.causal else 0
        asked = self._elsewhere(query) if self._by_heads else (self._ways - 1) * query
        return asked + self._elsewhere(new)

    def _answer_bytes(self, op: Attention) -> int:
        """Outputs of the other places; of tokens whole ones, with their log-sum-exp."""
        heads = op.batch * op.q_len * op.n_heads
        output = packed_bytes(heads * op.value_dim, op.dtype)
        if self._by_heads:
            return self._elsewhere(output)
        return (self._ways - 1) * (output + packed_bytes(heads, LSE_DTYPE))

    def _message(
        self, op: Operator, what: str, deps: tuple[str, ...], size_bytes: int
    ) -> Collective:
        """Through this place's own port, whoever it is from or for."""
        return Collective(
            name=f"{op.name}.{what}",
            layer=op.layer,
            deps=deps,
            function="send_recv",
            size_bytes=max(1, size_bytes),
            ways=self._ways,
        )

    def _merge(self, op: Attention, back: Collective) -> Elementwise:
        rows = op.batch * op.q_len * op.n_heads
        return Elementwise(
            name=f"{op.name}.joined",
            layer=op.layer,
            deps=(op.name, back.name),
            function="merge",
            elements=rows * op.value_dim,
            num_inputs=self._ways,
            dtype=op.dtype,
            rows=rows,
        )

    def _part(self, count: int) -> int:
        return -(-count // self._ways)

    def _elsewhere(self, size_bytes: int) -> int:
        """What is for the other places, of something shared out to all."""
        return -(-size_bytes * (self._ways - 1) // self._ways)

    def _divided(self, name: str, what: str, count: int) -> int:
        if count % self._ways:
            raise SpecError(
                f"attention_at_kv: {name}: {count} {what} cannot be shared out equally to "
                f"{self._ways} places; choose a divisor of them, or split: tokens"
            )
        return count // self._ways


def _is_prompt(op: Attention) -> bool:
    """Whether all keys and values that it reads are of its own new tokens."""
    return op.phase == "prefill" and op.causal and op.q_len == op.kv_len


TECHNIQUE: Final = Technique(
    name="attention_at_kv",
    paper="DistAttention, arXiv 2401.02669; Lamina, arXiv 2405.01814",
    example="--with attention_at_kv:ways=4",
    trace=_trace,
)
