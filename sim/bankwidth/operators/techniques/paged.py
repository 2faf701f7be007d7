"""Blocks of the cache: PagedAttention (Kwon et al., SOSP 2023, arXiv 2309.06180).

A sequence's tokens fill blocks one by one; the last may be empty in part, and attention reads the
table of its blocks. Before it, a sequence had one piece of memory for the longest it may get.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.model import ModelShape
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import kept_len, rewrite
from bankwidth.operators.trace import Trace
from bankwidth.spec.techniques.kv import PagedSpec


def _trace(trace: Trace, options: PagedSpec, model: ModelShape) -> Trace:
    def stored(op: Operator) -> list[Operator]:
        if not isinstance(op, Attention) or op.kv_role == "activation":
            return [op]
        if options.contiguous is None:
            return [replace(op, page=op.page or options.block)]
        return [_reserved(op, options.contiguous)]

    return rewrite(trace, stored)


def _reserved(op: Attention, most: int) -> Attention:
    if op.kv_len > most:
        raise SpecError(
            f"paged: contiguous {most}: a sequence has {op.kv_len} tokens; reserve at least as many"
        )
    return replace(op, stored_len=max(kept_len(op), most))


TECHNIQUE: Final = Technique(
    name="paged",
    paper="PagedAttention, Kwon et al., SOSP 2023, arXiv 2309.06180",
    example="--with paged:block=16",
    trace=_trace,
)
