"""Attention where keys and values are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Collective, Elementwise, Trace

MakeWith = Callable[..., Trace]


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_by_tokens_the_query_goes_to_all_and_parts_are_merged(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """32 heads of 128 in bf16 to three others, with 3/4 of the new K and V; outputs with fp32."""
    workload = shipped("llama-3-8b")
    made = make_with(workload, {"attention_at_kv": {"ways": 4}}, batch=8, context=4096)
    names = by_name(made)
    ask, answer, merge = (names[f"attention.{x}"] for x in ("ask", "answer", "joined"))
    assert isinstance(ask, Collective)
    assert ask.size_bytes == 8 * (3 * 32 * 128 * 2 + 3 * 2 * 8 * 128 * 2 // 4)
    assert answer.size_bytes == 8 * 3 * (32 * 128 * 2 + 32 * 4)
    assert isinstance(merge, Elementwise)
    assert (merge.function, merge.num_inputs, merge.elements) == ("merge", 4, 8 * 4096)
    attention = names["attention"]
    assert isinstance(attention, Attention)
    assert (attention.kv_len, attention.n_heads) == (1024, 32)
    assert names["kv_append"].tokens == 2
    assert names["o"].deps == ("attention.joined",)
    assert 4 * made.kv_bytes == make_with(workload, {}, batch=8, context=4096).kv_bytes


def test_by_heads_each_place_gets_its_own(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    options = {"attention_at_kv": {"ways": 4, "split": "heads"}}
    made = make_with(workload, options, batch=8, context=4096)
    names = by_name(made)
    assert names["attention.ask"].size_bytes == 8 * 3 * (32 + 2 * 8) * 128 * 2 // 4
    assert names["attention.answer"].size_bytes == 8 * 3 * 32 * 128 * 2 // 4
    assert (names["attention"].n_heads, names["attention"].n_kv_heads) == (8, 2)
    assert "attention.joined" not in names
    assert names["kv_append"].kv_heads == 2
    assert 4 * made.kv_bytes == make_with(workload, {}, batch=8, context=4096).kv_bytes


@pytest.mark.parametrize("split", ["tokens", "heads"])
def test_a_prompt_is_attended_to_here_and_then_sent(
    split: str, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    options = {"attention_at_kv": {"ways": 4, "split": split}}
    made = make_with(workload, options, phase="prefill", batch=2, prompt=512)
    names = by_name(made)
    assert names["attention"].kv_len == 512
    assert names["kv_append.send"].size_bytes == 3 * 2 * 512 * 2 * 8 * 128 * 2 // 4
    assert 4 * made.kv_bytes == make_with(workload, {}, batch=2, context=512).kv_bytes


def test_latents_are_shared_out_by_tokens(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload, options = shipped("deepseek-v2-lite"), {"attention_at_kv": {"ways": 4}}
    for phase in ("decode", "prefill"):
        made = make_with(workload, options, phase=phase, batch=2, context=512)
        assert made.kv_bytes == 27 * 2 * 128 * 576 * 2
    with pytest.raises(SpecError, match="1 heads of keys and values cannot be shared out"):
        make_with(workload, {"attention_at_kv": {"ways": 4, "split": "heads"}}, context=512)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(few=st.integers(2, 16), more=st.integers(2, 16), context=st.integers(1, 900))
def test_more_places_never_leave_more_to_one(
    few: int, more: int, context: int, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    few, more = sorted((few, more))
    made = [
        make_with(shipped("llama-3-8b"), {"attention_at_kv": {"ways": n}}, context=context)
        for n in (few, more)
    ]
    assert made[1].kv_bytes <= made[0].kv_bytes
    read = [by_name(trace)["attention"].read_bytes for trace in made]
    assert read[1] <= read[0]


def test_with_a_shared_prefix_and_few_bits(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """Prefix and suffix each are shared out, and merged place by place before one another."""
    options = {
        "attention_at_kv": {"ways": 2},
        "shared_prefix": {"tokens": 1024},
        "kv_quant": {"keys": 8, "values": 8},
    }
    made = make_with(shipped("llama-3-8b"), options, batch=4, context=2048)
    names = by_name(made)
    assert names["attention.prefix"].kv_len == 512
    assert names["attention"].kv_len == 512
    assert names["attention.merge"].deps == ("attention.joined", "attention.prefix.joined")
    alone = make_with(
        shipped("llama-3-8b"),
        {name: options[name] for name in ("shared_prefix", "kv_quant")},
        batch=4,
        context=2048,
    )
    assert 2 * made.kv_bytes == alone.kv_bytes


def test_room_that_is_not_used_is_shared_out_too(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    options = {"attention_at_kv": {"ways": 4}, "paged": {"contiguous": 8192}}
    made = make_with(shipped("llama-3-8b"), options, context=1024)
    assert made.kv_bytes == 32 * 2048 * 2 * 1024 * 2


def test_nothing_is_fetched_where_attention_goes_to_it(
    tiny_llama: Any, make_with: MakeWith
) -> None:
    with pytest.raises(ValidationError, match="leave attention_at_kv or kv_offload out"):
        make_with(tiny_llama, {"attention_at_kv": {"ways": 2}, "kv_offload": {}})
