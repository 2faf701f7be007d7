"""Attention as FlashAttention runs it: tiles of queries in prefill, split KV in decode.

Dao et al., FlashAttention-2 (arXiv 2307.08691) and FlashDecoding: prefill blocks own 128 queries
of one head and stream the keys they may see; decode packs the query heads that share a KV head and
splits the KV length until every SM has work, then combines.
"""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost, ceil_div, chunks_of, wave_count

QUERY_TILE = 128
KEY_TILE = 128
DECODE_ROWS = 64  # least rows of a tensor-core tile that packed query heads are padded to


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionShape:
    """`q_len` new tokens attend to `kv_len` positions, the new ones among them."""

    batch: int
    q_len: int
    kv_len: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    causal: bool
    flops: int
    dtype: str
    element_bytes: float
    kv_bytes: float


def _tile_ns(chip: Chip, s: AttentionShape, rows: int) -> float:
    """One tile of keys against `rows` queries: two multiplies and the exponentials between."""
    tensor_ns = 4 * rows * KEY_TILE * s.head_dim / chip.tensor_rate(s.dtype)
    return max(tensor_ns, rows * KEY_TILE / chip.exp_per_ns)


def _io_bytes(s: AttentionShape) -> tuple[int, int, int]:
    """(query, key and value, output) bytes."""
    query = s.batch * s.q_len * s.n_heads * s.head_dim * s.element_bytes
    key_value = 2 * s.batch * s.kv_len * s.n_kv_heads * s.head_dim * s.kv_bytes
    return int(query), int(key_value), int(query)


def prefill_cost(chip: Chip, s: AttentionShape, *, q_in_l2: bool) -> KernelCost:
    """Blocks of 128 queries; the last ones see all keys and end the kernel."""
    query_tiles = ceil_div(s.q_len, QUERY_TILE)
    blocks = query_tiles * s.n_heads * s.batch
    first_key = s.kv_len - s.q_len if s.causal else s.kv_len
    key_tiles = [
        ceil_div(min(s.kv_len, first_key + (i + 1) * QUERY_TILE), KEY_TILE)
        for i in range(query_tiles)
    ]
    tile_ns = _tile_ns(chip, s, min(QUERY_TILE, max(DECODE_ROWS, s.q_len)))
    total_ns = s.n_heads * s.batch * sum(key_tiles) * tile_ns + blocks * chip.block_ns
    longest_ns = key_tiles[-1] * tile_ns + chip.block_ns
    query, key_value, out = _io_bytes(s)
    return KernelCost(
        label=f"flash {QUERY_TILE}x{KEY_TILE}",
        blocks=blocks,
        waves=wave_count(blocks, chip.sms),
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=max(total_ns / chip.sms, longest_ns),
        chunks=chunks_of(wave_count(blocks, chip.sms), key_tiles[-1], chip.stages),
        read_bytes=(0 if q_in_l2 else query) + key_value,
        write_bytes=out,
        l2_bytes=query + out + key_value * query_tiles,
        tensor_flops=s.flops,
    )


def decode_splits(chip: Chip, s: AttentionShape) -> int:
    """Pieces of the KV length, so that the SMs are covered and no piece is under one tile."""
    heads = s.batch * s.n_kv_heads
    return max(1, min(ceil_div(s.kv_len, KEY_TILE), chip.sms // max(1, heads)))


def decode_cost(chip: Chip, s: AttentionShape, *, q_in_l2: bool) -> KernelCost:
    """One new token a sequence; query heads of one KV head share its keys."""
    group = s.n_heads // s.n_kv_heads
    rows = ceil_div(group * s.q_len, DECODE_ROWS) * DECODE_ROWS
    splits = decode_splits(chip, s)
    blocks = s.batch * s.n_kv_heads * splits
    waves = wave_count(blocks, chip.sms)
    tiles_per_block = ceil_div(ceil_div(s.kv_len, splits), KEY_TILE)
    feed_ns = 2 * KEY_TILE * s.head_dim * s.kv_bytes / chip.l2_bytes_per_ns
    block_ns = tiles_per_block * max(_tile_ns(chip, s, rows), feed_ns) + chip.block_ns
    query, key_value, out = _io_bytes(s)
    partial_bytes = 2 * splits * out * 2 if splits > 1 else 0
    combine_ns = partial_bytes / (chip.l2_bytes_per_ns * chip.sms)
    return KernelCost(
        label=f"flash-decode {splits} splits",
        blocks=blocks,
        waves=waves,
        ideal_ns=s.flops / (chip.tensor_rate(s.dtype) * chip.sms),
        compute_ns=waves * block_ns + combine_ns + (chip.block_ns if splits > 1 else 0.0),
        chunks=chunks_of(waves, tiles_per_block, 1),
        read_bytes=(0 if q_in_l2 else query) + key_value,
        write_bytes=out,
        l2_bytes=query + key_value + out + partial_bytes,
        tensor_flops=s.flops,
    )
