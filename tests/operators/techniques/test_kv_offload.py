"""Keys and values further away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Fetch, KvAppend, Trace
from bankwidth.operators.make import make_pass_trace
from bankwidth.operators.passes import Group, Pass
from bankwidth.spec.techniques import TechniquesSpec

MakeWith = Callable[..., Trace]
LAYER_TOKEN_BYTES = 2 * 8 * 128 * 2  # of Llama 3 8B


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_all_of_it_is_far_and_comes_in_for_every_step(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """All but the new token, which is where it was made."""
    made = make_with(shipped("llama-3-8b"), {"kv_offload": {}}, batch=2, context=1000)
    names = by_name(made)
    fetch, attention = names["attention.fetch"], names["attention"]
    assert isinstance(fetch, Fetch)
    assert fetch.is_prefetch
    assert fetch.size_bytes == 2 * 999 * LAYER_TOKEN_BYTES
    assert isinstance(attention, Attention)
    assert attention.kv_role == "activation"
    assert "attention.fetch" in attention.deps
    assert isinstance(names["kv_append"], KvAppend)
    assert names["kv_append"].kv_role == "far"
    assert (made.kv_bytes, made.far_bytes) == (0, 32 * 2 * 1000 * LAYER_TOKEN_BYTES)


def test_ways_to_reach_it(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    workload = shipped("llama-3-8b")
    traces = {
        access: make_with(workload, {"kv_offload": {"access": access}}, context=1000)
        for access in ("prefetch", "fetch", "direct")
    }
    assert len({trace.far_bytes for trace in traces.values()}) == 1
    assert by_name(traces["fetch"])["attention.fetch"].deps == ("rope", "kv_append")
    direct = by_name(traces["direct"])
    assert direct["attention"].kv_role == "far"
    assert "attention.fetch" not in direct


def test_the_first_layers_may_stay_near(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    made = make_with(shipped("llama-3-8b"), {"kv_offload": {"share": 0.25}}, context=1000)
    assert made.kv_bytes == 24 * 1000 * LAYER_TOKEN_BYTES
    assert made.far_bytes == 8 * 1000 * LAYER_TOKEN_BYTES
    assert [block.name for block in made.blocks[1:-1]] == ["layers 0-23", "layers 24-31"]


def test_head_by_head_one_group_is_there_at_a_time(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    whole = make_with(workload, {"kv_offload": {}}, context=100_000)
    made = make_with(workload, {"kv_offload": {"heads": 2}}, context=100_000)
    parts = [op for op in made.blocks[1].operators if isinstance(op, Attention)]
    assert [(op.name, op.n_heads, op.n_kv_heads) for op in parts] == [
        (f"attention.head{i}", 8, 2) for i in range(4)
    ]
    assert made.far_bytes == whole.far_bytes
    assert made.activation_bytes == pytest.approx(whole.activation_bytes / 4, rel=0.01)
    assert by_name(made)["o"].deps[0] == "attention.head3"
    assert set(by_name(made)["o"].deps) == {op.name for op in parts}
    assert made.flops == whole.flops


def test_a_prompt_goes_out_and_nothing_comes_in(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    for name, kv in (("llama-3-8b", 32 * LAYER_TOKEN_BYTES), ("deepseek-v2-lite", 27 * 576 * 2)):
        made = make_with(shipped(name), {"kv_offload": {}}, phase="prefill", batch=2, prompt=128)
        assert not any(isinstance(op, Fetch) for op in made.operators())
        assert (made.kv_bytes, made.far_bytes) == (0, 2 * 128 * kv)
        step = make_with(shipped(name), {"kv_offload": {}}, batch=2, context=128)
        assert (step.kv_bytes, step.far_bytes) == (0, 2 * 128 * kv)


@pytest.mark.parametrize("access", ["prefetch", "direct"])
def test_a_mixed_pass_keeps_all_of_it_once(access: str, shipped: Callable[[str], Any]) -> None:
    """A whole prompt, of which nothing is fetched, beside a decode step and a prompt's chunk."""
    sizes = ((2, 300, 300, "prefill"), (1, 500, 900, "prefill"), (7, 1, 1000, "decode"))
    groups = tuple(Group(batch=b, q_len=q, kv_len=n, phase=p) for b, q, n, p in sizes)  # type: ignore[arg-type]
    options = TechniquesSpec.model_validate({"kv_offload": {"access": access}})
    run = Pass(phase="prefill", groups=groups)
    made = make_pass_trace(shipped("llama-3-8b"), run, techniques=options)
    assert made.kv_bytes == 0
    assert made.far_bytes == 32 * (600 + 900 + 7000) * LAYER_TOKEN_BYTES


def test_only_what_was_chosen_comes_in(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    """InfiniGen: 128 tokens of each KV head, known a layer ahead; all are kept."""
    options = {"sparse_attention": {"method": "infinigen", "tokens": 128}, "kv_offload": {}}
    made = make_with(shipped("llama-3-8b"), options, batch=2, context=4096)
    fetch = by_name(made)["attention.fetch"]
    assert fetch.is_prefetch
    assert fetch.size_bytes == 2 * 128 * LAYER_TOKEN_BYTES
    assert fetch.pieces == 2 * 128 * 8 * 2
    assert made.far_bytes == 32 * 2 * 4096 * LAYER_TOKEN_BYTES
    assert made.kv_bytes == 32 * 2 * 4096 * 8 * 32 * 2  # the components that are scored


def test_few_bits_pages_and_heads_together(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    quant = {"kv_quant": {"keys": 4, "values": 4}}
    made = make_with(workload, {**quant, "paged": {}, "kv_offload": {"heads": 1}}, context=1000)
    near = make_with(workload, {**quant, "paged": {}}, context=1000)
    tables = 32 * 63 * 4
    assert made.far_bytes == near.kv_bytes + 7 * tables  # each head has its own
    pages = {op.pieces for op in made.operators() if isinstance(op, Fetch)}
    assert pages == {2 * 63}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    few=st.floats(0.05, 1), more=st.floats(0.05, 1), access=st.sampled_from(["prefetch", "direct"])
)
def test_near_and_far_together_are_the_cache(
    few: float, more: float, access: str, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    plain = make_with(shipped("llama-3-8b"), {}, context=300)
    made = [
        make_with(
            shipped("llama-3-8b"), {"kv_offload": {"share": s, "access": access}}, context=300
        )
        for s in sorted((few, more))
    ]
    assert all(each.kv_bytes + each.far_bytes == plain.kv_bytes for each in made)
    assert made[0].far_bytes <= made[1].far_bytes


def test_heads_that_do_not_divide(shipped: Callable[[str], Any], make_with: MakeWith) -> None:
    with pytest.raises(SpecError, match="heads 3 do not divide the 8 heads"):
        make_with(shipped("llama-3-8b"), {"kv_offload": {"heads": 3}})
    with pytest.raises(ValidationError, match="nothing is copied"):
        make_with(shipped("llama-3-8b"), {"kv_offload": {"heads": 2, "access": "direct"}})
