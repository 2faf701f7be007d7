"""A prefix that all sequences share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Elementwise, Trace
from bankwidth.operators.make import make_pass_trace
from bankwidth.operators.passes import Group, Pass
from bankwidth.spec.techniques import TechniquesSpec

MakeWith = Callable[..., Trace]
TOKEN_BYTES = 32 * 2 * 8 * 128 * 2  # of Llama 3 8B


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_all_queries_meet_the_prefix_once(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    made = make_with(workload, {"shared_prefix": {"tokens": 1000}}, batch=8, context=1200)
    names = by_name(made)
    prefix, suffix, merge = (names[f"attention{x}"] for x in (".prefix", "", ".merge"))
    assert isinstance(prefix, Attention)
    assert (prefix.batch, prefix.q_len, prefix.kv_len, prefix.causal) == (1, 8, 1000, False)
    assert (suffix.batch, suffix.q_len, suffix.kv_len) == (8, 1, 200)
    assert isinstance(merge, Elementwise)
    assert (merge.function, merge.elements) == ("merge", 8 * 32 * 128)
    assert names["o"].deps == ("attention.merge",)
    assert made.kv_bytes == (1000 + 8 * 200) * TOKEN_BYTES
    plain = make_with(workload, {}, batch=8, context=1200)
    attended = sum(op.flops for op in (prefix, suffix))
    assert attended == by_name(plain)["attention"].flops


def test_each_may_read_it_alone(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """Prefix caching without Hydragen: stored once, read by every sequence."""
    workload = shipped("llama-3-8b")
    options = {"shared_prefix": {"tokens": 1000, "batched": False}}
    made = make_with(workload, options, batch=8, context=1200)
    plain = make_with(workload, {}, batch=8, context=1200)
    assert made.kv_bytes == (1000 + 8 * 200) * TOKEN_BYTES
    assert made.read_bytes == plain.read_bytes


def test_a_prefill_goes_through_the_prefix_once(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload, options = shipped("llama-3-8b"), {"shared_prefix": {"tokens": 1000}}
    made = make_with(workload, options, phase="generate", batch=8, prompt=1200, output=1)
    assert [block.name for block in made.blocks[:6]] == [
        "prefill prefix embed", "prefill prefix layers 0-31", "prefill prefix head",
        "prefill embed", "prefill layers 0-31", "prefill head",
    ]  # fmt: skip
    rows = [op.m for op in made.operators() if op.name == "qkv" and op.layer == 0]  # type: ignore[attr-defined]
    assert rows == [1000, 8 * 200, 8]
    assert made.kv_bytes == (1000 + 8 * 201) * TOKEN_BYTES


def test_completions_of_one_prompt(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """All of the prompt is shared: it is gone through once, with logits for all."""
    options = {"shared_prefix": {"tokens": 1000}}
    made = make_with(
        shipped("llama-3-8b"), options, phase="generate", batch=8, prompt=1000, output=2
    )
    rows = [op.m for op in made.operators() if op.name in ("qkv", "lm_head") and op.layer < 1]  # type: ignore[attr-defined]
    assert rows == [1000, 8, 8, 8, 8, 8]
    assert (made.batch, made.kv_bytes) == (8, (1000 + 8 * 2) * TOKEN_BYTES)


def test_a_mixed_pass_stores_it_once(shipped: Callable[[str], Any]) -> None:
    """Two groups of sequences behind the same prefix."""
    groups = tuple(
        Group(batch=batch, q_len=1, kv_len=kv_len, phase="decode")
        for batch, kv_len in ((2, 1100), (3, 1300))
    )
    for batched in (True, False):
        options = {"shared_prefix": {"tokens": 1000, "batched": batched}}
        made = make_pass_trace(
            shipped("llama-3-8b"),
            Pass(phase="decode", groups=groups),
            techniques=TechniquesSpec.model_validate(options),
        )
        assert made.kv_bytes == (1000 + 2 * 100 + 3 * 300) * TOKEN_BYTES


def test_chunks_of_a_prompt_go_on_behind_it(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    options = {"shared_prefix": {"tokens": 1000}, "chunked_prefill": {"chunk": 500}}
    made = make_with(shipped("llama-3-8b"), options, phase="prefill", batch=2, prompt=1500)
    rows = [op.m for op in made.operators() if op.name == "qkv" and op.layer == 0]  # type: ignore[attr-defined]
    assert rows == [500, 500, 500, 500]
    assert made.kv_bytes == (1000 + 2 * 500) * TOKEN_BYTES


def test_latents_of_the_prefix_are_stored_once_as_well(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    for phase in ("decode", "prefill"):
        made = make_with(
            shipped("deepseek-v2-lite"),
            {"shared_prefix": {"tokens": 1000}},
            phase=phase,
            batch=8,
            context=1200,
        )
        assert made.kv_bytes == 27 * (1000 + 8 * 200) * 576 * 2


def test_layers_with_a_window_do_not_see_it(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """Gemma 2: every other layer has a window."""
    made = make_with(
        shipped("gemma-2-2b"), {"shared_prefix": {"tokens": 1000}}, batch=2, context=1200
    )
    attentions = [op for op in made.operators() if isinstance(op, Attention)]
    assert {op.name for op in attentions if op.layer % 2 == 0} == {"attention"}
    assert len(attentions) == 26 + 13


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(few=st.integers(1, 599), more=st.integers(1, 599), batch=st.integers(1, 9))
def test_more_shared_never_stores_or_reads_more(
    few: int, more: int, batch: int, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    made = [
        make_with(
            shipped("llama-3-8b"), {"shared_prefix": {"tokens": tokens}}, batch=batch, context=600
        )
        for tokens in sorted((few, more))
    ]
    assert made[1].kv_bytes <= made[0].kv_bytes
    assert made[1].read_bytes <= made[0].read_bytes


def test_with_pages_few_bits_and_far_away(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """The prefix in 63 pages once, each suffix in 13; the prefix comes in whole."""
    options = {
        "shared_prefix": {"tokens": 1000},
        "paged": {},
        "kv_quant": {"keys": "fp8", "values": "fp8"},
        "kv_offload": {},
    }
    made = make_with(shipped("llama-3-8b"), options, batch=8, context=1200)
    pages = 63 + 8 * 13
    assert made.far_bytes == pages * (16 * TOKEN_BYTES // 2 + 32 * 4)
    assert by_name(made)["attention.prefix.fetch"].size_bytes == 1000 * TOKEN_BYTES // 64


def test_sequences_no_longer_than_the_prefix(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    with pytest.raises(
        SpecError, match="a sequence of 899 cached tokens is shorter than the prefix of 1000"
    ):
        make_with(shipped("llama-3-8b"), {"shared_prefix": {"tokens": 1000}}, context=900)
