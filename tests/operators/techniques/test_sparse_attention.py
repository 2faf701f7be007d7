"""Two phases: choose, then attend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Attention, Score, Select, Trace

MakeWith = Callable[..., Trace]
METHODS = ("sparq", "quest", "infinigen")


def by_name(trace: Trace) -> dict[str, Any]:
    return {op.name: op for block in trace.blocks for op in block.operators}


def test_sparq_reads_components_of_all_keys_and_few_tokens(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """32 of 128 components of 4096 keys, then 128 tokens; keys lie there twice."""
    workload = shipped("llama-3-8b")
    options = {"sparse_attention": {"tokens": 128, "components": 32}}
    made = make_with(workload, options, batch=2, context=4096)
    names = by_name(made)
    score, select, attention = (names[f"attention{x}"] for x in (".score", ".select", ""))
    assert isinstance(score, Score)
    assert isinstance(select, Select)
    assert isinstance(attention, Attention)
    assert (score.rows, score.width, score.kv_role) == (4096, 32, "kv")
    assert (select.rows, select.width, select.k) == (2 * 8, 4096, 128)
    assert (attention.kv_len, attention.stored_len) == (128, 4096)
    assert names["attention.score_sum"].num_inputs == 4
    plain = make_with(workload, {}, batch=2, context=4096)
    assert 2 * made.kv_bytes == 3 * plain.kv_bytes
    assert names["o"].deps == ("attention.mean",)
    cached = sum(t.size_bytes for op in made.operators() for t in op.inputs if t.role == "kv")
    assert cached == 32 * 2 * 8 * (4096 * 32 + 2 * 128 * 128) * 2


def test_quest_reads_bounds_of_pages_and_whole_pages(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """100 tokens are 7 pages of 16; the first two layers read all."""
    workload = shipped("llama-3-8b")
    options = {"method": "quest", "tokens": 100, "dense_layers": 2}
    made = make_with(workload, {"sparse_attention": options}, context=4096)
    dense, sparse = made.blocks[1:3]
    assert (dense.name, sparse.name) == ("layers 0-1", "layers 2-31")
    assert [op.kv_len for op in dense.operators if isinstance(op, Attention)] == [4096]
    (score,) = [op for op in sparse.operators if isinstance(op, Score)]
    assert (score.rows, score.width) == (256, 256)
    (attention,) = [op for op in sparse.operators if isinstance(op, Attention)]
    assert (attention.kv_len, attention.page) == (7 * 16, 16)
    plain = make_with(workload, {}, context=4096)
    bounds, tables = 30 * 256 * 8 * 256 * 2, 30 * 7 * 4
    assert made.kv_bytes == plain.kv_bytes + bounds + tables


def test_infinigen_chooses_before_the_query_is_there(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    options = {"method": "infinigen", "tokens": 128, "components": 32}
    made = make_with(workload, {"sparse_attention": options}, context=4096)
    names = by_name(made)
    assert names["attention.partial_q"].deps == ("@prev",)
    assert names["attention.score"].deps[0] == "attention.partial_q"
    assert names["attention"].deps[0] == "rope"
    plain = make_with(workload, {}, context=4096)
    assert made.kv_bytes == plain.kv_bytes * 5 // 4 - plain.kv_bytes // 8  # a quarter of K
    assert made.weight_bytes == plain.weight_bytes + 32 * 4096 * 32 * 32 * 2


@pytest.mark.parametrize("method", METHODS)
def test_prompts_attend_to_all_and_keep_what_is_scored_later(
    method: str, shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    options = {"sparse_attention": {"method": method, "tokens": 128}}
    prompt = make_with(shipped("llama-3-8b"), options, phase="prefill", batch=2, prompt=1024)
    assert by_name(prompt)["attention"].kv_len == 1024
    step = make_with(shipped("llama-3-8b"), options, batch=2, context=1024)
    tables = 32 * 2 * 8 * 4 if method == "quest" else 0  # of the pages that are read
    assert step.kv_bytes == prompt.kv_bytes + tables


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    few=st.integers(1, 2000),
    more=st.integers(1, 2000),
    method=st.sampled_from(METHODS),
    narrow=st.integers(1, 64),
)
def test_fewer_tokens_never_read_more(
    few: int, more: int, method: str, narrow: int,
    shipped: Callable[[str], Any], make_with: MakeWith,
) -> None:  # fmt: skip
    def cached(tokens: int) -> int:
        options = {"method": method, "tokens": tokens, "components": narrow}
        made = make_with(shipped("llama-3-8b"), {"sparse_attention": options}, context=1024)
        return sum(op.read_bytes for op in made.operators() if isinstance(op, Attention))

    few, more = sorted((few, more))
    assert cached(few) <= cached(more)


def test_components_of_keys_far_away_are_read_there(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """With a copy near, which is what is scored; without one, the keys themselves."""
    for copied, role in ((True, "kv"), (False, "far")):
        options = {
            "sparse_attention": {"tokens": 128, "copy_keys": copied},
            "kv_offload": {},
            "kv_quant": {"keys": 8, "values": 8},
        }
        names = by_name(make_with(shipped("llama-3-8b"), options, context=4096))
        assert names["attention.score"].kv_role == role
        assert names["attention.score"].kv_dtype == "int8_g32z"
        assert names["attention.fetch"].deps == ("attention.select",)


def test_options_that_do_not_go_with_the_model(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    workload = shipped("llama-3-8b")
    for options, words in (
        ({"tokens": 8, "components": 200}, "components 200 are more than a head has, which is 128"),
        ({"tokens": 8, "dense_layers": 32}, "dense_layers 32 leaves none of the model's 32 layers"),
    ):
        with pytest.raises(SpecError, match=words):
            make_with(workload, {"sparse_attention": options}, context=1024)
    both = {"sparse_attention": {"tokens": 8}, "shared_prefix": {"tokens": 8}}
    with pytest.raises(ValidationError, match="leave sparse_attention or shared_prefix out"):
        make_with(workload, both)
