"""PIM-GPT's published figures: what they are compared with is what the names say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import AsicSpec, RooflineSpec, load_device, load_machine, load_workload
from bankwidth.validate import framework_baseline, pim_gpt
from bankwidth.validate.framework_baseline import Baseline
from bankwidth.validate.pim_gpt import CONTEXTS, T4, XEON
from bankwidth.validate.verdicts import Band

MODEL = "gpt2"


@pytest.fixture
def one_context(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(pim_gpt, "CONTEXTS", (64,))
    return 64


def test_contexts_are_the_middles_of_1024_tokens() -> None:
    assert sum(CONTEXTS) / len(CONTEXTS) == 512


def test_ratios_are_of_times_and_of_energies(one_context: int) -> None:
    trace = make_trace(load_workload(MODEL), phase="decode", context=one_context)
    ours = simulate(load_machine("pim-gpt"), trace)
    theirs_ns = T4.token_ns(MODEL, (one_context,), cached=False)
    assert pim_gpt.speedup(MODEL, T4) == pytest.approx(theirs_ns / ours.latency_ns)
    ratio = theirs_ns * 70.0 * 1000.0 / ours.energy_pj
    assert pim_gpt.energy_ratio(MODEL, T4) == pytest.approx(ratio)


def test_a_processor_takes_what_a_run_takes() -> None:
    """Operators one by one are the run; their memory starts idle each time."""
    trace = make_trace(
        load_workload(MODEL),
        phase="decode",
        context=64,
        weight_dtype="fp32",
        activation_dtype="fp32",
        kv_dtype="fp32",
    )
    run = simulate(load_machine("xeon-gold-6154"), trace)
    assert XEON.token_ns(MODEL, (64,), cached=True) == pytest.approx(run.latency_ns, rel=0.03)


def test_without_a_cache_a_token_runs_the_whole_sequence() -> None:
    cached, anew = (XEON.token_ns(MODEL, (512,), cached=c) for c in (True, False))
    assert anew > 3 * cached
    assert XEON.token_ns(MODEL, (1,), cached=False) == pytest.approx(
        XEON.token_ns(MODEL, (1,), cached=True), rel=0.01
    )


def test_a_gpu_waits_for_the_calls_where_they_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = T4.token_ns(MODEL, (64,), cached=True)
    monkeypatch.setattr(framework_baseline, "_calls_ns", lambda op: 1e6)
    fresh = replace(T4, dtype="fp16")  # another key of the cache
    trace = make_trace(load_workload(MODEL), phase="decode", context=64)
    assert fresh.token_ns(MODEL, (64,), cached=True) == trace.num_steps * 1e6 > usual


def test_calls_are_those_of_the_description() -> None:
    spec = load_device(framework_baseline.CALLS)
    assert isinstance(spec, RooflineSpec)
    trace = make_trace(load_workload(MODEL), phase="decode", context=64)
    calls = {op.name: framework_baseline._calls_ns(op) for op, _ in trace.expand()}
    assert calls["gelu"] == spec.overhead_ns["gelu"]
    assert calls["qkv"] == spec.overhead_ns["matmul"]


def test_a_slow_asic_keeps_its_latency_in_clocks() -> None:
    usual, slow = load_machine("pim-gpt").engines["asic"], pim_gpt.slow_asic().engines["asic"]
    assert isinstance(usual, AsicSpec)
    assert isinstance(slow, AsicSpec)
    assert slow.clock_ghz == pytest.approx(0.1)
    assert slow.latency_ns * slow.clock_ghz == pytest.approx(usual.latency_ns * usual.clock_ghz)


def test_more_channels_have_more_of_the_link() -> None:
    usual, wide = load_machine("pim-gpt"), pim_gpt.with_channels(16)
    assert wide.memories["gddr6"].channels == 16
    assert wide.links[0].bandwidth_bytes_per_ns == 2 * usual.links[0].bandwidth_bytes_per_ns
    assert wide.memories["gddr6"].capacity_bytes == 2 * (
        usual.memories["gddr6"].capacity_bytes or 0
    )


def test_plain_memory_hands_over_weights_and_cache() -> None:
    """GPT-2: 124,439,808 parameters, of which the 1024 positions are one row; tied logits."""
    weights = 2 * (124_439_808 - 1023 * 768)
    cache = 2 * 2 * 12 * 768
    embedding_row = 768 * 2
    read = weights + 64 * cache + embedding_row
    assert pim_gpt.plain_bytes(MODEL, 64) == pytest.approx(read + cache, rel=0.001)


def test_all_eight_models_are_there(one_context: int) -> None:
    bands = [case for case in pim_gpt.published() if isinstance(case, Band)]
    per_model = {model: [b for b in bands if b.id == model] for model in pim_gpt.MODELS}
    assert {model: len(found) for model, found in per_model.items()} == {
        model: 6 if model == pim_gpt.LARGEST else 5 for model in pim_gpt.MODELS
    }
    assert all(band.note and band.source for band in bands if "bytes" not in band.quantity)


def test_a_baseline_is_a_machine_that_is_shipped() -> None:
    for baseline, *_ in pim_gpt.BASELINES:
        assert isinstance(baseline, Baseline)
        assert load_machine(baseline.machine).name == baseline.machine
