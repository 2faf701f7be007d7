"""Other numbers of heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Trace

MakeWith = Callable[..., Trace]


def attention_of(trace: Trace) -> Attention:
    return next(op for op in trace.operators() if isinstance(op, Attention))


def test_one_head_of_keys_and_values(tiny_llama: Any, make_with: MakeWith) -> None:
    """2 layers x 5 tokens x (2 + 2) values x 2 bytes; 2 x 2 columns fewer in qkv."""
    plain, made = (make_with(tiny_llama, t, context=5) for t in ({}, {"heads": {"n_kv_heads": 1}}))
    assert (attention_of(made).n_heads, attention_of(made).n_kv_heads) == (4, 1)
    assert (plain.kv_bytes, made.kv_bytes) == (160, 80)
    assert plain.weight_bytes - made.weight_bytes == 2 * 8 * (2 * 2) * 2
    parameters = [int(str(trace.meta["parameters"])) for trace in (plain, made)]
    assert parameters[0] - parameters[1] == 2 * 8 * 4


def test_fewer_query_heads_compute_less_and_store_as_much(
    tiny_llama: Any, make_with: MakeWith
) -> None:
    plain = make_with(tiny_llama, {}, phase="prefill", prompt=6)
    made = make_with(tiny_llama, {"heads": {"n_heads": 2}}, phase="prefill", prompt=6)
    assert 2 * attention_of(made).flops == attention_of(plain).flops
    assert made.kv_bytes == plain.kv_bytes
    o = next(op for op in made.operators() if op.name == "o")
    assert (o.k, o.n) == (4, 8)  # type: ignore[attr-defined]


def test_latents_store_one_vector_per_token(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """As DeepSeek-V2's: 576 values per layer in place of 2 x 1024."""
    options = {"heads": {"kv_rank": 512, "rope_dim": 64}}
    made = make_with(shipped("llama-3-8b"), options, context=1024)
    assert made.kv_bytes == 32 * 1024 * 576 * 2
    assert attention_of(made).latent
    prompt = attention_of(make_with(shipped("llama-3-8b"), options, phase="prefill", prompt=8))
    assert (prompt.head_dim, prompt.value_dim) == (128, 128)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(few=st.sampled_from([1, 2, 4, 8]), more=st.sampled_from([1, 2, 4, 8]))
def test_fewer_heads_never_read_more(
    few: int, more: int, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    few, more = min(few, more), max(few, more)
    traces = [
        make_with(shipped("llama-3-8b"), {"heads": {"n_kv_heads": n}}, batch=3, context=100)
        for n in (few, more)
    ]
    assert traces[0].kv_bytes <= traces[1].kv_bytes
    assert traces[0].read_bytes <= traces[1].read_bytes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_kv_heads": 3}, "n_heads 4 must be a multiple of n_kv_heads 3"),
        ({"kv_rank": 4, "rope_dim": 2}, "rope_dim 2 must be less than a head's 2"),
    ],
)
def test_heads_that_do_not_go_with_the_model(
    options: dict[str, int], words: str, tiny_llama: Any, make_with: MakeWith
) -> None:
    with pytest.raises(SpecError, match=words):
        make_with(tiny_llama, {"heads": options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing is changed"),
        ({"kv_rank": 4}, "rope_dim"),
        ({"q_rank": 4, "n_heads": 2}, "belongs to latent attention"),
        ({"kv_rank": 4, "rope_dim": 1, "n_kv_heads": 2}, "a latent serves all heads"),
    ],
)
def test_options_that_contradict_each_other(
    options: dict[str, int], words: str, tiny_llama: Any, make_with: MakeWith
) -> None:
    with pytest.raises(ValidationError, match=words):
        make_with(tiny_llama, {"heads": options})
