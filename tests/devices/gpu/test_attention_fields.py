"""Windows, latents, values of another width, packed keys and values: attention's rarer shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.attention import AttentionShape, attention_cost, call_of
from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.errors import MappingError
from bankwidth.spec import AttentionSpec, GpuSpec, load_device

from .conftest import make_attention

MakeChip = Callable[..., Chip]
PLAIN = make_attention().kernels["plain"]


def shipped(device: str, library: str) -> AttentionSpec:
    gpu = load_device(device)
    assert isinstance(gpu, GpuSpec)
    return gpu.libraries[library].attention


def h100() -> Chip:
    gpu = load_device("gpu/h100-sxm")
    assert isinstance(gpu, GpuSpec)
    return chip_of(gpu)


def shape(q_len: int, kv_len: int, *, head_dim: int = 64, window: int | None = None,
          batch: int = 1, heads: int = 4, kv_heads: int = 4) -> AttentionShape:  # fmt: skip
    pairs = sum(min(kv_len - q_len + i + 1, window or kv_len) for i in range(q_len))
    return AttentionShape(
        batch=batch, q_len=q_len, kv_len=kv_len, n_heads=heads, n_kv_heads=kv_heads,
        head_dim=head_dim, causal=True, flops=4 * batch * heads * pairs * head_dim,
        dtype="bf16", element_bytes=2, kv_bytes=2, window=window,
    )  # fmt: skip


def latent(heads: int, batch: int, q_len: int = 1, kv_len: int = 8192) -> AttentionShape:
    return AttentionShape(
        batch=batch, q_len=q_len, kv_len=kv_len, n_heads=heads, n_kv_heads=1, head_dim=576,
        causal=True, flops=2 * batch * heads * q_len * kv_len * (576 + 512), dtype="bf16",
        element_bytes=2, kv_bytes=2, value_width=512, is_latent=True, token_bytes=2 * 576,
    )  # fmt: skip


def test_a_band_is_multiplied_tile_by_tile(make_chip: MakeChip) -> None:
    """Tiles of 128 by 128 and a window of 256: the first tiles see 1 and 2, all others 3."""
    chip = make_chip(sms=4)
    cost = attention_cost(chip, PLAIN, shape(1280, 1280, window=256, heads=1, kv_heads=1))
    whole = attention_cost(chip, PLAIN, shape(1280, 1280, heads=1, kv_heads=1))
    key_bytes = 128 * 2 * 64 * 2
    queries = 2 * 1280 * 64 * 2
    assert cost.l2_bytes == (1 + 2 + 8 * 3) * key_bytes + queries
    assert whole.l2_bytes == sum(range(1, 11)) * key_bytes + queries


@given(st.integers(1, 2000), st.integers(1, 4000), st.integers(1, 4000))
def test_a_wider_window_never_takes_less(q_len: int, one: int, other: int) -> None:
    chip, kernel = h100(), shipped("gpu/h100-sxm", "vllm").kernels["flash-attention-3"]
    narrow, wide = (
        attention_cost(chip, kernel, shape(q_len, q_len, window=w)) for w in sorted((one, other))
    )
    plain = attention_cost(chip, kernel, shape(q_len, q_len))
    assert narrow.l2_bytes <= wide.l2_bytes <= plain.l2_bytes


def test_a_window_that_hides_nothing_changes_nothing(make_chip: MakeChip) -> None:
    chip = make_chip(sms=4)
    for q_len in (100, 5000):
        plain = attention_cost(chip, PLAIN, shape(q_len, 5000))
        banded = attention_cost(chip, PLAIN, shape(q_len, 5000, window=5000))
        assert banded.l2_bytes == pytest.approx(plain.l2_bytes, rel=0.02)


def test_narrower_values_are_less_to_multiply_and_to_write(make_chip: MakeChip) -> None:
    whole = shape(512, 512, head_dim=128)
    narrow = replace(whole, value_width=64)
    assert narrow.position_bytes == whole.position_bytes * 3 / 4
    assert narrow.output_bytes == whole.output_bytes / 2
    chip = make_chip()
    costs = [attention_cost(chip, PLAIN, replace(s, head_dim=64)) for s in (whole, narrow)]
    assert costs[1].compute_ns <= costs[0].compute_ns


def test_packed_keys_and_values_are_fewer_bytes_and_more_instructions(make_chip: MakeChip) -> None:
    chip, plain = make_chip(), shape(256, 4096)
    packed = replace(plain, token_bytes=2 * 64 / 2, token_instructions=2 * 64 * 1.625)
    costs = [attention_cost(chip, PLAIN, s) for s in (plain, packed)]
    assert costs[1].l2_bytes < costs[0].l2_bytes
    assert costs[1].compute_ns > costs[0].compute_ns
    key_tiles = (costs[0].l2_bytes - 2 * plain.query_bytes) / (128 * plain.position_bytes)
    assert costs[1].conversions == key_tiles * 128 * 2 * 64 * 1.625
    assert costs[0].conversions == 0


def test_latents_have_a_kernel_of_their_own_or_none() -> None:
    s = latent(128, 4)
    for device in ("gpu/h100-sxm", "gpu/h200-sxm"):
        for library in ("vllm", "tensorrt-llm"):
            call = call_of(shipped(device, library), s, 132, decode=True)
            assert call.kernel.name == "FlashMLA"
    assert call_of(shipped("gpu/a100-sxm", "vllm"), s, 108, decode=True).kernel.name == "Triton MLA"
    with pytest.raises(MappingError, match="flash-attention-2-hopper' has no kernel for latent"):
        call_of(shipped("gpu/h100-sxm", "torch"), s, 132, decode=True)


def test_flash_mla_comes_near_its_published_rate_where_compute_bounds_it() -> None:
    """660 TFLOPS on the H800 (128 heads, as many sequences as SMs) is what its share was set to.

    No check of the model, but that waves, tiles and starts take no more than the rest of it.
    """
    kernel = shipped("gpu/h100-sxm", "vllm").kernels["flash-mla"]
    s = latent(128, 132)
    cost = attention_cost(h100(), kernel, s)
    assert s.flops / cost.compute_ns / 1e3 == pytest.approx(660, rel=0.08)


def test_flash_mla_is_fed_faster_than_memory_reads() -> None:
    """3000 GB/s on the H800 with few heads: compute and feed must not be what bounds it."""
    kernel = shipped("gpu/h100-sxm", "vllm").kernels["flash-mla"]
    s = latent(16, 132)
    assert s.key_value_bytes / attention_cost(h100(), kernel, s).compute_ns > 3350
