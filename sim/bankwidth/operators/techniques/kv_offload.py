"""Keys and values in a memory further away, fetched when or before they are needed.

Layers or some of them: FlexGen (Sheng et al., ICML 2023, arXiv 2303.06865); what was selected:
InfiniGen (Lee et al., OSDI 2024, arXiv 2406.19707), with sparse_attention; head by head: HeadInfer
(Luo et al. 2025, arXiv 2502.12574), where the engine's memory holds two groups of heads at a time.
What is fetched stays packed as it was; a step's new keys and values are still where they were made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import PREVIOUS, Operator
from bankwidth.operators.fetch import Fetch
from bankwidth.operators.model import ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.selection import Score, Select
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import (
    cut,
    first_layer,
    is_cached,
    is_whole,
    kept_len,
    rewrite_block,
    rewrite_blocks,
    stored_tokens,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.spec.techniques.kv import KvOffloadSpec

WHAT: Final = "keys and values"


def _trace(trace: Trace, options: KvOffloadSpec, model: ModelShape) -> Trace:
    layers = len(model.layers)
    near = layers - max(1, round(options.share * layers))

    def away(block: Block) -> Block:
        layer = first_layer(block)
        return _Layer(block, options).block() if near <= layer < layers else block

    return rewrite_blocks(cut(trace, near), away)


class _Layer:
    """The operators of one block."""

    def __init__(self, block: Block, options: KvOffloadSpec) -> None:
        self._block = block
        self._options = options
        self._by_name = {op.name: op for op in block.operators}
        self._reading = [
            op for op in block.operators if isinstance(op, Attention) and is_cached(op)
        ]
        self._appends = {
            dep
            for op in self._reading
            for dep in op.deps
            if isinstance(self._by_name.get(dep), KvAppend)
        }

    def block(self) -> Block:
        return rewrite_block(self._block, self._away)

    def _away(self, op: Operator) -> list[Operator]:
        if isinstance(op, KvAppend) and (op.name in self._appends or is_whole(op)):
            return [self._appended(op)]
        if isinstance(op, Score) and set(op.deps) & self._appends:
            return [replace(op, kv_role="far")]  # components of the keys themselves
        if isinstance(op, Attention) and op.kv_role == "kv":
            return self._fetched(op)
        return [op]

    def _appended(self, op: KvAppend) -> KvAppend:
        """Where nothing is fetched, nothing else says what is kept: of whole prompts."""
        fetched = self._options.access != "direct"
        untold = [each for each in self._reading if fetched and not _cached_len(each)]
        stored = sum(stored_tokens(each) for each in untold)
        return replace(op, kv_role="far", stored_len=op.stored_len + stored)

    def _fetched(self, op: Attention) -> list[Operator]:
        if self._options.access == "direct":
            return [replace(op, kv_role="far")]
        made: list[Operator] = []
        for part in _head_groups(op, self._options.heads):
            cached = _cached_len(part)
            if cached:
                made.append(self._fetch(part, cached))
            deps = (*part.deps, made[-1].name) if cached else part.deps
            made.append(replace(part, deps=deps, kv_role="activation", page=0, stored_len=None))
        return made

    def _fetch(self, op: Attention, tokens: int) -> Fetch:
        return Fetch(
            name=f"{op.name}.fetch",
            layer=op.layer,
            deps=self._waits(op),
            size_bytes=_bytes_of(op, tokens),
            what=WHAT,
            pieces=self._pieces(op, tokens),
            kept_bytes=op.stored_bytes,
        )

    def _waits(self, op: Attention) -> tuple[str, ...]:
        """What a fetch waits for: nothing, if it is known a layer ahead what it brings."""
        select = self._select(op)
        is_early = select is None or not self._needs_query(select, op)
        if self._options.access == "prefetch" and is_early:
            return ()
        if select is not None:
            return (select,)
        return op.deps or (PREVIOUS,)

    def _select(self, op: Attention) -> str | None:
        """Name of the choice of tokens that the attention waits for."""
        if not _is_selected(op):
            return None
        return next((dep for dep in op.deps if isinstance(self._by_name.get(dep), Select)), None)

    def _needs_query(self, name: str, op: Attention) -> bool:
        """Whether an operator depends on what the attention's query does."""
        if name == op.deps[0]:
            return True
        found = self._by_name.get(name)
        firsts = found.deps[:1] if found is not None else ()
        return any(self._needs_query(dep, op) for dep in firsts)

    def _pieces(self, op: Attention, tokens: int) -> int:
        """Keys and values of a sequence lie together, in pages, or are picked token by token."""
        kinds = 1 if op.latent else 2
        runs = -(-tokens // op.page) if op.page else 1
        if self._select(op) is not None:
            runs = op.n_kv_heads * (runs if op.page else tokens)
        return op.batch * runs * kinds


def _head_groups(op: Attention, heads: int | None) -> list[Attention]:
    """The attention in groups of KV heads with their query heads."""
    if heads is None or heads >= op.n_kv_heads:
        return [op]
    if op.n_kv_heads % heads:
        raise SpecError(
            f"kv_offload: heads {heads} do not divide the {op.n_kv_heads} heads of keys and values"
        )
    count = op.n_kv_heads // heads
    return [
        replace(op, name=f"{op.name}.head{index}", n_heads=op.n_heads // count, n_kv_heads=heads)
        for index in range(count)
    ]


def _is_selected(op: Attention) -> bool:
    """Whether it reads less than is kept."""
    return op.phase == "decode" and kept_len(op) > op.read_len


def _cached_len(op: Attention) -> int:
    """Tokens of a sequence that are not new, among those that are read."""
    return op.read_len if _is_selected(op) or not op.causal else op.read_len - op.q_len


def _bytes_of(op: Attention, tokens: int) -> int:
    """Keys and values of so many of its tokens, as they are stored."""
    part = replace(op, q_len=1, kv_len=tokens, causal=False, window=None, page=0, stored_len=None)
    return part.stored_bytes


TECHNIQUE: Final = Technique(
    name="kv_offload",
    paper="HeadInfer, Luo et al. 2025, arXiv 2502.12574; FlexGen, arXiv 2303.06865",
    example="--with kv_offload:access=prefetch,heads=1",
    trace=_trace,
)
