"""Look-ups and appends: few rows of a large table, other ones in each call."""

from __future__ import annotations

from functools import partial

from gpucap.cases import Case
from gpucap.machine import torch_module
from gpucap.plan import CACHE_SLOTS
from gpucap.shapes import Embedding, KvAppend
from gpucap.tensors import Maker, Tensor, error_of, exact

_CALLS = 64  # with rows of their own


def embedding_case(shape: Embedding, make: Maker, copies: int) -> Case:
    """Rows of `copies` tables."""
    torch = torch_module()
    tables = [make.normal(shape.vocab, shape.width) for _ in range(copies)]
    places = [make.choice(shape.tokens, shape.vocab) for _ in range(max(copies, _CALLS))]
    look_up = torch.nn.functional.embedding
    calls = [partial(look_up, ids, tables[i % copies]) for i, ids in enumerate(places)]

    def check(index: int) -> float:
        reference = exact(tables[index % copies], rows=places[index])
        return error_of(calls[index](), reference)

    return Case(calls=calls, check=check, tolerance=0.0, cold_bytes=shape.cold_bytes)


def kv_append_case(shape: KvAppend, make: Maker, copies: int) -> Case:
    """New keys and values to random places of `copies` caches, two kernels a call."""
    slots = max(CACHE_SLOTS, shape.tokens)
    row = (shape.kv_heads, shape.head_dim)
    caches = [(make.normal(slots, *row), make.normal(slots, *row)) for _ in range(copies)]
    new = (make.normal(shape.tokens, *row), make.normal(shape.tokens, *row))
    places = [make.choice(shape.tokens, slots) for _ in range(max(copies, _CALLS))]
    calls = [partial(_append, caches[i % copies], at, new) for i, at in enumerate(places)]

    def check(index: int) -> float:
        cache, at = caches[index % copies], places[index]
        references = [_appended(old, at, fresh) for old, fresh in zip(cache, new, strict=True)]
        calls[index]()
        return max(error_of(now, ref) for now, ref in zip(cache, references, strict=True))

    return Case(calls=calls, check=check, tolerance=0.0, cold_bytes=shape.cold_bytes)


def _append(cache: tuple[Tensor, Tensor], at: Tensor, new: tuple[Tensor, Tensor]) -> Tensor:
    keys, values = cache
    values.index_copy_(0, at, new[1])
    return keys.index_copy_(0, at, new[0])


def _appended(old: Tensor, at: Tensor, fresh: Tensor) -> Tensor:
    """What the cache must hold afterwards: the new rows, and all others as they were."""
    reference = exact(old)
    reference[at.cpu()] = exact(fresh)
    return reference
