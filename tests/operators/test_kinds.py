"""Bytes and FLOPs of single operators, by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import (
    KINDS,
    Attention,
    Collective,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Softmax,
)


def matmul(**changes: Any) -> Matmul:
    values: dict[str, Any] = {"m": 3, "n": 5, "k": 7, "dtype": "bf16", "weight_dtype": "bf16"}
    return Matmul(name="y", **(values | changes))


def attention(**changes: Any) -> Attention:
    values: dict[str, Any] = {
        "phase": "prefill",
        "batch": 2,
        "q_len": 3,
        "kv_len": 5,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 8,
        "dtype": "bf16",
        "kv_dtype": "bf16",
    }
    return Attention(name="a", **(values | changes))


def test_matmul_counts_two_flops_for_each_product() -> None:
    assert matmul().flops == 2 * 3 * 5 * 7


def test_matmul_reads_x_and_w_and_writes_y() -> None:
    assert matmul().read_bytes == 2 * (3 * 7 + 7 * 5)
    assert matmul().write_bytes == 2 * 3 * 5


def test_matmul_bias_is_read_once_and_is_no_flops() -> None:
    assert matmul(bias=True).read_bytes - matmul().read_bytes == 2 * 5
    assert matmul(bias=True).flops == matmul().flops


def test_matmul_weights_may_be_packed_to_four_bits() -> None:
    # 35 weights: 17.5 bytes, 18 whole ones
    assert matmul(weight_dtype="int4").read_bytes == 2 * 21 + 18


def test_batched_matmul_without_weight_has_one_second_operand_per_product() -> None:
    operator = matmul(batch=4, has_weight=False)
    assert operator.read_bytes == 4 * 2 * (21 + 35)
    assert {tensor.role for tensor in operator.inputs} == {"activation"}
    assert operator.flops == 4 * 2 * 105


def test_matmul_result_may_be_wider_than_its_operands() -> None:
    operator = matmul(dtype="fp8", weight_dtype="fp8", out_dtype="bf16")
    assert (operator.read_bytes, operator.write_bytes) == (21 + 35, 2 * 15)


def test_decode_attention_reads_the_whole_cache_once() -> None:
    operator = attention(phase="decode", q_len=1)
    q_bytes = 2 * 2 * 4 * 8  # bf16, 2 sequences, 4 heads of 8
    kv_bytes = 2 * 2 * 2 * 5 * 2 * 8  # bf16, K and V, 2 sequences, 5 tokens, 2 heads of 8
    assert operator.read_bytes == q_bytes + kv_bytes
    assert operator.write_bytes == q_bytes


def test_decode_attention_sees_every_cached_token() -> None:
    operator = attention(phase="decode", q_len=1)
    assert operator.flops == 4 * 2 * 4 * 1 * 5 * 8


def test_causal_attention_counts_visible_pairs_only() -> None:
    # 3 new tokens over 5: they see 3, 4 and 5 tokens
    assert attention().pairs == 3 + 4 + 5
    assert attention().flops == 4 * 8 * 2 * 4 * 12
    assert attention(causal=False).pairs == 3 * 5


def test_causal_prefill_is_half_the_square_plus_half_the_diagonal() -> None:
    assert attention(q_len=100, kv_len=100).pairs == (100 * 100 + 100) // 2


@given(st.integers(1, 40), st.integers(0, 40))
def test_visible_pairs_equal_their_enumeration(q_len: int, before: int) -> None:
    kv_len = q_len + before
    seen = sum(1 for i in range(q_len) for j in range(kv_len) if j <= kv_len - q_len + i)
    assert attention(q_len=q_len, kv_len=kv_len).pairs == seen


def test_kv_of_attention_is_in_the_cache_dtype_and_role() -> None:
    _, k, v = attention(kv_dtype="fp8").inputs
    assert (k.role, k.dtype, k.size_bytes) == ("kv", "fp8", 2 * 5 * 2 * 8)
    assert v.size_bytes == k.size_bytes


def test_rms_norm_has_a_weight_and_layer_norm_also_a_bias() -> None:
    rms = Norm(name="n", rows=3, width=10, style="rms", dtype="bf16")
    layer = Norm(name="n", rows=3, width=10, style="layer", dtype="bf16")
    assert rms.read_bytes == 2 * (30 + 10)
    assert layer.read_bytes == 2 * (30 + 20)
    assert (rms.flops, layer.flops) == (4 * 30, 7 * 30)


def test_softmax_reads_and_writes_each_element_once() -> None:
    operator = Softmax(name="s", rows=3, width=10, dtype="fp32")
    assert (operator.read_bytes, operator.write_bytes, operator.flops) == (120, 120, 150)


def test_silu_mul_reads_both_halves_of_the_fused_matmul() -> None:
    operator = Elementwise(
        name="f", deps=("gate_up",), function="silu_mul", elements=6, num_inputs=2, dtype="bf16"
    )
    assert [tensor.name for tensor in operator.inputs] == ["gate_up.out", "gate_up.out"]
    assert (operator.read_bytes, operator.write_bytes, operator.flops) == (24, 12, 30)


def test_rope_reads_and_writes_every_head() -> None:
    operator = Rope(name="r", tokens=2, heads=6, head_dim=4, dtype="bf16")
    assert (operator.read_bytes, operator.write_bytes, operator.flops) == (96, 96, 3 * 48)


def test_embedding_reads_only_the_rows_it_looks_up() -> None:
    operator = Embedding(
        name="e", tokens=2, width=8, vocab=50000, dtype="bf16", weight_dtype="int8"
    )
    assert (operator.read_bytes, operator.write_bytes) == (2 * 8, 2 * 2 * 8)


def test_kv_append_writes_a_key_and_a_value_in_the_cache_dtype() -> None:
    operator = KvAppend(name="k", tokens=3, kv_heads=2, head_dim=4, dtype="bf16", kv_dtype="int4")
    assert operator.read_bytes == 2 * 2 * 24
    assert operator.write_bytes == 2 * 12
    assert {tensor.role for tensor in operator.outputs} == {"kv"}


def test_collective_moves_its_message() -> None:
    operator = Collective(name="c", function="all_reduce", size_bytes=1000, ways=4)
    assert (operator.read_bytes, operator.write_bytes, operator.flops) == (1000, 1000, 0)


def test_a_collective_that_gathers_or_scatters_has_parts_on_one_side() -> None:
    gather = Collective(name="c", function="all_gather", size_bytes=1000, ways=3)
    assert (gather.read_bytes, gather.write_bytes) == (334, 1000)
    scatter = Collective(name="c", function="reduce_scatter", size_bytes=1000, ways=3)
    assert (scatter.read_bytes, scatter.write_bytes) == (1000, 334)


def test_activation_inputs_are_named_after_the_dependencies_in_order() -> None:
    operator = Elementwise(
        name="sum", deps=("o", "@prev"), function="add", elements=4, num_inputs=2, dtype="bf16"
    )
    assert [tensor.name for tensor in operator.inputs] == ["o.out", "@prev.out"]


@pytest.mark.parametrize("field", ["m", "n", "k", "batch"])
def test_a_size_below_one_is_an_error_that_names_it(field: str) -> None:
    with pytest.raises(TraceError, match=rf"matmul 'y': {field} must be at least 1, got 0"):
        matmul(**{field: 0})


def test_an_unknown_dtype_is_an_error_with_a_hint() -> None:
    with pytest.raises(TraceError, match=r"weight_dtype: unknown dtype 'int9'.*did you mean"):
        matmul(weight_dtype="int9")


def test_heads_must_be_a_multiple_of_kv_heads() -> None:
    with pytest.raises(TraceError, match="n_heads 4 must be a multiple of n_kv_heads 3"):
        attention(n_kv_heads=3)


def test_causal_attention_cannot_have_more_queries_than_tokens() -> None:
    with pytest.raises(TraceError, match="q_len 6 exceeds kv_len 5"):
        attention(q_len=6)


def elementwise(**changes: Any) -> Elementwise:
    values: dict[str, Any] = {"function": "add", "elements": 12, "num_inputs": 2, "dtype": "bf16"}
    return Elementwise(name="x", **(values | changes))


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        ("add", 1, "add has 2 inputs or more, not 1"),
        ("mul", 1, "mul has 2 inputs, not 1"),
        ("mul", 3, "mul has 2 inputs, not 3"),
    ],
)
def test_an_elementwise_function_has_its_number_of_inputs(
    function: str, given: int, expected: str
) -> None:
    with pytest.raises(TraceError, match=f"{expected}$"):
        elementwise(function=function, num_inputs=given)


def test_a_sum_adds_once_for_each_input_after_the_first() -> None:
    assert [elementwise(num_inputs=n).flops for n in (2, 3, 4)] == [12, 24, 36]
    assert elementwise(num_inputs=3).read_bytes == 3 * 24


@pytest.mark.parametrize("rows", [0, -1, 5, 24])
def test_rows_share_out_the_elements(rows: int) -> None:
    with pytest.raises(TraceError, match=f"12 elements are not {rows} equal rows"):
        elementwise(rows=rows)


def test_rows_change_neither_bytes_nor_flops() -> None:
    flat, rows = elementwise(), elementwise(rows=4)
    assert (flat.rows, rows.rows) == (None, 4)
    assert (flat.read_bytes, flat.write_bytes) == (rows.read_bytes, rows.write_bytes)


def test_every_operator_class_is_registered_under_its_kind() -> None:
    assert set(KINDS) == {operator.kind for operator in Operator.__subclasses__()}
    assert all(operator.kind == kind for kind, operator in KINDS.items())
