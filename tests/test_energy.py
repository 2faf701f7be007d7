"""The ledger: sums are exact, and what is unknown is never 0."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.energy import Ledger, counted_energy_pj, static_energy_pj
from bankwidth.errors import SimulationError

BOOKINGS = st.lists(
    st.tuples(
        st.sampled_from(["hbm", "gpu"]),
        st.sampled_from(["read", "static", "activate"]),
        st.floats(min_value=0, max_value=1e15),
    )
)


def opened(bookings: list[tuple[str, str, float]]) -> Ledger:
    ledger = Ledger(["hbm", "gpu"])
    for component in ledger.components:
        ledger.add(component, "static", 0.0)
    for booking in bookings:
        ledger.add(*booking)
    return ledger


@given(BOOKINGS)
def test_total_equals_the_sum_of_the_components_and_each_that_of_its_items(
    bookings: list[tuple[str, str, float]],
) -> None:
    ledger = opened(bookings)
    parts = ledger.by_component()
    assert ledger.total == math.fsum(parts.values())
    for name, part_pj in parts.items():
        items = [pj for (component, _), pj in ledger.by_item().items() if component == name]
        assert part_pj == math.fsum(items)


@given(BOOKINGS, st.randoms(use_true_random=False))
def test_the_order_of_bookings_changes_no_bit(
    bookings: list[tuple[str, str, float]], random: Random
) -> None:
    shuffled = random.sample(bookings, len(bookings))
    assert opened(bookings).total == opened(shuffled).total


def test_small_bookings_are_not_lost_beside_a_large_one() -> None:
    # One by one, 1e16 + 1.0 is 1e16; a thousand of them must still count.
    ledger = opened([("hbm", "read", 1e16), *[("hbm", "read", 1.0)] * 1000])
    assert ledger.total == 1e16 + 1000


@pytest.mark.parametrize("pj", [math.nan, math.inf, -1e-9])
def test_energy_that_is_no_energy_is_refused(pj: float) -> None:
    with pytest.raises(SimulationError, match="hbm, read"):
        Ledger(["hbm"]).add("hbm", "read", pj)


def test_unknown_component_names_the_close_one() -> None:
    with pytest.raises(SimulationError, match="did you mean 'hbm-phy'"):
        Ledger(["hbm-phy"]).add("hbm-phi", "io", 1.0)


def test_an_item_that_was_never_booked_is_an_error_and_not_zero() -> None:
    ledger = opened([("hbm", "read", 2.0), ("hbm", "read", 3.0)])
    assert ledger.of("hbm", "read") == 5.0
    with pytest.raises(SimulationError, match="hbm, refresh"):
        ledger.of("hbm", "refresh")


def test_a_component_without_any_booking_is_an_error_and_not_zero() -> None:
    ledger = Ledger(["hbm", "gpu"])
    ledger.add("hbm", "read", 1.0)
    with pytest.raises(SimulationError, match="gpu: book 0"):
        _ = ledger.total
    ledger.add("gpu", "static", 0.0)
    assert ledger.by_component() == {"hbm": 1.0, "gpu": 0.0}


def test_merge_keeps_every_booking_and_refuses_foreign_components() -> None:
    ledger, other = opened([("hbm", "read", 1.5)]), opened([("hbm", "read", 2.25)])
    ledger.merge(other)
    assert ledger.of("hbm", "read") == 3.75
    foreign = Ledger(["link"])
    foreign.add("link", "bits", 1.0)
    with pytest.raises(SimulationError, match="unknown component 'link'"):
        ledger.merge(foreign)


def test_counts_times_a_table() -> None:
    assert counted_energy_pj({"ACT": 3, "RD": 10}, {"ACT": 900.0, "RD": 60.0, "WR": 1.0}) == {
        "ACT": 2700.0,
        "RD": 600.0,
    }
    with pytest.raises(SimulationError, match="no energy is known for REF"):
        counted_energy_pj({"REF": 1}, {"ACT": 900.0})


def test_one_milliwatt_is_one_picojoule_per_nanosecond() -> None:
    # 60 W over 3.5 ms = 0.21 J
    assert static_energy_pj(60_000.0, 3.5e6) == 0.21e12
