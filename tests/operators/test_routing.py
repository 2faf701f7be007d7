"""Tokens per expert: nothing is lost, no token twice, and the shapes of the measured tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators.routing import expert_loads, power_law_alpha

ROUTING = st.sampled_from(["balanced", "power_law_1.01", "power_law_1.2", "power_law_0.7"])


def balanced_one_by_one(tokens: int, experts: int, topk: int) -> tuple[int, ...]:
    """The definition, token by token, as the measured tables state it."""
    stride = math.ceil(experts / topk)
    counts = [0] * experts
    for token in range(tokens):
        first = token if tokens >= stride else int(token * stride / tokens)
        for choice in range(topk):
            counts[(first + choice * stride) % experts] += 1
    return tuple(counts)


@given(st.integers(1, 3000), st.integers(1, 64), st.integers(1, 8), ROUTING)
def test_every_choice_goes_to_one_expert_and_no_token_to_one_twice(
    tokens: int, experts: int, topk: int, routing: str
) -> None:
    topk = min(topk, experts)
    loads = expert_loads(tokens, experts, topk, 1, routing)
    assert len(loads) == experts
    assert sum(loads) == tokens * topk
    assert 0 <= min(loads) <= max(loads) <= tokens


@given(st.integers(1, 3000), st.sampled_from([2, 4, 8, 64]), st.integers(1, 8))
def test_the_rank_looked_at_has_at_least_its_share(tokens: int, ranks: int, topk: int) -> None:
    loads = expert_loads(tokens, 64, topk, ranks, "power_law_1.2")
    assert len(loads) == 64 // ranks
    assert sum(loads) >= tokens * topk / ranks
    assert max(loads) <= tokens


@given(st.integers(1, 700), st.sampled_from([(8, 2), (128, 8), (160, 8), (512, 22), (512, 10)]))
def test_balanced_is_the_definition(tokens: int, model: tuple[int, int]) -> None:
    experts, topk = model
    found = expert_loads(tokens, experts, topk, 1, "balanced")
    assert found == balanced_one_by_one(tokens, experts, topk)


def test_a_single_token_reaches_as_many_experts_as_it_chooses() -> None:
    for routing in ("balanced", "power_law_1.2"):
        assert sum(load > 0 for load in expert_loads(1, 128, 8, 1, routing)) == 8


def test_a_power_law_is_less_even_than_balance_and_a_steeper_one_touches_fewer() -> None:
    even = expert_loads(256, 128, 8, 1, "balanced")
    skew = expert_loads(256, 128, 8, 1, "power_law_1.2")
    assert max(skew) > 4 * max(even)
    assert min(skew) < min(even)
    # 16 tokens, 8 choices, 256 experts: 128 choices reach all 128 even ones, but about 86 here
    few = expert_loads(16, 256, 8, 1, "power_law_1.2")
    assert sum(load > 0 for load in few) in range(80, 92)


def test_what_a_popular_expert_cannot_take_goes_to_the_others() -> None:
    loads = expert_loads(1000, 4, 3, 1, "power_law_2.5")
    assert max(loads) == 1000
    assert sum(loads) == 3000


@pytest.mark.parametrize("routing", ["", "even", "power_law", "power_law_x", "power_law_1", "1.2"])
def test_an_unknown_distribution_says_which_there_are(routing: str) -> None:
    with pytest.raises(TraceError, match=r"routing must be balanced or power_law_<alpha>"):
        power_law_alpha(routing)
