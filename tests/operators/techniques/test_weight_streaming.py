"""Weights kept away: what is fetched, what is computed, what stays near."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Elementwise, Fetch, Matmul, Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec

LAYER_BYTES = 2 * 4096 * (6144 + 4096 + 28672 + 14336)  # products of Llama-3-8B, 16 bit
FEED_BYTES = 2 * 3 * 4096 * 14336


def streamed(name: str = "llama-3-8b", batch: int = 1, **options: Any) -> Trace:
    others = options.pop("others", {})
    techniques = TechniquesSpec.model_validate({"weight_streaming": options} | others)
    return make_trace(load_workload(name), context=64, batch=batch, techniques=techniques)


def plain(name: str = "llama-3-8b", batch: int = 1) -> Trace:
    return make_trace(load_workload(name), context=64, batch=batch)


def operators(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_a_layer_comes_in_while_the_one_before_it_computes() -> None:
    trace = streamed()
    fetch = operators(trace)["layer.fetch"]
    assert (fetch.is_prefetch, fetch.size_bytes, fetch.pieces) == (True, LAYER_BYTES, 4)
    assert all("layer.fetch" in operators(trace)[n].deps for n in ("qkv", "o", "gate_up", "down"))
    assert plain().weight_bytes - trace.weight_bytes == trace.far_bytes == 32 * LAYER_BYTES
    assert trace.flops == plain().flops


@given(st.floats(0, 1))
def test_what_is_near_is_not_far(near: float) -> None:
    trace = streamed(near=near)
    assert trace.weight_bytes + trace.far_bytes == pytest.approx(plain().weight_bytes, abs=64)
    assert trace.far_bytes == pytest.approx((1 - near) * 32 * LAYER_BYTES, abs=64)


def test_neurons_that_are_used_are_fetched_and_computed() -> None:
    """A tenth of 14336 neurons, each of three rows of 4096 values of 2 bytes."""
    trace = streamed(active=0.1, rank=64)
    ops = operators(trace)
    assert (ops["gate_up"].n, ops["silu_mul"].elements, ops["down"].k) == (2868, 1434, 1434)
    assert [(ops[n].n, ops[n].k) for n in ("gate_up.rank", "gate_up.predictor")] == [
        (64, 4096), (14336, 64)
    ]  # fmt: skip
    fetch = ops["gate_up.fetch"]
    assert fetch.size_bytes == pytest.approx(FEED_BYTES / 10, rel=1e-6)
    assert (fetch.pieces, fetch.deps) == (3 * 1434, ("gate_up.predictor",))
    assert operators(streamed(active=0.1, bundled=True))["gate_up.fetch"].pieces == 1434
    assert ops["gate_up"].deps[-1] == "gate_up.fetch"
    assert trace.far_bytes == 32 * FEED_BYTES
    predictors = 2 * 64 * (4096 + 14336)
    assert plain().weight_bytes - trace.weight_bytes == 32 * (FEED_BYTES - predictors)


def test_a_window_keeps_neurons_so_that_new_ones_are_few() -> None:
    """Used by k tokens: 0.1 k^0.5; four stay, 0.2 of all, and the fifth needs 0.0236 more."""
    trace = streamed(active=0.1, growth=0.5, window=4)
    fetch = operators(trace)["gate_up.fetch"]
    assert fetch.size_bytes == pytest.approx(FEED_BYTES * (0.1 * 5**0.5 - 0.2), rel=1e-6)
    less = plain().weight_bytes - trace.weight_bytes
    assert less == pytest.approx(32 * FEED_BYTES * 0.8, rel=1e-6)


def test_tokens_together_use_more_neurons() -> None:
    """Four tokens: 0.1 x 4^0.5 = 0.2 of them, and every token computes with all of these."""
    ops = operators(streamed(batch=4, active=0.1, growth=0.5))
    assert (ops["down"].k, ops["silu_mul"].elements) == (2867, 4 * 2867)


def test_neurons_that_are_used_most_stay_near() -> None:
    """PowerInfer: a fifth near that is hit four times of five. All near: nothing is fetched."""
    trace = streamed(active=0.1, near=0.2, near_hits=0.8)
    fetch = operators(trace)["gate_up.fetch"]
    assert fetch.size_bytes == pytest.approx(FEED_BYTES * 0.1 * 0.2, rel=1e-3)
    assert trace.far_bytes == pytest.approx(32 * FEED_BYTES * 0.8)
    near = streamed(active=0.1, near=1.0)
    assert near.far_bytes == 0
    assert near.weight_bytes == plain().weight_bytes
    assert not any(isinstance(op, Fetch) for op in near.operators())


@given(st.floats(0.01, 0.5), st.floats(0.3, 1), st.integers(0, 6))
def test_fewer_neurons_and_longer_windows_never_fetch_more(
    active: float, growth: float, window: int
) -> None:
    """As long as the window does not hold all of them."""
    assume(1.5 * active * (window + 2) ** growth < 1)

    def fetched(**changes: Any) -> int:
        options = {"active": active, "growth": growth, "window": window} | changes
        return int(operators(streamed("opt-125m", **options))["fc1.fetch"].size_bytes)

    assert fetched() <= fetched(active=active * 1.5)
    assert fetched(window=window + 1) <= fetched()


def test_every_part_of_a_gated_or_plain_model_is_found() -> None:
    for name, up in (("opt-125m", "fc1"), ("bitnet-3b", "gate_up"), ("gemma-2b", "gate_up")):
        ops = operators(streamed(name, active=0.5))
        whole = operators(plain(name))
        assert ops[up].n * 2 == pytest.approx(whole[up].n, abs=4)
        assert isinstance(ops[up], Matmul)
        assert any(
            isinstance(op, Elementwise) and op.elements < whole[n].elements
            for n, op in ops.items()
            if n in whole
        )


def test_experts_are_streamed_as_they_are_taken() -> None:
    """Two of eight are read for one token; all lie away."""
    trace = streamed("mixtral-8x7b")
    ops = operators(trace)
    expert = 3 * 4096 * 14336 * 2
    others = 2 * 4096 * (6144 + 4096 + 8)
    assert ops["layer.fetch"].size_bytes == 2 * expert + others
    assert trace.far_bytes == 32 * (8 * expert + others)


def test_experts_with_a_cache_of_their_own_are_not_streamed_as_well() -> None:
    """Two of eight stay near; all lie away, beside the other products."""
    trace = streamed("mixtral-8x7b", others={"expert_cache": {"experts": 2}})
    expert, others = 3 * 4096 * 14336 * 2, 2 * 4096 * (6144 + 4096 + 8)
    assert operators(trace)["layer.fetch"].size_bytes == others
    assert trace.far_bytes == 32 * (8 * expert + others)
    less = plain("mixtral-8x7b").weight_bytes - trace.weight_bytes
    assert less == 32 * (6 * expert + others)


def test_weights_of_prompts_and_decode_steps_are_stored_once() -> None:
    """Absorbed projections and those that expand latents are the same weights."""
    techniques = TechniquesSpec.model_validate({"weight_streaming": {}})
    workload = load_workload("deepseek-v2-lite")
    decode, generated = (
        make_trace(workload, phase=phase, context=16, techniques=techniques)
        for phase in ("decode", "generate")
    )
    assert decode.weight_bytes == generated.weight_bytes
    assert decode.far_bytes == generated.far_bytes


def test_it_goes_with_packed_weights_and_shares() -> None:
    others = {"weight_quant": {"format": "int4_g128"}, "parallel": {"tensor": 4}, "kv_quant": {}}
    trace = streamed(others=others)
    assert trace.far_bytes == 32 * (LAYER_BYTES * 33 // 128) // 4
    assert "o.all_reduce" in operators(trace)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(SpecError, match="mixtral-8x7b has no feed-forward parts with neurons"):
        streamed("mixtral-8x7b", active=0.1)
    with pytest.raises(ValidationError, match="is said of neurons that tokens use: set active"):
        streamed(window=3)


@pytest.mark.slow
def test_what_is_fetched_comes_over_the_link() -> None:
    """2.5 GB over PCIe, unless few neurons are used."""
    machine = load_machine("h100-host")
    dense: dict[str, Any] = {}
    sparse: dict[str, Any] = {"active": 0.05, "window": 4, "growth": 0.5, "bundled": True}
    whole, few = (
        simulate(machine, streamed("llama-3.2-1b", **options)) for options in (dense, sparse)
    )
    far_bytes = streamed("llama-3.2-1b").far_bytes
    assert whole.latency_ns == pytest.approx(far_bytes / 55.6, rel=0.1)
    assert few.latency_ns < 0.3 * whole.latency_ns
