"""Lines between sizes that were run: exact where costs are straight or stairs, close elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.serving.pricing_cost import Cost, mixed
from bankwidth.serving.pricing_grid import STRAIGHT, Checks, Line, Surface


def cost(latency_ps: float) -> Cost:
    return Cost(latency_ps, 2 * latency_ps, {"compute": latency_ps})


def line_of(law: Callable[[int], float], pieces: int = 8, rest_ps: float = 0.0) -> Line:
    return Line(
        run=lambda size: cost(law(size)),
        rest=lambda _: cost(rest_ps),
        checks=Checks(),
        pieces=pieces,
    )


@given(size=st.integers(1, 10_000), slope=st.floats(0.1, 100), base=st.floats(0, 1e6))
def test_straight_costs_are_priced_exactly(size: int, slope: float, base: float) -> None:
    found = line_of(lambda n: base + slope * n).at(size)
    assert found.latency_ps == pytest.approx(base + slope * size, rel=1e-9)
    assert found.energy_pj == pytest.approx(2 * found.latency_ps, rel=1e-9)
    assert found.bound_ps["compute"] == pytest.approx(found.latency_ps, rel=1e-9)


@given(size=st.integers(513, 4096))
def test_stairs_of_tiles_are_priced_exactly(size: int) -> None:
    """Tiles of 64, where an octave of 512 and above is cut into pieces of at least 64."""
    line = line_of(lambda n: 1000.0 * -(-n // 64) + n)
    assert line.at(size).latency_ps == pytest.approx(1000.0 * -(-size // 64) + size, rel=1e-3)


def test_a_jump_inside_a_piece_is_found_to_the_size() -> None:
    line = line_of(lambda n: 100.0 if n <= 1100 else 200.0)
    assert line.at(1100).latency_ps == 100.0
    assert line.at(1101).latency_ps == 200.0


def test_what_an_iteration_takes_besides_makes_a_bend_negligible() -> None:
    bent = line_of(lambda n: float(n * n), pieces=1)
    bent.at(700)
    runs_alone = len(bent._known)
    beside = line_of(lambda n: float(n * n), pieces=1, rest_ps=1e12)
    beside.at(700)
    assert len(beside._known) < runs_alone


@given(sizes=st.lists(st.integers(1, 4000), min_size=1, max_size=20))
def test_checked_errors_stay_within_what_is_called_straight(sizes: list[int]) -> None:
    line = line_of(lambda n: 1e4 + n**1.7)
    for size in sizes:
        law = 1e4 + size**1.7
        assert line.at(size).latency_ps == pytest.approx(law, rel=2 * STRAIGHT)
    assert line.checks.worst <= STRAIGHT


def test_a_size_is_run_once() -> None:
    runs: list[int] = []

    def run(size: int) -> Cost:
        runs.append(size)
        return cost(size)

    line = Line(run=run, rest=lambda _: cost(0.0), checks=Checks(), pieces=8)
    for size in (900, 901, 950, 900):
        line.at(size)
    assert len(runs) == len(set(runs)) == 4  # both ends of 897 to 960, two in the middle


def test_no_size_is_run_beyond_the_most() -> None:
    runs: list[int] = []

    def run(size: int) -> Cost:
        runs.append(size)
        return cost(size)

    line = Line(run=run, rest=lambda _: cost(0.0), checks=Checks(), pieces=1, most=1000)
    assert line.at(990).latency_ps == pytest.approx(990)
    assert max(runs) == 1000


@given(first=st.integers(1, 600), second=st.floats(1, 5000))
def test_costs_bilinear_in_two_sizes_are_priced_exactly(first: int, second: float) -> None:
    surface = Surface(
        run=lambda one, two: cost(50.0 + 3.0 * one * two),
        rest=lambda _: cost(0.0),
        checks=Checks(),
        pieces=(4, 4),
    )
    found = surface.at(first, second).latency_ps
    # Between two pieces of the second size lies one size, which goes to the upper piece.
    assert found == pytest.approx(50.0 + 3.0 * first * second, abs=3.0 * first + 1e-6)


def test_interpolated_time_is_what_lies_between_runs() -> None:
    assert mixed(cost(10), cost(20), 0.0).interpolated_ps == 0.0
    assert mixed(cost(10), cost(20), 0.5).interpolated_ps == 15.0
    assert (cost(5) + mixed(cost(10), cost(20), 0.5)).interpolated_ps == 15.0


def test_energy_has_to_be_straight_as_well() -> None:
    def law(size: int) -> Cost:
        return Cost(1000.0 + size, 100.0 if size <= 1344 else 200.0)

    line = Line(run=law, rest=lambda _: cost(0.0), checks=Checks(), pieces=8)
    assert line.at(1344).energy_pj == 100.0
    assert line.at(1345).energy_pj == 200.0
