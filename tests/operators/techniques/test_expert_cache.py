"""Experts kept away: hits by replay, what is fetched, what lies where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import Fetch, Moe, Trace, make_trace
from bankwidth.operators.techniques.expert_cache import missing_experts
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

EXPERT_BYTES = 3 * 4096 * 14336 * 2  # of Mixtral, 16 bit


def cached(batch: int = 1, name: str = "mixtral-8x7b", **options: Any) -> Trace:
    others = options.pop("others", {})
    techniques = TechniquesSpec.model_validate({"expert_cache": options} | others)
    return make_trace(load_workload(name), context=64, batch=batch, techniques=techniques)


def fetches(trace: Trace) -> dict[str, Fetch]:
    return {op.name: op for op in trace.operators() if isinstance(op, Fetch)}


# Eight passes; the first quarter warms up.
TWICE = [(0, 1), (2, 3), (0, 1), (0, 1), (2, 3), (2, 3), (0, 1), (0, 1)]


@pytest.mark.parametrize(
    ("policy", "near", "missed"),
    [
        ("lru", 2, (2 + 0 + 2 + 0 + 2 + 0) / 6),  # 0 1 | 2 3 | 0 1 come anew each time
        ("lfu", 2, (0 + 0 + 2 + 2 + 0 + 0) / 6),  # 2 and 3 never lead: among equals the first stay
        ("lru", 4, 0.0),  # after the warm-up all are there
        ("pinned", 2, (0 + 0 + 2 + 2 + 0 + 0) / 6),  # 0 and 1 are taken most
        ("pinned", 1, (1 + 1 + 2 + 2 + 1 + 1) / 6),
    ],
)
def test_a_replay_by_hand(policy: str, near: int, missed: float) -> None:
    assert missing_experts(TWICE, near, policy) == pytest.approx(missed)


PASSES = st.lists(
    st.lists(st.integers(0, 7), min_size=2, max_size=4, unique=True).map(sorted), min_size=4
)


@given(PASSES, st.integers(1, 7))
def test_a_larger_cache_never_misses_more(passes: list[list[int]], near: int) -> None:
    """What a small one holds, a larger one holds as well."""
    for policy in ("lru", "lfu", "pinned"):
        small, large = (missing_experts(passes, n, policy) for n in (near, near + 1))
        assert large <= small
        assert missing_experts(passes, 8, policy) == 0


def test_near_are_those_of_the_cache_far_are_all() -> None:
    whole = make_trace(load_workload("mixtral-8x7b"), context=64)
    trace = cached(experts=3)
    assert whole.weight_bytes - trace.weight_bytes == 32 * 5 * EXPERT_BYTES
    assert trace.far_bytes == 32 * 8 * EXPERT_BYTES
    assert cached(experts=8).far_bytes == 0
    assert cached(experts=8).blocks == whole.blocks


def test_what_is_missing_waits_for_the_router() -> None:
    """Of two experts of 8, each as popular: 5 of 8 are away."""
    trace = cached(experts=3, steps=2000)
    fetch = fetches(trace)["moe.fetch"]
    assert fetch.size_bytes / EXPERT_BYTES == pytest.approx(2 * 5 / 8, rel=0.05)
    assert (fetch.deps, fetch.pieces) == (("router",), 2)
    moe = next(op for op in trace.operators() if isinstance(op, Moe))
    assert moe.deps[-1] == "moe.fetch"
    assert trace.meta["expert_hit_rate"] == pytest.approx(3 / 8, rel=0.05)


def test_right_guesses_come_ahead_wrong_ones_cost() -> None:
    """A guess for each missing expert; 70 % of them are right, the others are fetched after all."""
    demanded = fetches(cached(experts=3))["moe.fetch"].size_bytes
    found = fetches(cached(experts=3, prefetch=0.7))
    assert found["moe.ahead"].is_prefetch
    assert found["moe.ahead"].size_bytes == demanded
    assert found["moe.fetch"].size_bytes == pytest.approx(0.3 * demanded, rel=1e-6)


def test_popular_experts_are_hit_more_often() -> None:
    rates = [
        cached(experts=2, policy="pinned", others={"moe_routing": {"distribution": law}}).meta
        for law in ("balanced", "zipf_1.0", "zipf_2.0")
    ]
    found = [float(str(meta["expert_hit_rate"])) for meta in rates]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.2


def test_a_recorded_routing_is_replayed(tmp_path: Path) -> None:
    """Layer 0 takes the same two experts always: all hits; others go round: none is there yet."""
    path = tmp_path / "routing.csv"
    rows = [f"0,{s},0 1" for s in range(8)]
    rows += [f"{n},{s},{2 * s % 8} {2 * s % 8 + 1}" for n in range(1, 32) for s in range(8)]
    path.write_text("layer,step,experts\n" + "\n".join(rows))
    trace = cached(experts=2, file=str(path))
    sizes = [op.size_bytes for op in trace.operators() if isinstance(op, Fetch)]
    assert sizes == [1] + [2 * EXPERT_BYTES] * 31
    assert trace.meta["expert_hit_rate"] == pytest.approx(1 / 32)


def test_it_goes_with_packed_weights_shares_and_a_packed_cache() -> None:
    others = {"weight_quant": {"format": "int4_g128"}, "parallel": {"expert": 4}, "kv_quant": {}}
    trace = cached(batch=4, experts=1, others=others)
    assert trace.far_bytes == 32 * 2 * (EXPERT_BYTES * 33 // 128)
    moe = next(op for op in trace.operators() if isinstance(op, Moe))
    assert moe.deps == ("moe.dispatch", "router", "moe.fetch")


def test_a_model_without_experts_is_refused() -> None:
    with pytest.raises(SpecError, match="expert_cache: llama-3-8b has no experts"):
        cached(name="llama-3-8b", experts=2)


@pytest.mark.slow
def test_more_experts_near_take_less_time() -> None:
    machine = load_machine("h100-host")
    few, most = (
        simulate(machine, cached(1, "qwen1.5-moe-a2.7b", experts=near)).latency_ns
        for near in (15, 45)
    )
    assert most < few
