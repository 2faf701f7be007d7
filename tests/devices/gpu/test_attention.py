from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.attention import (
    AttentionShape,
    decode_cost,
    decode_splits,
    prefill_cost,
)
from bankwidth.devices.gpu.chip import Chip

MakeChip = Callable[..., Chip]


def shape(q_len: int, kv_len: int, *, batch: int = 1, heads: int = 4, kv_heads: int = 4,
          head_dim: int = 64, causal: bool = True) -> AttentionShape:  # fmt: skip
    pairs = q_len * (kv_len - q_len) + q_len * (q_len + 1) // 2 if causal else q_len * kv_len
    return AttentionShape(
        batch=batch, q_len=q_len, kv_len=kv_len, n_heads=heads, n_kv_heads=kv_heads,
        head_dim=head_dim, causal=causal, flops=4 * batch * heads * pairs * head_dim,
        dtype="bf16", element_bytes=2, kv_bytes=2,
    )  # fmt: skip


def test_prefill_is_never_shorter_than_its_last_block(chip: Chip) -> None:
    # 8 query tiles, 4 heads: 32 blocks on 100 SMs; the last sees 8 key tiles of
    # 4 * 128 * 128 * 64 FLOPs at 1000 per ns
    cost = prefill_cost(chip, shape(1024, 1024), q_in_l2=True)
    assert cost.blocks == 32
    assert cost.compute_ns == pytest.approx(8 * 4 * 128 * 128 * 64 / 1000)


def test_causal_prefill_of_many_blocks_is_its_key_tiles_over_the_sms(chip: Chip) -> None:
    # 64 query tiles with 1..64 key tiles: 2080 tiles a head, 4 heads, 100 SMs
    cost = prefill_cost(chip, shape(8192, 8192), q_in_l2=True)
    assert cost.compute_ns == pytest.approx(2080 * 4 * 4 * 128 * 128 * 64 / 1000 / 100)


def test_exponentials_can_be_the_slower_half(make_chip: MakeChip) -> None:
    fast, slow = make_chip(), make_chip(exp_per_ns=1.0)
    work = shape(1024, 1024)
    # 128 * 128 exponentials a tile at 1 per ns, against 4194 ns of multiplies
    assert prefill_cost(slow, work, q_in_l2=True).compute_ns == pytest.approx(8 * 128 * 128)
    assert prefill_cost(fast, work, q_in_l2=True).compute_ns < 8 * 128 * 128


def test_decode_reads_keys_and_values_once(chip: Chip) -> None:
    cost = decode_cost(chip, shape(1, 4096, heads=32, kv_heads=8), q_in_l2=True)
    assert cost.read_bytes == 2 * 4096 * 8 * 64 * 2
    assert cost.write_bytes == 32 * 64 * 2


def test_decode_splits_until_the_sms_are_covered(chip: Chip) -> None:
    assert decode_splits(chip, shape(1, 100_000)) == 25  # 4 heads on 100 SMs
    assert decode_splits(chip, shape(1, 256)) == 2  # no less than a tile of 128 keys each
    assert decode_splits(chip, shape(1, 100_000, batch=50)) == 1


def test_query_heads_that_share_keys_share_a_tile(chip: Chip) -> None:
    own = decode_cost(chip, shape(1, 4096, heads=32, kv_heads=32), q_in_l2=True)
    shared = decode_cost(chip, shape(1, 4096, heads=32, kv_heads=1), q_in_l2=True)
    assert shared.compute_ns < own.compute_ns


@given(q_len=st.integers(1, 3000), before=st.integers(0, 3000), heads=st.sampled_from([1, 8, 32]))
def test_prefill_never_beats_the_peak(
    make_chip: MakeChip, q_len: int, before: int, heads: int
) -> None:
    work = shape(q_len, q_len + before, heads=heads, kv_heads=heads)
    cost = prefill_cost(make_chip(), work, q_in_l2=False)
    assert cost.compute_ns >= cost.ideal_ns * (1 - 1e-12)


@given(kv_len=st.integers(1, 50_000), heads=st.sampled_from([8, 32]), batch=st.integers(1, 64))
def test_longer_caches_never_decode_faster(
    make_chip: MakeChip, kv_len: int, heads: int, batch: int
) -> None:
    chip = make_chip()
    short = decode_cost(chip, shape(1, kv_len, heads=heads, batch=batch), q_in_l2=True)
    long = decode_cost(chip, shape(1, 2 * kv_len, heads=heads, batch=batch), q_in_l2=True)
    assert long.read_bytes >= short.read_bytes
    assert long.compute_ns >= short.compute_ns * 0.999
