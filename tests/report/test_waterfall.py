"""The bars lead from the bound to the latency, whatever the bound is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.report.waterfall import steps
from bankwidth.results import Result


@pytest.mark.parametrize(("factor", "name"), [(0.5, "one by one"), (1.5, "side by side")])
def test_the_bars_add_up_and_say_which_way_the_bound_is_off(
    factor: float, name: str, result: Result
) -> None:
    bound_ns = factor * result.parts_ns["bound_ns"]
    first, apart, *losses, last = steps(replace(result, lower_bound_ns=bound_ns))
    assert apart.name == name
    assert (apart.size_ns < 0) == (name == "side by side")
    assert first.size_ns + apart.size_ns + sum(loss.size_ns for loss in losses) == pytest.approx(
        last.size_ns
    )
