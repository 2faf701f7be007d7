"""Blocks of the cache, and room for the longest sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bankwidth.errors import SpecError
from bankwidth.operators import Trace

MakeWith = Callable[..., Trace]
TOKEN_BYTES = 2 * (2 + 2) * 2 * 2  # of tiny_llama: layers, heads of K and V of 2, 2 bytes


def test_the_last_block_is_empty_in_part(tiny_llama: Any, make_with: MakeWith) -> None:
    """9 tokens take three blocks of 4; entries of 4 bytes in each layer's table."""
    made = make_with(tiny_llama, {"paged": {"block": 4}}, batch=3, context=9)
    tables = 2 * 3 * 3 * 4
    assert made.kv_bytes == 3 * 12 * TOKEN_BYTES + tables
    plain = make_with(tiny_llama, {}, batch=3, context=9)
    assert made.read_bytes == plain.read_bytes + tables


def test_contiguous_room_is_kept_whatever_is_used(tiny_llama: Any, make_with: MakeWith) -> None:
    made = make_with(tiny_llama, {"paged": {"contiguous": 100}}, batch=3, context=9)
    assert made.kv_bytes == 3 * 100 * TOKEN_BYTES
    assert made.read_bytes == make_with(tiny_llama, {}, batch=3, context=9).read_bytes


def test_too_little_room_is_said(tiny_llama: Any, make_with: MakeWith) -> None:
    with pytest.raises(SpecError, match="a sequence has 9 tokens; reserve at least as many"):
        make_with(tiny_llama, {"paged": {"contiguous": 8}}, context=9)
    with pytest.raises(ValidationError, match="leave block out"):
        make_with(tiny_llama, {"paged": {"contiguous": 8, "block": 4}}, context=9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(block=st.integers(1, 40), context=st.integers(1, 50))
def test_fragmentation_is_less_than_a_block_per_sequence(
    block: int, context: int, tiny_llama: Any, make_with: MakeWith
) -> None:
    plain = make_with(tiny_llama, {}, batch=2, context=context)
    made = make_with(tiny_llama, {"paged": {"block": block}}, batch=2, context=context)
    tables = 2 * 2 * -(-context // block) * 4
    lost = made.kv_bytes - tables - plain.kv_bytes
    assert 0 <= lost < 2 * block * TOKEN_BYTES


def test_blocks_hold_what_quantising_and_eviction_leave(
    shipped: Callable[[str], Any], make_with: MakeWith
) -> None:
    """1000 of 4096 tokens in 63 blocks of 16, keys and values of 8 x 128 in 2.5 and 4.5 bits."""
    made = make_with(
        shipped("llama-3-8b"),
        {
            "paged": {},
            "eviction": {"budget": 1000, "method": "sinks"},
            "kv_quant": {"keys": 2, "values": 4},
        },
        context=4096,
    )
    # int2_g32z: 64 bits of values, 16 of scale, 2 of zero point; int4_g32z: 128 + 16 + 4
    group_bits = (64 + 16 + 2) + (128 + 16 + 4)
    assert made.kv_bytes == 32 * (1008 * 1024 // 32 * group_bits // 8 + 63 * 4)
