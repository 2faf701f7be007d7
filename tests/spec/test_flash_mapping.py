"""`mapping.flash`: which neurons tokens use, and what may stand beside what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.spec.flash_mapping import FlashMappingSpec, NeuronsSpec, wrong_flash_names

NEURONS = {"active": 0.1, "growth": 0.5, "window": 4, "bundled": True}


def neurons(**changes: Any) -> NeuronsSpec:
    return NeuronsSpec.model_validate(NEURONS | changes)


def flash(**changes: Any) -> FlashMappingSpec:
    given = {"memory": "flash", "resident": "attention"}
    return FlashMappingSpec.model_validate(given | changes)


def test_the_share_used_grows_as_a_power_of_the_tokens() -> None:
    used = neurons()
    assert [used.used(k) for k in (0, 1, 4, 9)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert used.used(1000) == 1.0


def test_a_window_holds_what_its_tokens_use_and_reads_what_one_more_adds() -> None:
    used = neurons(window=8)
    assert used.held(1) == pytest.approx(0.1 * 8**0.5)
    assert used.read(1) == pytest.approx(0.1 * (3.0 - 8**0.5))


def test_without_a_window_all_that_a_token_uses_is_read() -> None:
    used = neurons(window=0)
    assert (used.held(1), used.read(1)) == (0.1, 0.1)


@given(
    active=st.floats(0.01, 1.0),
    growth=st.floats(0.01, 1.0),
    window=st.integers(0, 20),
    tokens=st.integers(1, 64),
)
def test_what_is_read_is_used_and_a_longer_window_never_reads_more(
    active: float, growth: float, window: int, tokens: int
) -> None:
    used = neurons(active=active, growth=growth, window=window)
    longer = neurons(active=active, growth=growth, window=window + 1)
    assert 0.0 <= used.read(tokens) <= used.used(tokens) + 1e-12
    assert used.held(tokens) >= used.used(tokens)
    assert longer.read(tokens) <= used.read(tokens) + 1e-12


def test_predictors_are_counted_off_layer_by_layer_and_the_last_goes_on() -> None:
    spec = flash(neurons=NEURONS, predictor=[{"layers": 2, "rank": 8}, {"layers": 1, "rank": 64}])
    assert [spec.rank_of(layer) for layer in range(5)] == [8, 8, 64, 64, 64]
    assert flash(neurons=NEURONS).rank_of(0) == 0


@pytest.mark.parametrize("resident", ["nothing", "fitting"])
def test_neurons_are_those_of_what_is_not_resident(resident: str) -> None:
    with pytest.raises(ValidationError, match="weights are whole with resident"):
        flash(resident=resident, neurons=NEURONS)


@pytest.mark.parametrize("field", ["predictor", "staging", "reader"])
def test_what_belongs_to_neurons_needs_them(field: str) -> None:
    value = [{"layers": 1, "rank": 8}] if field == "predictor" else "x"
    with pytest.raises(ValidationError, match="describe neurons too"):
        flash(**{field: value})


@pytest.mark.parametrize(("field", "value"), [("active", 0.0), ("growth", 1.5), ("window", -1)])
def test_shares_are_above_0_and_at_most_1(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        neurons(**{field: value})


def test_names_must_exist() -> None:
    spec = {"flash": {"memory": "flsh", "staging": "host", "reader": "gpu"}}
    wrong = list(wrong_flash_names(spec, ["cpu"], ["flash", "host"]))
    assert [path for path, _ in wrong] == [
        ("mapping", "flash", "memory"),
        ("mapping", "flash", "reader"),
    ]
    assert "did you mean 'flash'?" in wrong[0][1]
