"""Tokens for a dollar and for a joule, and runs compared by them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.errors import UserError
from bankwidth.results import cost_efficiency

from .test_result import made


def test_cost_efficiency_is_the_ratio_of_tokens_per_dollar() -> None:
    ours, other = made(cost_dollars=1e-6), made(cost_dollars=4e-6, tokens=4)  # 2e6 and 1e6
    assert cost_efficiency(ours, other) == pytest.approx(2.0)
    assert cost_efficiency(other, ours) == pytest.approx(0.5)
    assert cost_efficiency(ours, ours) == 1.0


@pytest.mark.parametrize("is_ours", [True, False])
def test_without_a_price_the_machine_is_named(is_ours: bool) -> None:
    known, unknown = made(cost_dollars=1e-6), made(machine="dear")
    pair = (unknown, known) if is_ours else (known, unknown)
    with pytest.raises(UserError, match=r"w on dear, .*: what it costs is unknown, set price: of"):
        cost_efficiency(*pair)


def test_without_tokens_there_are_none_per_dollar() -> None:
    with pytest.raises(UserError, match="no tokens"):
        cost_efficiency(replace(made(cost_dollars=1.0), tokens=0), made(cost_dollars=1.0))
