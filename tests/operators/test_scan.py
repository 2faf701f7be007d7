"""Recurrences and convolutions: FLOPs of both forms by hand, bytes, what stays in the cache."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import Conv, Scan

SHAPES: dict[str, dict[str, Any]] = {
    "selective": {"heads": 1, "head_dim": 12, "state": 4},
    "ssd": {"heads": 6, "head_dim": 2, "state": 4, "groups": 2},
    "delta": {"heads": 6, "head_dim": 2, "state": 4, "groups": 2},
    "gated": {"heads": 6, "head_dim": 2, "state": 4, "groups": 6},
}


def scan(recurrence: str = "ssd", **changes: Any) -> Scan:
    values: dict[str, Any] = {"batch": 3, "q_len": 1, "dtype": "bf16", **SHAPES[recurrence]}
    return Scan(name="s", recurrence=recurrence, **(values | changes))  # type: ignore[arg-type]


# 12 channels with 4 values each in all of them: 48 values
@pytest.mark.parametrize(
    ("recurrence", "flops"),
    [
        ("selective", 7 * 48 + 3 * 12),
        ("ssd", 5 * 48 + 3 * 12 + 2 * 6),
        ("delta", 7 * 48 + 2 * 12 + 6 + 6 * 2 * 4),
        ("gated", 5 * 48 + 6 * 4),
    ],
)
def test_a_token_costs_what_its_recurrence_has_per_value(recurrence: str, flops: int) -> None:
    assert scan(recurrence).flops == 3 * flops


def test_an_elementwise_recurrence_has_no_state_to_read_out() -> None:
    assert scan("gated", heads=1, head_dim=12, state=1, groups=1).flops == 3 * 4 * 12


@pytest.mark.parametrize(
    ("recurrence", "width"),
    [
        ("selective", 12 + 12 + 2 * 4),  # x and steps of channels, B and C
        ("ssd", 12 + 6 + 2 * 2 * 4),  # x, steps of heads, B and C of two groups
        ("delta", 12 + 2 * 6 + 2 * 2 * 4),  # v, two numbers per head, q and k of two groups
        ("gated", 12 + 2 * 6 * 4),  # i, f and q
    ],
)
def test_it_takes_in_one_activation_of_all_that_changes(recurrence: str, width: int) -> None:
    op = scan(recurrence, q_len=5)
    assert op.in_width == width
    assert op.inputs[0].shape == (3, 5, width)
    assert op.outputs[0].shape == (3, 5, 12)


def test_the_state_is_read_and_written_in_its_own_dtype_whatever_the_length() -> None:
    for q_len in (1, 7, 1000):
        op = scan(q_len=q_len)
        kept = [t for t in (*op.inputs, *op.outputs) if t.role == "kv"]
        assert [t.size_bytes for t in kept] == [3 * 48 * 4] * 2
        assert kept[0].name == kept[1].name
        assert op.stored_bytes == 3 * 48 * 4
        assert op.far_stored_bytes == 0


def test_its_own_weights_are_read_where_it_has_some() -> None:
    assert [t.role for t in scan().inputs] == ["activation", "kv"]
    op = scan(parameters=18)
    assert [(t.role, t.elements) for t in op.inputs[1:2]] == [("weight", 18)]


def test_several_tokens_go_through_chunks_as_products_of_whole_squares() -> None:
    op = scan(q_len=5, chunk=5)
    products = 2 * 25 * 4 * 2 + 2 * 25 * 12 + 4 * 5 * 48
    assert op.product_flops == products
    assert op.flops > 3 * products


def test_the_last_chunk_is_shorter() -> None:
    whole, rest = scan(q_len=4, chunk=4).product_flops, scan(q_len=3, chunk=4).product_flops
    assert scan(q_len=11, chunk=4).product_flops == 2 * whole + rest


def test_chunks_are_those_of_the_published_kernels() -> None:
    assert [scan(name).chunk_tokens for name in ("ssd", "delta", "gated")] == [256, 64, 64]


def test_a_delta_chunk_has_a_triangle_to_invert() -> None:
    op = scan("delta", q_len=6, chunk=6)
    keys, values = 3 * 2 * 36 * 4 * 6, 2 * 2 * 36 * 12
    assert op.product_flops == keys + values + 6 * (216 // 3) + 6 * 6 * 48


@pytest.mark.parametrize("recurrence", ["selective", "gated"])
def test_recurrences_without_products_run_token_by_token(recurrence: str) -> None:
    state = {"state": 1, "heads": 1, "head_dim": 12, "groups": 1} if recurrence == "gated" else {}
    one, many = scan(recurrence, **state), scan(recurrence, q_len=100, **state)
    assert many.product_flops == 0
    assert many.flops == 100 * one.flops


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": 4}, "heads 6 must be a multiple of groups 4"),
        ({"parameters": -1}, "parameters must be at least 0"),
        ({"chunk": 0}, "chunk must be at least 1"),
        ({"state": 0}, "state must be at least 1"),
        ({"state_dtype": "fp31"}, "state_dtype: unknown dtype 'fp31'"),
        ({"recurrence": "linear"}, "recurrence must be one of selective, ssd, delta, gated"),
    ],
)
def test_what_a_scan_cannot_be(changes: dict[str, Any], said: str) -> None:
    values: dict[str, Any] = {"recurrence": "ssd", "batch": 1, "q_len": 1, "dtype": "bf16"}
    with pytest.raises(TraceError, match=said):
        Scan(name="s", **(values | SHAPES["ssd"] | changes))


@given(
    st.sampled_from(sorted(SHAPES)), st.integers(1, 400), st.integers(1, 400), st.integers(1, 64)
)
def test_more_tokens_are_more_work(recurrence: str, fewer: int, more: int, chunk: int) -> None:
    less, most = sorted((fewer, more))
    short, long = (scan(recurrence, q_len=n, chunk=chunk) for n in (less, most))
    assert short.product_flops <= long.product_flops
    if (short.q_len > 1) == (long.q_len > 1):
        assert short.flops <= long.flops
    assert 0 <= 3 * long.product_flops <= long.flops


def conv(**changes: Any) -> Conv:
    values: dict[str, Any] = {"batch": 2, "q_len": 3, "width": 10, "taps": 4, "dtype": "bf16"}
    return Conv(name="c", **(values | changes))


def test_a_convolution_has_a_product_and_a_sum_per_tap() -> None:
    assert conv().flops == 2 * 4 * 2 * 3 * 10


def test_a_convolution_keeps_all_inputs_but_one_that_its_taps_cover() -> None:
    op = conv()
    assert op.stored_bytes == 2 * 10 * 3 * 2
    assert [t.role for t in op.inputs] == ["activation", "weight", "kv"]
    assert op.read_bytes == 2 * (2 * 3 * 10 + 10 * 4 + 2 * 10 * 3)
    assert op.write_bytes == 2 * (2 * 3 * 10 + 2 * 10 * 3)


def test_a_bias_is_a_weight_more_and_one_tap_keeps_nothing() -> None:
    assert conv(has_bias=True).read_bytes - conv().read_bytes == 2 * 10
    assert conv(taps=1).stored_bytes == 0
    assert [t.role for t in conv(taps=1).inputs] == ["activation", "weight"]
