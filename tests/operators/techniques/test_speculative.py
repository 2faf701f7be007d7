"""Drafts and checks: tokens of a step, passes, and what the drafting model needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Matmul, Trace, make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import load_machine, load_workload
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.techniques.passes import SpeculativeSpec


def drafted(name: str = "llama-3-8b", phase: str = "decode", **options: Any) -> Trace:
    others = options.pop("others", {})
    techniques = TechniquesSpec.model_validate({"speculative": options} | others)
    return make_trace(
        load_workload(name), phase=phase, context=100, batch=3, output=7, techniques=techniques
    )


def plain(name: str, phase: str = "decode") -> Trace:
    return make_trace(load_workload(name), phase=phase, context=100, batch=3, output=7)


def test_expected_tokens_are_those_of_equation_1() -> None:
    """0.8: 1 + 0.8 + 0.64 + 0.512 + 0.4096; all or none accepted: gamma + 1, or the check's own."""
    assert SpeculativeSpec(layers=1, gamma=4, acceptance=0.8).expected_tokens == pytest.approx(
        3.3616
    )
    assert SpeculativeSpec(layers=1, gamma=4, acceptance=1.0).expected_tokens == 5
    assert SpeculativeSpec(layers=1, gamma=4, acceptance=0.0).expected_tokens == 1


def test_a_step_is_gamma_drafts_and_a_check() -> None:
    """Context 100: drafts attend to 100, 101 and 102 tokens, the check's last token to 103."""
    trace = drafted(draft="llama-3.2-1b", gamma=3)
    found = [
        (op.name, op.q_len, op.kv_len) for op in trace.operators() if isinstance(op, Attention)
    ]
    drafts = [("draft.attention", 1, n) for n in (100, 101, 102) for _ in range(16)]
    assert found == drafts + [("attention", 4, 103)] * 32
    heads = {
        op.name: op.m for op in trace.operators() if isinstance(op, Matmul) and "head" in op.name
    }
    assert heads == {"draft.lm_head": 3, "lm_head": 12}
    assert trace.meta["tokens_per_step"] == pytest.approx(1 + 0.8 + 0.64 + 0.512)


def test_weights_and_cache_of_the_draft_count() -> None:
    """Its cache holds the last drafted token, the model's one more."""
    trace, target, draft = (
        drafted(draft="llama-3.2-1b", gamma=3),
        plain("llama-3-8b"),
        plain("llama-3.2-1b"),
    )
    assert trace.weight_bytes == target.weight_bytes + draft.weight_bytes
    expected = target.kv_bytes / 100 * 103 + draft.kv_bytes / 100 * 102
    assert trace.kv_bytes == expected


def test_the_first_layers_draft_with_weights_and_cache_of_the_model() -> None:
    trace = drafted(layers=8, gamma=3)
    assert trace.weight_bytes == plain("llama-3-8b").weight_bytes
    assert trace.kv_bytes == plain("llama-3-8b").kv_bytes / 100 * 103
    passes = [op.kv_len for op in trace.operators() if isinstance(op, Attention)]
    assert passes == [n for n in (100, 101, 102) for _ in range(8)] + [103] * 32


def test_a_generation_takes_as_many_steps_as_its_tokens_need() -> None:
    """7 tokens, 2.44 a step: 3 steps; the draft reads the prompt too."""
    trace = drafted(phase="generate", draft="llama-3.2-1b", gamma=2)
    checks = [
        b.name for b in trace.blocks if b.name.startswith("check") and b.name.endswith("head")
    ]
    assert checks == ["check 3x3/103 head", "check 3x3/105 head", "check 3x3/107 head"]
    prompts = [op for op in trace.operators() if op.name == "draft.qkv" and isinstance(op, Matmul)]
    assert [op.m for op in prompts[:17]] == [300] * 16 + [3]
    assert trace.output_tokens == 7
    assert "tokens_per_step" not in trace.meta


@given(st.integers(1, 6), st.floats(0, 0.99))
def test_more_acceptance_is_more_tokens_of_the_same_step(gamma: int, acceptance: float) -> None:
    few = drafted("gpt2-xl", draft="gpt2", gamma=gamma, acceptance=acceptance)
    more = drafted("gpt2-xl", draft="gpt2", gamma=gamma, acceptance=acceptance + 0.01)
    assert few.blocks == more.blocks
    assert 1 <= float(str(few.meta["tokens_per_step"])) < float(str(more.meta["tokens_per_step"]))
    assert few.flops < drafted("gpt2-xl", draft="gpt2", gamma=gamma + 1).flops


def test_it_goes_with_packed_weights_cache_and_shares() -> None:
    """Techniques are those of both models."""
    others = {"weight_quant": {}, "kv_quant": {}, "parallel": {"tensor": 4}, "chunked_prefill": {}}
    trace = drafted(phase="generate", draft="llama-3.2-1b", gamma=2, others=others)
    ops: dict[str, Any] = {op.name: op for op in trace.operators()}
    assert ops["draft.qkv"].weight_dtype == ops["qkv"].weight_dtype == "int4_g128"
    assert ops["draft.attention"].kv_dtype == ops["attention"].kv_dtype != "bf16"
    assert ops["draft.attention"].n_heads == 32 // 4
    packed = [
        make_trace(load_workload(n), techniques=TechniquesSpec.model_validate(others)).weight_bytes
        for n in ("llama-3-8b", "llama-3.2-1b")
    ]
    assert trace.weight_bytes == pytest.approx(sum(packed), rel=1e-3)


def test_drafts_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        SpecError, match="a draft of 32 layers; llama-3-8b has 32, and a draft takes"
    ):
        drafted(layers=32)
    with pytest.raises(ValidationError, match="either `draft`, a model, or `layers`"):
        drafted(layers=2, draft="gpt2")
    with pytest.raises(SpecError, match="llama-9"):
        drafted(draft="llama-9")


@pytest.mark.slow
def test_tokens_come_faster_where_drafts_are_accepted() -> None:
    machine = load_machine("h100")
    alone = simulate(machine, plain("llama-3-8b"))
    sure, unsure = (
        simulate(machine, drafted(draft="llama-3.2-1b", gamma=3, acceptance=a)) for a in (0.9, 0.1)
    )
    rates = [float(result.tokens_per_s or 0) for result in (unsure, alone, sure)]
    assert 0 < rates[0] < rates[1] < rates[2]
    assert sure.latency_ns == unsure.latency_ns
