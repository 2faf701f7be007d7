"""Prices of iterations against runs of whole passes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.operators.passes import Group as Whole
from bankwidth.results import Result
from bankwidth.serving.iteration import Batch, Group
from bankwidth.serving.pricing import GRAPH_SIZES, PricingOptions, SimulatedPricing
from bankwidth.serving.pricing_parts import Served
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload

WITHIN = 0.02  # of the run of a whole pass
ENERGY_WITHIN = 0.03


@cache
def served(machine: str, model: str, tensor: int = 1) -> Served:
    return Served(machine=load_machine(machine), workload=load_workload(model), tensor=tensor)


@cache
def pricing(
    *, exact: bool = False, graphs: bool | None = False, tensor: int = 1
) -> SimulatedPricing:
    options = PricingOptions(exact_shapes=exact, graphs=graphs)
    return SimulatedPricing(served("h200", "llama-3.2-1b", tensor), options)


def batch(*chunks: tuple[int, int, int], kv: list[int] | None = None) -> Batch:
    """Chunks of (sequences, new tokens, tokens cached), and decodes; every prompt ends."""
    groups = tuple(Group(*chunk, "prefill") for chunk in chunks)
    lengths = np.array(kv or [], dtype=np.int64)
    return Batch(groups, lengths, len(lengths) + sum(group.batch for group in groups))


def whole(asked: Batch, tensor: int = 1) -> Result:
    model = served("h200", "llama-3.2-1b", tensor)
    groups = tuple(
        Whole(batch=g.batch, q_len=g.q_len, kv_len=g.kv_len, phase=g.phase) for g in asked.groups
    )
    return simulate(model.machine, model.trace(groups, asked.logits))


# ---- against whole passes


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        batch(kv=[700]),
        batch(kv=[1100] * 16),
        batch(kv=[300] * 100),
        batch(kv=[1500] * 256),
        batch((1, 777, 777)),
        batch((2, 300, 300)),
        batch((1, 512, 1536), kv=[900] * 30),
        batch((1, 100, 2000), (1, 400, 400), kv=[1200] * 64),
    ],
    ids=["one", "16", "100", "256", "prompt", "two prompts", "chunk+30", "two chunks+64"],
)
def test_a_price_is_that_of_the_whole_pass(asked: Batch) -> None:
    price, result = pricing().price(asked), whole(asked)
    assert price.latency_ps == pytest.approx(result.latency_ps, rel=WITHIN)
    assert price.energy_pj == pytest.approx(result.energy_pj, rel=ENERGY_WITHIN)


@pytest.mark.slow
def test_energy_is_that_of_all_devices() -> None:
    asked = batch(kv=[500] * 8)
    price, result = pricing(tensor=2).price(asked), whole(asked, tensor=2)
    assert price.latency_ps == pytest.approx(result.latency_ps, rel=WITHIN)
    assert price.energy_pj == pytest.approx(2 * result.energy_pj, rel=ENERGY_WITHIN)
    assert pricing(tensor=2).idle_mw == 2 * pricing().idle_mw > 0


@pytest.mark.slow
def test_where_tasks_overlap_whole_passes_are_run() -> None:
    model = served("cent-7b", "llama-2-7b")
    found = SimulatedPricing(model, PricingOptions(exact_shapes=True))
    asked = batch(kv=[40])
    result = simulate(
        model.machine, model.trace((Whole(batch=1, q_len=1, kv_len=40, phase="decode"),))
    )
    assert found.price(asked).latency_ps == pytest.approx(result.latency_ps, rel=1e-9)
    assert found.describe()["method"] == "whole passes"


# ---- lines


@pytest.mark.slow
@settings(max_examples=10)
@given(
    decodes=st.integers(1, 300),
    kv_len=st.integers(1, 3000),
    chunk=st.integers(1, 1500),
    before=st.integers(0, 2000),
)
def test_lines_are_close_to_runs_of_the_very_shape(
    decodes: int, kv_len: int, chunk: int, before: int
) -> None:
    for asked in (batch(kv=[kv_len] * decodes), batch((1, chunk, before + chunk))):
        exact = pricing(exact=True).price(asked)
        near = pricing().price(asked)
        assert near.latency_ps == pytest.approx(exact.latency_ps, rel=0.03)
        assert near.energy_pj == pytest.approx(exact.energy_pj, rel=0.04)


def test_exact_shapes_interpolate_nothing() -> None:
    found = SimulatedPricing(served("h200", "llama-3.2-1b"), PricingOptions(exact_shapes=True))
    found.price(batch((1, 601, 1000), kv=[333] * 37))
    assert found.interpolated_share == 0.0
    assert found.describe()["exact_shapes"]


def test_lines_say_how_much_lay_on_them_and_how_far_off_they_were() -> None:
    found = SimulatedPricing(served("h200", "llama-3.2-1b"), PricingOptions(graphs=False))
    found.price(batch((1, 601, 1000), kv=[333] * 37))
    words = found.describe()
    assert 0.0 < words["interpolated_share"] <= 1.0
    assert 0.0 < words["worst_checked_error"] <= words["straight_within"]
    assert words["checked_points"] > 0
    assert words["runs"] < 80


def test_equal_batches_cost_the_same_in_any_order() -> None:
    one, other = (SimulatedPricing(served("h200", "llama-3.2-1b")) for _ in range(2))
    first, second = batch(kv=[500] * 20), batch((1, 300, 300), kv=[900] * 40)
    there = one.price(first), one.price(second)
    back = other.price(second), other.price(first)
    assert (there[0].latency_ps, there[1].latency_ps) == (back[1].latency_ps, back[0].latency_ps)
    assert one.price(first) == there[0]


# ---- engines' ways


def test_small_batches_are_rounded_up_to_a_captured_graph() -> None:
    captured, plain = pricing(exact=True, graphs=True), pricing(exact=True)
    assert 37 not in GRAPH_SIZES
    assert 40 in GRAPH_SIZES
    rest = [price._rest_of(37, 37).latency_ps for price in (captured, plain)]
    assert rest[0] == captured._rest_of(40, 40).latency_ps
    assert rest[0] == plain._rest_of(40, 40).latency_ps
    assert captured._padded(600) == 600


@given(
    lengths=st.lists(st.integers(1, 4000), min_size=2, max_size=40),
)
@settings(max_examples=20)
def test_sequences_of_different_length_cost_between_their_mean_and_kernels_of_their_own(
    lengths: list[int],
) -> None:
    exact = pricing(exact=True)
    ragged = exact.price(batch(kv=lengths)).latency_ps
    mean = exact.price(batch(kv=[round(sum(lengths) / len(lengths))] * len(lengths))).latency_ps
    rest = exact._rest_of(len(lengths), len(lengths)).latency_ps
    own = sum(exact._of_length(1, n).latency_ps for n in lengths) + rest
    assert mean * 0.999 <= ragged <= max(own, mean) * 1.001


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(512, 4096), (200, 800, 3000)], ids=["two", "three"])
def test_large_groups_of_different_length_cost_what_their_kernels_cost(
    lengths: tuple[int, ...],
) -> None:
    """One kernel over all, against one per length: the same bytes, fewer starts and ends."""
    asked = batch(kv=[n for n in lengths for _ in range(64)])
    price, result = pricing().price(asked), whole(asked)
    assert price.latency_ps <= result.latency_ps * 1.005
    assert price.latency_ps == pytest.approx(result.latency_ps, rel=0.12)


def test_one_very_long_sequence_holds_up_its_batch() -> None:
    exact = pricing(exact=True)
    alone = exact.price(batch(kv=[60_000])).latency_ps
    assert exact.price(batch(kv=[60_000, 10])).latency_ps >= alone


def test_bounds_sum_to_the_latency_and_tell_prompts_from_decodes() -> None:
    prompt, decode = pricing().price(batch((1, 2000, 2000))), pricing().price(batch(kv=[500] * 4))
    for price in (prompt, decode):
        assert sum(price.bound_ps.values()) == pytest.approx(price.latency_ps, abs=5)
    assert max(prompt.bound_ps, key=lambda name: prompt.bound_ps[name]) == "gpu compute"
    assert max(decode.bound_ps, key=lambda name: decode.bound_ps[name]) == "hbm bandwidth"
