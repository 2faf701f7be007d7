"""Experts in a memory further away, a few of each layer near.

Mixtral-offloading (Eliseev and Mazur 2023, arXiv 2312.17238): those used last stay; guesses of the
next layer's experts are fetched ahead. MoE-Infinity (Xue et al. 2024, arXiv 2401.14361) keeps and
prefetches by how often experts were used. How many are missing is counted by replaying passes, one
after the other, recorded or drawn. What a pass uses counts as used at once: it finds what was near
before it, and leaves near what ranks first after it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from bankwidth.errors import SpecError
from bankwidth.operators.base import PREVIOUS, Operator
from bankwidth.operators.fetch import Fetch
from bankwidth.operators.model import ModelShape
from bankwidth.operators.moe import Moe
from bankwidth.operators.parallel import AWAY, SHARED_FIRST
from bankwidth.operators.routing import popularity
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.moe_routing import moes, read_routing
from bankwidth.operators.techniques.rewrite import cut, rewrite
from bankwidth.operators.trace import Trace
from bankwidth.spec.techniques.experts import ExpertCacheSpec

CACHED: Final = "cached_experts"  # key of Trace.meta
Passes = Sequence[Sequence[int]]  # the experts that each takes, rising
_MOST_DRAWN: Final = 1 << 21  # numbers that a replay draws at most; fewer steps of many tokens


def missing_experts(passes: Passes, near: int, policy: str) -> float:
    """Experts that a pass has to fetch, the mean after the first quarter of the passes.

    The cache holds the first `near` of a ranking, which begins with those taken most.
    """
    warm = len(passes) // 4
    ranking = [expert for expert, _ in Counter(e for p in passes for e in p).most_common()]
    used: Counter[int] = Counter()
    missed = 0
    for number, experts in enumerate(passes):
        if number >= warm:
            missed += len(set(experts).difference(ranking[:near]))
        used.update(experts)
        ranking = _ranked(ranking, frozenset(experts), used, policy)
    return missed / max(1, len(passes) - warm)


def _ranked(
    ranking: list[int], experts: frozenset[int], used: Counter[int], policy: str
) -> list[int]:
    """After a pass; among equals those stay first that were."""
    if policy == "lru":
        return sorted(ranking, key=lambda expert: expert not in experts)
    if policy == "lfu":
        return sorted(ranking, key=lambda expert: -used[expert])
    return ranking


@lru_cache(maxsize=256)
def _drawn(
    tokens: int, experts: int, topk: int, routing: str, steps: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Passes of tokens that each take `topk` experts by their popularity, none twice."""
    steps = max(8, min(steps, _MOST_DRAWN // (tokens * experts)))
    shares = np.asarray(popularity(tokens, experts, topk, routing)) + 1e-12
    noise = np.random.default_rng(seed)
    passes = []
    for _ in range(steps):
        # The largest log(share) + Gumbel noise: draws without replacement (Efraimidis, Kool 2019).
        keys = np.log(shares) + noise.gumbel(size=(tokens, experts))
        taken = np.argpartition(-keys, topk - 1, axis=1)[:, :topk]
        passes.append(tuple(int(expert) for expert in np.unique(taken)))
    return tuple(passes)


# ---- the technique


def _trace(trace: Trace, options: ExpertCacheSpec, model: ModelShape) -> Trace:
    """Fetches before the experts; near is what the cache holds, and buffers among activations.

    Raises SpecError for a model without experts.
    """
    found = list(moes(trace))
    if not found:
        raise SpecError(f"expert_cache: {trace.model} has no experts")
    if options.file is not None:
        for layer in range(1, len(model.layers)):
            trace = cut(trace, layer)
    made = rewrite(trace, lambda op: _cached(op, options) if isinstance(op, Moe) else [op])
    made = replace(made, meta={**made.meta, CACHED: options.experts})
    away = _away_bytes(trace, options)
    if not away:
        return made
    missed, looked = _rates(trace, options)
    return replace(
        made,
        weight_bytes=trace.weight_bytes - away,
        meta={
            **made.meta,
            SHARED_FIRST: "fetches experts",
            AWAY: away,
            "expert_hit_rate": round(1 - missed / looked, 6) if looked else 1.0,
        },
    )


def _local(op: Moe) -> int:
    """Experts of this device."""
    return op.experts // op.moe_ep


def _away_bytes(trace: Trace, options: ExpertCacheSpec) -> int:
    """Weights that are no longer near, of all layers; passes go through the same ones."""
    sizes = {
        (op.name, op.layer + iteration): max(0, _local(op) - options.experts) * op.expert_bytes
        for block in trace.blocks
        for op in block.operators
        if isinstance(op, Moe)
        for iteration in range(block.repeat)
    }
    return sum(sizes.values())


def _passes(op: Moe, options: ExpertCacheSpec) -> Passes:
    """Of this device's experts, those that each pass takes."""
    if options.file is not None:
        recorded = read_routing(options.file).passes(op.layer, op.experts)
        whole: Passes = [sorted({e for token in step for e in token}) for step in recorded]
    else:
        whole = _drawn(op.tokens, op.experts, op.topk, op.routing, options.steps, options.seed)
    local = _local(op)
    return whole if local == op.experts else [[e for e in taken if e < local] for taken in whole]


@lru_cache(maxsize=1 << 12)
def _missing(op: Moe, options: ExpertCacheSpec) -> float:
    return missing_experts(_passes(op, options), options.experts, options.policy)


def _rates(trace: Trace, options: ExpertCacheSpec) -> tuple[float, float]:
    """Experts missing, and experts looked up, over all layers of all passes."""
    missed = looked = 0.0
    for block in trace.blocks:
        for op in block.operators:
            if isinstance(op, Moe):
                passes = _passes(op, options)
                missed += block.repeat * _missing(op, options)
                looked += block.repeat * sum(map(len, passes)) / len(passes)
    return missed, looked


def _cached(op: Moe, options: ExpertCacheSpec) -> list[Operator]:
    """What comes ahead waits for nothing, what is found missing waits for the router."""
    if options.experts >= _local(op):
        return [op]
    missing = _missing(op, options)
    late = (1 - options.prefetch) * missing
    kept = _local(op) * op.expert_bytes
    made: list[Operator] = []
    if options.prefetch and missing:
        made.append(_fetch(op, "ahead", missing, ()))
    demanded = _fetch(op, "fetch", late, op.deps[1:] or (PREVIOUS,))
    made.append(replace(demanded, kept_bytes=kept))
    return [*made, replace(op, deps=(*op.deps, *(fetch.name for fetch in made)))]


def _fetch(op: Moe, what: str, experts: float, deps: tuple[str, ...]) -> Fetch:
    size_bytes = max(1, round(experts * op.expert_bytes))
    return Fetch(
        name=f"{op.name}.{what}",
        layer=op.layer,
        deps=deps,
        size_bytes=size_bytes,
        what="experts",
        pieces=min(size_bytes, max(1, math.ceil(experts))),
        kept_bytes=0,
    )


TECHNIQUE: Final = Technique(
    name="expert_cache",
    paper="Mixtral-offloading, arXiv 2312.17238; MoE-Infinity, arXiv 2401.14361",
    example="--with expert_cache:experts=4,policy=lru",
    trace=_trace,
)
