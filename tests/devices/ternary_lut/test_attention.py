"""Attention key by key: by hand, and what reversed order saves."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.ternary_lut.attention import (
    DecodeUnit,
    PrefillUnit,
    Shape,
    decode_ck,
    keys_of_blocks,
    prefill_ck,
)

PREFILL = PrefillUnit(
    queries=8,
    lanes=16,
    score_ck=5,
    sum_ck=30,
    weigh_ck=3,
    fill_ck=130,
    skips_masked=True,
    port_bytes=16,
)
DECODE = DecodeUnit(
    lanes=16, lane_ck=1, score_head_ck=1, value_head_ck=28, fill_ck=70, port_bytes=16
)
PROMPT = Shape(q_len=64, kv_len=64, heads=16, width=1536, kv_bytes=3072, causal=True)


def test_a_key_goes_through_scores_sums_and_weights() -> None:
    assert PREFILL.key_ck(PROMPT) == 96 * 5 + 16 * (30 + 8 * 3) + 130


def test_blocks_of_queries_meet_the_keys_from_their_own_on() -> None:
    assert keys_of_blocks(PREFILL, PROMPT) == [64, 56, 48, 40, 32, 24, 16, 8]
    assert prefill_ck(PREFILL, PROMPT) == 288 * PREFILL.key_ck(PROMPT) + 64 * 96


def test_without_reversed_order_every_block_meets_all_keys() -> None:
    plain = replace(PREFILL, skips_masked=False)
    assert keys_of_blocks(plain, PROMPT) == [64] * 8
    assert keys_of_blocks(PREFILL, replace(PROMPT, causal=False)) == [64] * 8


def test_a_narrow_port_holds_a_key_up() -> None:
    narrow = replace(PREFILL, port_bytes=2)
    assert narrow.key_ck(PROMPT) - PREFILL.key_ck(PROMPT) == 3072 // 2 - 96 * 5


def test_a_decode_step_takes_keys_then_values() -> None:
    shape = replace(PROMPT, q_len=1, kv_len=100)
    # 3072 bytes at 16 per clock are slower than 96 blocks of lanes.
    assert DECODE.token_ck(shape) == 2 * (192 + 70) + 16 * (1 + 28)
    assert decode_ck(DECODE, shape) == 100 * DECODE.token_ck(shape) + 96


@given(q_len=st.integers(1, 80), more=st.integers(0, 50), queries=st.integers(1, 16))
def test_no_visible_key_is_left_out_and_masked_ones_only_within_a_block(
    q_len: int, more: int, queries: int
) -> None:
    unit = replace(PREFILL, queries=queries)
    shape = replace(PROMPT, q_len=q_len, kv_len=q_len + more)
    met = sum(
        keys * min(queries, q_len - block * queries)
        for block, keys in enumerate(keys_of_blocks(unit, shape))
    )
    visible = q_len * more + q_len * (q_len + 1) // 2
    assert visible <= met <= visible + q_len * (queries - 1)
