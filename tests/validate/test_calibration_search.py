"""The search: inside the cube, within its budget, the same for a seed, and good at hard valleys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.spec import FitParameter
from bankwidth.spec.problems import Mark
from bankwidth.validate.calibration_axes import Axis
from bankwidth.validate.calibration_search import Point, minimise


def valley(point: Point) -> float:
    """A narrow ridge across the axes, with a kink: least at 0.3 in all directions."""
    x = point - 0.3
    return float(np.abs(x.sum()) * 10 + np.abs(np.diff(x)).sum()) if len(x) > 1 else abs(x[0])


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_the_least_point_of_a_valley_is_found(n: int) -> None:
    point, cost = minimise(valley, np.full(n, 0.9), seed=1, evaluations=400 * n)
    assert cost < 0.02
    assert point == pytest.approx(np.full(n, 0.3), abs=0.02)


def test_a_local_valley_is_left_by_a_restart() -> None:
    def two(point: Point) -> float:
        return float(min(0.1 + abs(point[0] - 0.9), 3 * abs(point[0] - 0.1)) + abs(point[1] - 0.5))

    point, cost = minimise(two, np.array([0.9, 0.5]), seed=0, evaluations=1500)
    assert cost < 0.01
    assert point[0] == pytest.approx(0.1, abs=0.01)


@settings(max_examples=40)
@given(
    n=st.integers(1, 6),
    evaluations=st.integers(1, 120),
    seed=st.integers(0, 2**31),
    least=st.floats(-0.5, 1.5),
)
def test_it_stays_inside_its_budget_and_never_ends_worse(
    n: int, evaluations: int, seed: int, least: float
) -> None:
    asked: list[Point] = []

    def cost(point: Point) -> float:
        asked.append(point.copy())
        return float(np.abs(point - least).sum()) if point[0] < 0.9 else np.inf

    start = np.full(n, 0.5)
    point, found = minimise(cost, start, seed=seed, evaluations=evaluations)
    assert len(asked) <= evaluations + 4 + int(3 * np.log(n))  # a draw is not cut short
    assert all((0 <= p).all() and (p <= 1).all() for p in asked)
    assert found <= cost(start)
    assert found == cost(point) == min(cost(p) for p in asked[:-2])


def test_equal_seeds_give_equal_points() -> None:
    runs = [minimise(valley, np.full(4, 0.9), seed=s, evaluations=150)[0] for s in (3, 3, 4)]
    assert (runs[0] == runs[1]).all()
    assert (runs[0] != runs[2]).any()


def test_a_flat_cost_keeps_the_start() -> None:
    point, _ = minimise(lambda _: 1.0, np.array([0.25, 0.5]), seed=0, evaluations=100)
    assert point.tolist() == [0.25, 0.5]


def axis(low: float, high: float, *, is_whole: bool = False) -> Axis:
    mark = Mark("f", 1, 1)
    return Axis(
        FitParameter(
            path=("x",), value=low, low=low, high=high, unit="", dimension="",
            is_whole=is_whole, bounds=(str(low), str(high)), where=mark,
        )
    )  # fmt: skip


def test_wide_ranges_are_divided_by_ratio_and_narrow_ones_by_difference() -> None:
    assert axis(1.0, 100.0).value(0.5) == pytest.approx(10.0)
    assert axis(1.0, 3.0).value(0.5) == 2.0
    assert axis(0.0, 100.0).value(0.5) == 50.0
    assert axis(1.0, 100.0, is_whole=True).value(0.26) == 3.0


@given(
    low=st.floats(0, 1e3),
    span=st.floats(1e-3, 1e6),
    position=st.floats(0, 1),
    is_whole=st.booleans(),
)
def test_positions_and_values_are_each_others_inverse_within_the_bounds(
    low: float, span: float, position: float, is_whole: bool
) -> None:
    low, high = (float(round(low)), float(round(low + span) + 1)) if is_whole else (low, low + span)
    scale = axis(low, high, is_whole=is_whole)
    value = scale.value(position)
    assert low <= value <= high
    assert (scale.value(0.0), scale.value(1.0)) == (low, high)
    if not is_whole:
        assert scale.position(value) == pytest.approx(position, abs=1e-6)
    else:
        assert value == int(value)
