"""How many tokens each expert gets: the distributions that measured mixture-of-experts tables name.

`balanced` and `power_law_<alpha>` follow ai-dynamo/aiconfigurator at 095f58a, collector/helper.py:
experts draw a popularity from a truncated power law, counts are its share of all choices, rounded,
no token chooses an expert twice, and the rank with the most tokens is the one that is looked at.
There, popularities are random; here they are the quantiles of the law, so that a shape has one
answer. Only who shares a rank with whom is left to a seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import Final

from bankwidth.errors import TraceError

BALANCED: Final = "balanced"
COUNTS: Final = "counts_"
_POWER_LAW: Final = re.compile(r"power_law_([0-9]*\.?[0-9]+)")
_ZIPF: Final = re.compile(r"zipf(?:_([0-9]*\.?[0-9]+))?")
_SHUFFLES: Final = 5  # measured rows are the mean of five draws


def power_law_alpha(routing: str) -> float | None:
    """Exponent of `power_law_<alpha>`, None for another law. Raises TraceError for what is none."""
    if routing == BALANCED or zipf_alpha(routing) is not None or counts_of(routing) is not None:
        return None
    found = _POWER_LAW.fullmatch(routing)
    alpha = float(found[1]) if found else 0.0
    if alpha <= 0 or alpha == 1:
        raise TraceError(
            f"routing must be {BALANCED} or power_law_<alpha> with alpha above 0 and not 1 "
            f"(such as power_law_1.2), or zipf_<alpha>, got {routing!r}"
        )
    return alpha


def zipf_alpha(routing: str) -> float | None:
    """Exponent of `zipf_<alpha>`, 1 of `zipf`; None for another law."""
    found = _ZIPF.fullmatch(routing)
    return float(found[1] or 1) if found else None


@lru_cache(maxsize=1 << 12)
def counts_of(routing: str) -> tuple[int, ...] | None:
    """How often each expert was taken, as `counts_<n>_<n>_...` says; None for another law."""
    if not routing.startswith(COUNTS):
        return None
    texts = routing.removeprefix(COUNTS).split("_")
    counts = tuple(int(text) for text in texts if text.isdecimal())
    return counts if len(counts) == len(texts) and any(counts) else None


def check_routing(routing: str, experts: int) -> None:
    """Raises TraceError for an unknown `routing`, and for counts of another number of experts."""
    power_law_alpha(routing)
    counts = counts_of(routing)
    if counts is not None and len(counts) != experts:
        raise TraceError(f"routing has counts of {len(counts)} experts, there are {experts}")


def popularity(tokens: int, experts: int, topk: int, routing: str) -> list[float]:
    """Share of the choices that each expert has, in any scale; by number where they are known.

    Raises TraceError for an unknown `routing`, and for counts of another number of experts.
    """
    check_routing(routing, experts)
    alpha, zipf, counts = power_law_alpha(routing), zipf_alpha(routing), counts_of(routing)
    if counts is not None:
        return [float(count) for count in counts]
    if zipf is not None:
        return [rank**-zipf for rank in range(experts, 0, -1)]
    return [1.0] * experts if alpha is None else _popularity(tokens, experts, topk, alpha)


@lru_cache(maxsize=1 << 15)
def expert_loads(tokens: int, experts: int, topk: int, ranks: int, routing: str) -> tuple[int, ...]:
    """Tokens of each expert of the rank with the most; experts are split evenly among ranks.

    Raises TraceError for an unknown `routing`.
    """
    if routing == BALANCED:
        return _balanced(tokens, experts, topk)[: experts // ranks]
    counts = _counts(popularity(tokens, experts, topk, routing), tokens, topk)
    seeds = range(_SHUFFLES if ranks > 1 and counts_of(routing) is None else 1)
    orders = [_in_order(experts) if counts_of(routing) else _order(experts, s) for s in seeds]
    dealt = [_fullest(counts, ranks, order, tokens, tokens * topk) for order in orders]
    return tuple(sorted(dealt, key=sum)[len(dealt) // 2])


def _balanced(tokens: int, experts: int, topk: int) -> tuple[int, ...]:
    """Choice i of token t is expert t + i * stride; few tokens are spread over the stride."""
    stride = -(-experts // topk)
    rounds, rest = divmod(tokens, experts)  # each round gives every expert `topk` tokens
    first = range(rest) if tokens >= stride else [t * stride // tokens for t in range(tokens)]
    counts = [rounds * topk] * experts
    for choice in range(topk):
        for expert in first:
            counts[(expert + choice * stride) % experts] += 1
    return tuple(counts)


def _popularity(tokens: int, experts: int, topk: int, alpha: float) -> list[float]:
    """Middle quantiles of the truncated power law, rising."""
    low, high = (1.0, tokens * 0.8) if tokens * topk > experts else (0.01, 2.0)
    first, last = low ** (1 - alpha), high ** (1 - alpha)
    return [
        ((last - first) * (index + 0.5) / experts + first) ** (1 / (1 - alpha))
        for index in range(experts)
    ]


def _counts(shares: Sequence[float], tokens: int, topk: int) -> list[int]:
    """Rounded shares of all choices, at most one of each token."""
    scale = tokens * topk / sum(shares)
    return [min(tokens, round(share * scale)) for share in shares]


def _fullest(
    counts: Sequence[int], ranks: int, order: Sequence[int], most: int, total: int
) -> Sequence[int]:
    """The fullest of the ranks after what rounding and the limit left over is dealt out."""
    dealt_out = [counts[expert] for expert in order]
    size = len(dealt_out) // ranks
    groups = [dealt_out[rank * size : (rank + 1) * size] for rank in range(ranks)]
    missing = total - sum(counts)
    dealt = _deal(groups, missing, most) if missing > 0 else _take(groups, -missing, most)
    return max(dealt, key=sum)


def _in_order(experts: int) -> tuple[int, ...]:
    return tuple(range(experts))


@lru_cache(maxsize=64)
def _order(experts: int, seed: int) -> tuple[int, ...]:
    order = list(range(experts))
    Random(seed).shuffle(order)
    return tuple(order)


def _deal(groups: Sequence[Sequence[int]], amount: int, most: int) -> list[list[int]]:
    """`amount` more, one rank after the other, each to its experts with the fewest."""
    dealt = [list(group) for group in groups]
    while amount > 0:
        open_ranks = [rank for rank, group in enumerate(dealt) if min(group) < most]
        if not open_ranks:
            break
        share, rest = divmod(amount, len(open_ranks))
        for position, rank in enumerate(open_ranks):
            dealt[rank], left = _fill(dealt[rank], share + (position < rest), most)
            amount -= share + (position < rest) - left
    return dealt


def _take(groups: Sequence[Sequence[int]], amount: int, most: int) -> list[list[int]]:
    """`amount` fewer, each rank from its experts with the most: dealing, seen from the top."""
    mirrored = _deal([[most - count for count in group] for group in groups], amount, most)
    return [[most - count for count in group] for group in mirrored]


def _fill(counts: list[int], amount: int, most: int) -> tuple[list[int], int]:
    """Raise the lowest to one level that `amount` pays for; also what nobody could take."""
    level = min(most, _level(sorted(counts), amount))
    filled = [max(count, level) for count in counts]
    left = amount - sum(filled) + sum(counts)
    for index, count in enumerate(filled):
        if left and count == level < most:
            filled[index] += 1
            left -= 1
    return filled, left


def _level(rising: list[int], amount: int) -> int:
    """The highest level that `amount` pays for, as water would find it."""
    level = rising[0]
    for below, count in enumerate(rising[1:], start=1):
        if (count - level) * below > amount:
            return level + amount // below
        amount -= (count - level) * below
        level = count
    return level + amount // len(rising)
