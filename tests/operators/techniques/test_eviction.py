"""A budget of cached tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.operators import Attention, Elementwise, Select, Trace

MakeWith = Callable[..., Trace]


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_heavy_hitters_are_found_in_every_step(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """1024 tokens of 4096 stay, half of them the newest; 32 heads add up, 8 KV heads choose."""
    made = make_with(shipped("llama-3-8b"), {"eviction": {"budget": 1024}}, batch=2, context=4096)
    attention, sums, keep = (by_name(made)[f"attention{x}"] for x in ("", ".sums", ".keep"))
    assert isinstance(attention, Attention)
    assert isinstance(sums, Elementwise)
    assert isinstance(keep, Select)
    assert attention.kv_len == 1024
    assert (sums.function, sums.elements) == ("add", 2 * 32 * 1024)
    assert (keep.rows, keep.width, keep.k) == (2 * 8, 512, 512)
    assert keep.name in attention.deps
    assert made.kv_bytes == 32 * 2 * 1024 * 2 * 1024 * 2


def test_sinks_and_a_window_need_no_choice(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    options = {"eviction": {"method": "sinks", "budget": 1024}}
    made = make_with(shipped("llama-3-8b"), options, context=4096)
    plain = make_with(shipped("llama-3-8b"), {}, context=1024)
    assert list(by_name(made)) == list(by_name(plain))
    assert made.kv_bytes == plain.kv_bytes
    assert made.read_bytes == plain.read_bytes


def test_a_prompt_is_attended_to_whole_and_then_evicted(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """With sinks each token sees the budget only; either way that much stays."""
    workload = shipped("llama-3-8b")
    plain = make_with(workload, {}, phase="prefill", prompt=2048)
    for method in ("h2o", "sinks"):
        options = {"eviction": {"method": method, "budget": 512}}
        made = make_with(workload, options, phase="prefill", prompt=2048)
        assert made.kv_bytes == plain.kv_bytes // 4
        assert (made.flops < plain.flops) == (method == "sinks")


def test_short_sequences_stay_whole(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    made = make_with(shipped("llama-3-8b"), {"eviction": {"budget": 512}}, context=512)
    assert by_name(made) == by_name(make_with(shipped("llama-3-8b"), {}, context=512))


def test_latents_of_a_prompt_are_evicted_too(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload, options = shipped("deepseek-v2-lite"), {"eviction": {"budget": 100}}
    prompt = make_with(workload, options, phase="prefill", batch=2, prompt=400)
    step = make_with(workload, options, batch=2, context=400)
    assert prompt.kv_bytes == step.kv_bytes == 27 * 2 * 100 * 576 * 2


def test_in_a_window_of_a_layer_no_more_than_the_window_is_kept(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """Gemma 2: every other layer has a window of 4096."""
    workload = shipped("gemma-2-2b")
    most = make_with(workload, {"eviction": {"budget": 6000}}, context=8000)
    plain = make_with(workload, {}, context=8000)
    assert most.kv_bytes / plain.kv_bytes == pytest.approx((6000 + 4096) / (8000 + 4096))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    few=st.integers(5, 700),
    more=st.integers(5, 700),
    method=st.sampled_from(["h2o", "sinks"]),
    phase=st.sampled_from(["decode", "prefill"]),
)
def test_a_smaller_budget_never_stores_or_reads_more(
    few: int, more: int, method: str, phase: str,
    shipped: Callable[[str], Any], make_with: MakeWith,
) -> None:  # fmt: skip
    made = [
        make_with(
            shipped("llama-3-8b"),
            {"eviction": {"method": method, "budget": budget}},
            phase=phase,
            context=600,
        )
        for budget in sorted((few, more))
    ]
    assert made[0].kv_bytes <= made[1].kv_bytes
    extra = sum(  # of who stays, which keeping all needs not know
        op.read_bytes for op in made[0].operators() if op.name.endswith((".sums", ".keep"))
    )
    assert made[0].read_bytes - extra <= made[1].read_bytes


def test_with_few_bits_and_sparse_attention(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """Of 1024 kept, 128 are read."""
    options = {
        "eviction": {"budget": 1024},
        "sparse_attention": {"tokens": 128, "copy_keys": False},
        "kv_quant": {"keys": 4, "values": 4},
    }
    made = make_with(shipped("llama-3-8b"), options, context=4096)
    alone = make_with(shipped("llama-3-8b"), {"kv_quant": options["kv_quant"]}, context=1024)
    assert made.kv_bytes == alone.kv_bytes
    attention = by_name(made)["attention"]
    assert (attention.kv_len, attention.stored_len) == (128, 1024)


def test_a_budget_is_given_once(tiny_llama: Any, make_with: MakeWith) -> None:
    for wrong in ({}, {"budget": 4, "share": 0.5}):
        with pytest.raises(ValidationError, match="either budget, in tokens, or share"):
            make_with(tiny_llama, {"eviction": wrong})
    with pytest.raises(ValidationError, match="leave none of the 4"):
        make_with(tiny_llama, {"eviction": {"budget": 4, "sinks": 4, "method": "sinks"}})
