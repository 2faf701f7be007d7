"""Bytes and FLOPs of a mixture of experts, by hand; tables and traces that hold one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import (
    Block,
    Moe,
    Trace,
    operator_from_row,
    read_table,
    read_trace,
    write_trace,
)

from .conftest import ROOT

TABLES = sorted((ROOT.parent / "shared" / "measured").glob("aiconfigurator/moe_*.csv.gz"))
SIZES = {"tokens": 3, "hidden": 16, "inter": 8, "topk": 2, "experts": 4}
CELLS = {
    "num_tokens": "64", "hidden_size": "2688", "inter_size": "1856", "topk": "6",
    "num_experts": "128", "moe_tp_size": "1", "moe_ep_size": "4", "distribution": "power_law_1.2",
    "moe_dtype": "bfloat16",
}  # fmt: skip


def moe(**changes: Any) -> Moe:
    return Moe(name="e", **(SIZES | {"dtype": "bf16", "weight_dtype": "bf16"} | changes))


def test_weights_of_experts_without_a_token_are_not_read() -> None:
    # one token, 2 of 4 experts: each has 16 x 8 of gate, of up and of down
    operator = moe(tokens=1)
    assert sum(tensor.size_bytes for tensor in operator.weights) == 2 * 2 * 3 * 16 * 8
    # with x (16), the logits (4)
    assert operator.read_bytes == 2 * (2 * 3 * 16 * 8 + 16 + 4)
    assert operator.write_bytes == 2 * 16


def test_flops_are_counted_for_each_token_and_chosen_expert() -> None:
    # 3 tokens x 2 experts: 3 products of 16 x 8, 5 per inner element, 2 per result
    assert moe().flops == 6 * (2 * 3 * 16 * 8 + 5 * 8 + 2 * 16)
    assert moe(gated=False).flops == 6 * (2 * 2 * 16 * 8 + 4 * 8 + 2 * 16)


def test_a_share_of_the_width_is_that_share_of_the_products() -> None:
    whole, half = moe(), moe(moe_tp=2)
    assert [2 * t.size_bytes for t in half.weights] == [t.size_bytes for t in whole.weights]
    assert half.loads == whole.loads


def test_the_fullest_rank_has_its_experts_only() -> None:
    operator = moe(moe_ep=2, tokens=4)
    assert len(operator.loads) == 2
    assert operator.weights[0].shape == (2, 16, 16)


@given(st.integers(1, 64), st.sampled_from(["balanced", "power_law_1.2"]))
def test_the_fullest_rank_always_has_a_token(tokens: int, routing: str) -> None:
    for ranks in (1, 2, 32):
        operator = moe(tokens=tokens, experts=32, topk=1, moe_ep=ranks, routing=routing)
        assert len(operator.weights) == 2
        assert operator.weights[0].shape[0] >= 1


@given(st.integers(1, 500), st.sampled_from(["balanced", "power_law_1.2"]))
def test_twice_the_tokens_are_twice_the_work_on_no_fewer_weights(tokens: int, routing: str) -> None:
    few = moe(tokens=tokens, experts=32, topk=4, routing=routing)
    many = moe(tokens=2 * tokens, experts=32, topk=4, routing=routing)
    assert many.flops == 2 * few.flops
    assert many.weights[0].size_bytes >= few.weights[0].size_bytes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"topk": 5}, "topk 5 is more than the 4 experts"),
        ({"moe_tp": 3}, "inter 8 must be a multiple of moe_tp 3"),
        ({"moe_ep": 3}, "experts 4 must be a multiple of moe_ep 3"),
        ({"routing": "even"}, r"moe 'e': routing must be balanced or power_law_<alpha>.*'even'"),
        ({"tokens": 0}, "tokens must be at least 1, got 0"),
        ({"dtype": "bf61"}, "dtype: unknown dtype 'bf61', did you mean"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        moe(**changes)


def test_a_trace_keeps_a_mixture_of_experts(tmp_path: Path) -> None:
    block = Block(name="b", operators=(moe(routing="power_law_1.2", gated=False, moe_ep=2),))
    trace = Trace(
        model="m", phase="decode", batch=3, context=1, output_tokens=1, dtypes={},
        blocks=(block,), weight_bytes=0, kv_bytes=0, activation_bytes=0,
    )  # fmt: skip
    write_trace(trace, tmp_path / "t.jsonl")
    assert read_trace(tmp_path / "t.jsonl") == trace


def test_a_trace_with_an_unknown_distribution_is_refused_with_its_line(tmp_path: Path) -> None:
    block = Block(name="b", operators=(moe(),))
    trace = Trace(
        model="m", phase="decode", batch=3, context=1, output_tokens=1, dtypes={},
        blocks=(block,), weight_bytes=0, kv_bytes=0, activation_bytes=0,
    )  # fmt: skip
    path = tmp_path / "t.jsonl"
    write_trace(trace, path)
    path.write_text(path.read_text().replace('"balanced"', '"uniform"'))
    with pytest.raises(TraceError, match=rf"{path}:3: .*routing must be balanced"):
        read_trace(path)


def test_rows_name_their_columns_as_the_measured_tables_do() -> None:
    found = operator_from_row({"operator": "moe"} | CELLS, "t.csv:2")
    assert found == Moe(
        name="moe", tokens=64, hidden=2688, inter=1856, topk=6, experts=128, moe_ep=4,
        routing="power_law_1.2", dtype="bf16", weight_dtype="bf16",
    )  # fmt: skip


def test_nemotron_has_one_projection_where_the_library_knows_the_model() -> None:
    layer = {"kernel_source": "vllm_unquantizedfusedmoe_triton_tritonexperts"}
    older = {"kernel_source": "vllm_fused_moe"}
    rows = [{"operator": "moe"} | CELLS | source for source in (layer, older)]
    ungated, gated = (operator_from_row(row, "t.csv:2") for row in rows)
    assert isinstance(ungated, Moe)
    assert isinstance(gated, Moe)
    assert (ungated.gated, gated.gated) == (False, True)


def test_the_operator_may_be_called_op_name(tmp_path: Path) -> None:
    names, cells = ",".join(CELLS), ",".join(CELLS.values())
    path = tmp_path / "t.csv"
    path.write_text(f"op_name,{names},latency_s\nmoe,{cells},1e-4\n")
    (row,) = read_table(path)
    assert isinstance(row.operator, Moe)
    assert row.latency_s == 1e-4


def test_a_wrong_row_is_named_with_its_line(tmp_path: Path) -> None:
    names, cells = ",".join(CELLS), ",".join((CELLS | {"distribution": "even"}).values())
    path = tmp_path / "t.csv"
    path.write_text(f"op_name,{names}\nmoe,{cells}\n")
    with pytest.raises(TraceError, match=r"t\.csv:2: .*routing must be .* got 'even'"):
        read_table(path)


@pytest.mark.skipif(not TABLES, reason="measured tables not here")
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.name)
def test_measured_tables_are_read_whole(path: Path) -> None:
    rows = read_table(path)
    assert len(rows) > 6000
    assert {type(row.operator) for row in rows} == {Moe}
    assert all(row.latency_s for row in rows)


def test_a_layer_of_any_size_is_described_at_once() -> None:
    """Nothing is worked out of the routing before it is asked for."""
    size = 2**40
    moe = Moe(
        name="e", tokens=size, hidden=1, inter=1, topk=1, experts=size, routing="power_law_1.2",
        dtype="bf16", weight_dtype="bf16",
    )  # fmt: skip
    assert moe.stored_weight_bytes == size * 3 * 2
