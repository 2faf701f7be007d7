"""Attention in computing banks: nothing lost, all channels have a share, more work takes longer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.program import ChannelProgram, PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.kv_layout import KvLayout
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_geometry import PimGeometry, geometry_of
from bankwidth.spec import PimSpec

head_dims = st.sampled_from([16, 64, 80, 128])


def kv_layout(geometry: PimGeometry, heads: int, head_dim: int = 64, **changes: Any) -> KvLayout:
    fields = {"n_heads": heads, "n_kv_heads": heads, "reserved_tokens": 1024, **changes}
    return KvLayout(geometry=geometry, head_dim=head_dim, **fields)


def _ticks(geometry: PimGeometry, program: PimProgram) -> int:
    """Time of the slowest channel."""
    return max(PimChannel(geometry.config, refresh=False).run(c) for c in program.channels)


def _stage_ticks(layout: KvLayout, kv_len: int) -> tuple[int, int]:
    programs = lower_attention(layout, kv_len=kv_len)
    geometry = layout.geometry
    return _ticks(geometry, programs.score), _ticks(geometry, programs.context)


def _columns(geometry: PimGeometry, channel: ChannelProgram, name: str) -> int:
    is_named = channel.macros[:, 0] == geometry.config.index(name)
    return int(channel.macros[is_named, 1].sum())


def _shares(geometry: PimGeometry, program: PimProgram, name: str) -> list[tuple[int, int]]:
    return [(c.channels, _columns(geometry, c, name)) for c in program.channels]


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


# ---- appending --------------------------------------------------------------------------------


def test_an_append_writes_one_burst_per_16_elements(geometry: PimGeometry) -> None:
    program = lower_kv_append(kv_layout(geometry, 25), first_token=100)
    assert program.in_bytes == program.bank_bytes == 2 * 25 * 64 * 2
    assert program.counts == {"WR_SBK": 100, "WR_ABK": 100}


def test_a_key_lies_in_one_bank(geometry: PimGeometry) -> None:
    """Token 165 is in group 10: in channel 2, there the second group, bank 5.

    Its first 16 heads fill row 1; the other 9 (36 columns) lie behind the 8 rows of those and the
    9 of the group before: columns 548 to 583.
    """
    program = lower_kv_append(kv_layout(geometry, 25), first_token=165)
    assert [c.channels for c in program.channels] == [2, 1, 1, 4]
    assert [_columns(geometry, c, "WR_SBK") for c in program.channels] == [0, 100, 0, 0]
    write = geometry.config.index("WR_SBK")
    macros = program.channels[1].macros
    assert macros[macros[:, 0] == write].tolist() == [
        [write, 64, 1, 5],
        [write, 28, 8, 5],
        [write, 8, 9, 5],
    ]


def test_idle_channels_keep_their_place(geometry: PimGeometry) -> None:
    """One group of V in channel 0, the key in channel 3."""
    program = lower_kv_append(kv_layout(geometry, 1, 16), first_token=50)
    assert [(c.channels, len(c.macros)) for c in program.channels] == [(1, 1), (2, 0), (1, 1)]
    assert PimChannel(geometry.config).run(program.channels[1]) == 0


# ---- work ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    kv_heads=st.integers(1, 20),
    shared=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([64, 80, 96, 128]),
    kv_len=st.integers(1, 3000),
    batch=st.integers(1, 2),
)
def test_attention_conserves_its_work(
    geometry: PimGeometry, kv_heads: int, shared: int, head_dim: int, kv_len: int, batch: int
) -> None:
    heads = kv_heads * shared
    layout = kv_layout(
        geometry, heads, head_dim, n_kv_heads=kv_heads, reserved_tokens=3000, batch=batch
    )
    programs = lower_attention(layout, kv_len=kv_len)
    pairs = batch * heads * kv_len
    assert (programs.softmax_rows, programs.softmax_elements) == (batch * heads, pairs)
    assert programs.score.flops == programs.context.flops == 2 * pairs * head_dim
    assert programs.score.mac_commands * 256 >= pairs * head_dim
    assert programs.context.mac_commands * 256 >= pairs * head_dim
    assert programs.score.bank_bytes == batch * heads * _up(kv_len, 16) * head_dim * 2
    assert programs.context.bank_bytes == batch * heads * _up(head_dim, 16) * _up(kv_len, 16) * 2
    assert programs.score.out_bytes == batch * heads * _up(kv_len, 16) * 2
    pieces = -(-kv_len // 1024)
    assert programs.context.out_bytes == batch * heads * head_dim * 2 * pieces
    assert programs.context.asic_adds == batch * heads * head_dim * (pieces - 1)
    assert programs.score.asic_adds == 0
    # A register is 32 B per result; every channel with tokens loads all of q.
    loaded = programs.score.in_bytes - programs.score.out_bytes
    assert loaded == min(8, -(-kv_len // 16)) * batch * heads * head_dim * 2


@settings(max_examples=40, deadline=None)
@given(heads=st.integers(1, 40), head_dim=head_dims, kv_len=st.integers(1, 1024))
def test_channels_have_even_shares(
    geometry: PimGeometry, heads: int, head_dim: int, kv_len: int
) -> None:
    """One group of tokens, or one group of elements of V, is the most that they differ by."""
    programs = lower_attention(kv_layout(geometry, heads, head_dim), kv_len=kv_len)
    for program, of_group in ((programs.score, heads), (programs.context, 1)):
        shares = _shares(geometry, program, "RD_MAC")
        results = [results for channels, results in shares for _ in range(channels)]
        results += [0] * (8 - len(results))
        assert max(results) - min(results) in (0, of_group)


def test_shares_of_gpt2_xl(geometry: PimGeometry) -> None:
    """64 groups of 16 tokens: 8 in each channel; 25 x 4 groups of V: 13 or 12."""
    programs = lower_attention(kv_layout(geometry, 25), kv_len=1024)
    assert _shares(geometry, programs.score, "RD_MAC") == [(8, 8 * 25)]
    assert _shares(geometry, programs.score, "WR_GB") == [(8, 25 * 4)]
    results = [n for c, n in _shares(geometry, programs.context, "RD_MAC") for _ in range(c)]
    assert results == [13] * 4 + [12] * 4
    # Groups 0-12, 13-25, 26-38, 39-51 touch four heads; 52-63 and so on are three whole heads.
    loads = [n // 64 for c, n in _shares(geometry, programs.context, "WR_GB") for _ in range(c)]
    assert loads == [4] * 4 + [3] * 4


def test_rows_of_keys_are_read_end_to_end(geometry: PimGeometry) -> None:
    """25 heads of 64 are 100 columns a token; 8 groups of tokens are 800 columns, 12.5 rows."""
    channel = PimChannel(geometry.config, refresh=False)
    channel.run(lower_attention(kv_layout(geometry, 25), kv_len=1024).score.channels[0])
    assert (channel.row_hits, channel.row_misses) == (800 - 13, 13)


def test_rows_of_values_are_read_end_to_end(geometry: PimGeometry) -> None:
    """1024 tokens of one element of V are a row: 63 of 64 columns hit."""
    channel = PimChannel(geometry.config, refresh=False)
    channel.run(lower_attention(kv_layout(geometry, 8), kv_len=1024).context.channels[0])
    assert (channel.row_hits, channel.row_misses) == (4 * 63, 4)


def test_shared_keys_are_read_for_every_query(geometry: PimGeometry) -> None:
    one = lower_attention(kv_layout(geometry, 8, 128), kv_len=512)
    four = lower_attention(kv_layout(geometry, 32, 128, n_kv_heads=8), kv_len=512)
    assert four.score.bank_bytes == 4 * one.score.bank_bytes
    assert four.context.out_bytes == 4 * one.context.out_bytes
    assert four.score.rows == one.score.rows


@pytest.mark.parametrize("batch", [1, 2])
def test_prefill_is_decode_repeated(geometry: PimGeometry, batch: int) -> None:
    layout = kv_layout(geometry, 8, reserved_tokens=64, batch=batch)
    prefill = lower_attention(layout, kv_len=40, q_len=40)
    steps = [lower_attention(layout, kv_len=n) for n in range(1, 41)]
    for stage in ("score", "context"):
        whole, parts = getattr(prefill, stage), [getattr(step, stage) for step in steps]
        assert whole.mac_commands == sum(part.mac_commands for part in parts)
        assert whole.in_bytes == sum(part.in_bytes for part in parts)
        assert whole.flops == sum(part.flops for part in parts)
    assert prefill.softmax_elements == batch * 8 * 40 * 41 // 2


# ---- time ---------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    kv_heads=st.integers(1, 33),
    shared=st.sampled_from([1, 2, 4]),
    head_dim=head_dims,
    kv_len=st.integers(1, 1100),
    channels=st.integers(1, 15),
)
def test_more_channels_are_never_slower(
    spec: PimSpec, kv_heads: int, shared: int, head_dim: int, kv_len: int, channels: int
) -> None:
    def ticks(channels: int) -> tuple[int, int]:
        geometry = geometry_of(spec, channels)
        heads = kv_heads * shared
        layout = kv_layout(geometry, heads, head_dim, n_kv_heads=kv_heads, reserved_tokens=1200)
        return _stage_ticks(layout, kv_len)

    fewer, more = ticks(channels), ticks(channels + 1)
    assert more[0] <= fewer[0]
    assert more[1] <= fewer[1]


@settings(max_examples=60, deadline=None)
@given(
    kv_heads=st.integers(1, 33),
    shared=st.sampled_from([1, 2, 4]),
    head_dim=head_dims,
    kv_len=st.integers(1, 1100),
    channels=st.sampled_from([3, 8]),
)
def test_more_heads_are_never_faster(
    spec: PimSpec, kv_heads: int, shared: int, head_dim: int, kv_len: int, channels: int
) -> None:
    geometry = geometry_of(spec, channels)

    def ticks(kv_heads: int) -> tuple[int, int]:
        heads = kv_heads * shared
        layout = kv_layout(geometry, heads, head_dim, n_kv_heads=kv_heads, reserved_tokens=1200)
        return _stage_ticks(layout, kv_len)

    fewer, more = ticks(kv_heads), ticks(kv_heads + 1)
    assert more[0] >= fewer[0]
    # Heads that share K and V: one that no longer ends within a channel saves a load of each query.
    assert more[1] >= fewer[1] * (1.0 if shared == 1 else 0.98)


def test_longer_context_is_never_faster(geometry: PimGeometry) -> None:
    layout = kv_layout(geometry, 16, 128, reserved_tokens=4096)
    lengths = (1, 15, 16, 17, 128, 129, 500, 1023, 1024, 1025, 2048, 4096)
    ticks = [sum(_stage_ticks(layout, kv_len)) for kv_len in lengths]
    assert ticks == sorted(ticks)


# ---- limits -------------------------------------------------------------------------------------


def test_reserved_tokens_cannot_be_overrun(geometry: PimGeometry) -> None:
    layout = kv_layout(geometry, 8, reserved_tokens=128)
    with pytest.raises(MappingError, match="129 tokens, but K and V have space for 128"):
        lower_kv_append(layout, first_token=128)
    with pytest.raises(MappingError, match="attention: 200 tokens"):
        lower_attention(layout, kv_len=200)


def test_a_head_longer_than_the_buffer(geometry: PimGeometry) -> None:
    layout = kv_layout(geometry, 1, 2048, reserved_tokens=16)
    with pytest.raises(MappingError, match="a head of 2048 elements is longer than"):
        lower_attention(layout, kv_len=1)
