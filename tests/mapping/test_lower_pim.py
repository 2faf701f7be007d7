"""Operators as PIM programs: nothing lost, nothing slower with more banks, limits said clearly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.program import ChannelProgram, PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.lower_pim import (
    KvLayout,
    PimGeometry,
    RowAllocator,
    check_dtype,
    geometry_of,
    lower_attention,
    lower_kv_append,
    lower_matmul,
    matmul_rows,
)
from bankwidth.spec import PimSpec, load_device

sizes = st.integers(1, 5000)


@pytest.fixture(scope="module")
def spec() -> PimSpec:
    spec = load_device("pim/gddr6-aim")
    assert isinstance(spec, PimSpec)
    return spec


@pytest.fixture(scope="module")
def geometry(spec: PimSpec) -> PimGeometry:
    return geometry_of(spec, 8)


def _ticks(geometry: PimGeometry, program: PimProgram, *, refresh: bool = True) -> int:
    """Time of the slowest channel."""
    return max(
        PimChannel(geometry.config, refresh=refresh).run(channel) for channel in program.channels
    )


def _named(geometry: PimGeometry, channel: ChannelProgram, name: str) -> NDArray[np.int64]:
    is_named = channel.macros[:, 0] == geometry.config.index(name)
    found: NDArray[np.int64] = channel.macros[is_named]
    return found


def _columns(geometry: PimGeometry, channel: ChannelProgram, name: str) -> int:
    return int(_named(geometry, channel, name)[:, 1].sum())


def _rows(geometry: PimGeometry, program: PimProgram, names: Iterable[str]) -> set[int]:
    return {
        int(row)
        for channel in program.channels
        for name in names
        for row in _named(geometry, channel, name)[:, 2]
    }


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


# ---- weights ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(m=st.integers(1, 4), n=sizes, k=sizes)
def test_a_product_conserves_its_work(geometry: PimGeometry, m: int, n: int, k: int) -> None:
    program = lower_matmul(geometry, m=m, n=n, k=k)
    assert program.flops == 2 * m * n * k
    assert program.mac_commands * 16 * 16 >= m * n * k
    # Every weight is read once per token, with 16 outputs and 16 elements rounded up.
    assert program.bank_bytes == m * _up(n, 16) * _up(k, 16) * 2
    results = _up(n, 16) // 16 * -(-k // 1024)
    assert program.out_bytes == m * results * 32
    assert program.asic_adds == m * n * (-(-k // 1024) - 1)


@settings(max_examples=60, deadline=None)
@given(n=sizes, k=sizes)
def test_the_vector_is_loaded_once_per_channel(geometry: PimGeometry, n: int, k: int) -> None:
    for channel in lower_matmul(geometry, m=1, n=n, k=k).channels:
        assert _columns(geometry, channel, "WR_GB") == -(-k // 16)
        assert _named(geometry, channel, "WR_GB")[:, 1].max() <= 64
        results = _columns(geometry, channel, "RD_MAC")
        assert results == _columns(geometry, channel, "WR_BIAS")


@settings(max_examples=60, deadline=None)
@given(n=sizes, k=sizes)
def test_columns_are_read_once_and_rows_fill(geometry: PimGeometry, n: int, k: int) -> None:
    program = lower_matmul(geometry, m=1, n=n, k=k)
    assert program.rows == matmul_rows(geometry, n=n, k=k)
    for channel in program.channels:
        macs = _named(geometry, channel, "MAC_ABK")
        per_row = np.bincount(macs[:, 2], weights=macs[:, 1])
        assert (per_row[:-1] == 64).all()
        assert 0 < per_row[-1] <= 64
        assert (np.diff(macs[:, 2]) >= 0).all()
    assert _rows(geometry, program, ["MAC_ABK"]) == set(range(program.rows))


def test_channels_share_the_outputs_evenly(geometry: PimGeometry) -> None:
    """1600 outputs are 100 groups of 16: four channels have 13, four have 12."""
    program = lower_matmul(geometry, m=1, n=1600, k=1024)
    shares = [(c.channels, _columns(geometry, c, "RD_MAC")) for c in program.channels]
    assert shares == [(4, 13), (4, 12)]


def test_few_outputs_leave_channels_idle(geometry: PimGeometry) -> None:
    program = lower_matmul(geometry, m=1, n=33, k=64)
    assert [c.channels for c in program.channels] == [3]


def test_time_of_a_product_by_hand(geometry: PimGeometry) -> None:
    """128 outputs x 1024 on 8 channels, no refresh: one row in each bank.

    TMOD 0; WR_GB 32..158; WR_BIAS 160; TMOD 161; ACT 193; MAC 249..375; RD_MAC ready at 377, so
    TMOD then; RD_MAC 409, its data at 412.
    """
    program = lower_matmul(geometry, m=1, n=128, k=1024)
    assert _ticks(geometry, program, refresh=False) == 412


def test_tokens_are_computed_one_after_the_other(geometry: PimGeometry) -> None:
    one = lower_matmul(geometry, m=1, n=512, k=2048)
    five = lower_matmul(geometry, m=5, n=512, k=2048)
    assert five.bank_bytes == 5 * one.bank_bytes
    assert five.rows == one.rows
    ratio = _ticks(geometry, five) / _ticks(geometry, one)
    assert 4.5 < ratio < 5.5


@settings(max_examples=25, deadline=None)
@given(n=sizes, k=sizes, channels=st.sampled_from([1, 2, 3, 4, 8, 16]))
def test_more_channels_are_never_slower(spec: PimSpec, n: int, k: int, channels: int) -> None:
    fewer, more = geometry_of(spec, channels), geometry_of(spec, 2 * channels)
    slow = _ticks(fewer, lower_matmul(fewer, m=1, n=n, k=k), refresh=False)
    fast = _ticks(more, lower_matmul(more, m=1, n=n, k=k), refresh=False)
    assert fast <= slow


@settings(max_examples=25, deadline=None)
@given(n=sizes, k=sizes, banks=st.sampled_from([4, 8, 16]))
def test_more_banks_are_never_slower(spec: PimSpec, n: int, k: int, banks: int) -> None:
    ticks = []
    for number in (banks, 2 * banks):
        geometry = geometry_of(spec.model_copy(update={"banks": number}), 2)
        ticks.append(_ticks(geometry, lower_matmul(geometry, m=1, n=n, k=k), refresh=False))
    assert ticks[1] <= ticks[0]


def test_a_second_result_register_saves_mode_changes(spec: PimSpec) -> None:
    ticks = []
    for number in (1, 2):
        geometry = geometry_of(spec.model_copy(update={"accumulators": number}), 8)
        ticks.append(_ticks(geometry, lower_matmul(geometry, m=1, n=4096, k=1024), refresh=False))
    # 32 groups per channel. Two take 2 x 286 ck one by one (see the AiM simulator's GEMV); together
    # 3 + 5 + 2 + 1 registers, 32 mode, 32 tRP, 56 + 126 first row, 12 + 32 + 56 + 126 second row,
    # 2 + 32 mode = 517 ck.
    assert ticks[0] - ticks[1] == 16 * (2 * 286 - 517)


def test_near_linear_in_channels(spec: PimSpec) -> None:
    """The paper: near-linear speed-up with channels. (Where refreshes fall can add a little.)"""
    ticks = []
    for channels in (8, 16):
        geometry = geometry_of(spec, channels)
        product = lower_matmul(geometry, m=1, n=8192, k=2048)
        ticks.append(_ticks(geometry, product, refresh=False))
    assert 1.85 < ticks[0] / ticks[1] <= 2.0


def test_row_hits_are_those_of_full_rows(geometry: PimGeometry) -> None:
    channel = PimChannel(geometry.config, refresh=False)
    channel.run(lower_matmul(geometry, m=1, n=6400, k=1600).channels[0])
    assert channel.row_hits / (channel.row_hits + channel.row_misses) == pytest.approx(
        63 / 64, 1e-3
    )


def test_the_same_program_on_other_rows(geometry: PimGeometry) -> None:
    program = lower_matmul(geometry, m=1, n=256, k=1024)
    moved = program.at(100)
    assert moved.channels is program.channels
    channel = PimChannel(geometry.config, log=True)
    channel.run(moved.channels[0], first_row=moved.first_row)
    assert {e.row for e in channel.log if e.command == "MAC_ABK"} == {100, 101}


# ---- attention ----------------------------------------------------------------------------------


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
    layout = KvLayout(
        geometry=geometry, n_kv_heads=kv_heads, head_dim=head_dim, reserved_tokens=3000, batch=batch
    )
    heads = kv_heads * shared
    programs = lower_attention(layout, n_heads=heads, kv_len=kv_len)
    pairs = batch * heads * kv_len
    assert (programs.softmax_rows, programs.softmax_elements) == (batch * heads, pairs)
    assert programs.score.flops == programs.context.flops == 2 * pairs * head_dim
    assert programs.score.mac_commands * 256 >= pairs * head_dim
    assert programs.context.mac_commands * 256 >= pairs * head_dim
    assert programs.score.bank_bytes == batch * heads * _up(kv_len, 16) * head_dim * 2
    assert programs.context.bank_bytes == batch * heads * _up(head_dim, 16) * _up(kv_len, 16) * 2
    assert programs.context.asic_adds == batch * heads * head_dim * (-(-kv_len // 1024) - 1)
    assert programs.score.asic_adds == 0


@settings(max_examples=40, deadline=None)
@given(
    heads=st.integers(1, 25),
    head_dim=st.sampled_from([16, 64, 80, 128]),
    token=st.integers(0, 511),
    batch=st.integers(1, 2),
)
def test_what_is_appended_is_what_is_read(
    geometry: PimGeometry, heads: int, head_dim: int, token: int, batch: int
) -> None:
    """Key and value of a token lie in columns that attention over it reads, K and V apart."""
    layout = KvLayout(
        geometry=geometry, n_kv_heads=heads, head_dim=head_dim, reserved_tokens=512, batch=batch
    )
    written = lower_kv_append(layout, first_token=token)
    read = lower_attention(layout, n_heads=heads, kv_len=token + 1)
    keys = _rows(geometry, written, ["WR_SBK"])
    values = _rows(geometry, written, ["WR_ABK"])
    assert keys <= _rows(geometry, read.score, ["MAC_ABK"])
    assert values <= _rows(geometry, read.context, ["MAC_ABK"])
    assert not keys & values
    assert max(keys | values) < layout.rows


def test_an_append_writes_one_burst_per_16_elements(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=25, head_dim=64, reserved_tokens=1024)
    program = lower_kv_append(layout, first_token=100)
    assert program.in_bytes == program.bank_bytes == 2 * 25 * 64 * 2
    assert program.counts == {"WR_SBK": 100, "WR_ABK": 100}


def test_keys_of_a_token_are_contiguous_in_one_bank(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=32, head_dim=128, reserved_tokens=64)
    (channel,) = lower_kv_append(layout, first_token=37).channels
    (write,) = _named(geometry, channel, "WR_SBK").tolist()
    # 4 heads x 8 columns; token 37 is the third of bank 5, after 2 x 32 columns: row 1.
    assert write == [geometry.config.index("WR_SBK"), 32, 1, 5]


def test_heads_go_to_channels(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=25, head_dim=64, reserved_tokens=1024)
    programs = lower_attention(layout, n_heads=25, kv_len=1024)
    shares = [(c.channels, _columns(geometry, c, "RD_MAC")) for c in programs.score.channels]
    assert shares == [(1, 4 * 64), (7, 3 * 64)]


def test_context_reads_rows_end_to_end(geometry: PimGeometry) -> None:
    """1024 tokens of one element of V are a row: 63 of 64 columns hit."""
    layout = KvLayout(geometry=geometry, n_kv_heads=8, head_dim=64, reserved_tokens=1024)
    channel = PimChannel(geometry.config, refresh=False)
    channel.run(lower_attention(layout, n_heads=8, kv_len=1024).context.channels[0])
    assert (channel.row_hits, channel.row_misses) == (4 * 63, 4)


def test_concatenated_heads_fill_the_rows_of_keys(geometry: PimGeometry) -> None:
    """2 heads of 64 per channel: 8 columns a token, 8 tokens a row; 1024 / 16 / 8 = 8 rows."""
    layout = KvLayout(geometry=geometry, n_kv_heads=16, head_dim=64, reserved_tokens=1024)
    channel = PimChannel(geometry.config, refresh=False)
    channel.run(lower_attention(layout, n_heads=16, kv_len=1024).score.channels[0])
    assert channel.row_misses == 8
    assert channel.row_hits == 64 * 2 * 4 - 8


def test_shared_keys_are_read_for_every_query(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=8, head_dim=128, reserved_tokens=1024)
    one = lower_attention(layout, n_heads=8, kv_len=512)
    four = lower_attention(layout, n_heads=32, kv_len=512)
    assert four.score.bank_bytes == 4 * one.score.bank_bytes
    assert four.context.out_bytes == 4 * one.context.out_bytes


def test_prefill_is_decode_repeated(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=8, head_dim=64, reserved_tokens=64)
    prefill = lower_attention(layout, n_heads=8, kv_len=40, q_len=40)
    steps = [lower_attention(layout, n_heads=8, kv_len=n) for n in range(1, 41)]
    for stage in ("score", "context"):
        whole, parts = getattr(prefill, stage), [getattr(step, stage) for step in steps]
        assert whole.mac_commands == sum(part.mac_commands for part in parts)
        assert whole.in_bytes == sum(part.in_bytes for part in parts)
        assert whole.flops == sum(part.flops for part in parts)
    assert prefill.softmax_elements == 8 * 40 * 41 // 2


def test_longer_context_is_never_faster(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=16, head_dim=128, reserved_tokens=4096)
    ticks = []
    for kv_len in (1, 15, 16, 17, 500, 1023, 1024, 1025, 2048, 4096):
        programs = lower_attention(layout, n_heads=16, kv_len=kv_len)
        ticks.append(
            _ticks(geometry, programs.score, refresh=False)
            + _ticks(geometry, programs.context, refresh=False)
        )
    assert ticks == sorted(ticks)


def test_programs_of_all_kinds_issue_legally(spec: PimSpec, geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=20, head_dim=80, reserved_tokens=128)
    attention = lower_attention(layout, n_heads=20, kv_len=100)
    channel = PimChannel(geometry.config, log=True)
    for program in (
        lower_kv_append(layout, first_token=99),
        attention.score,
        attention.context,
        lower_matmul(geometry, m=1, n=3000, k=1600),
    ):
        channel.run(program.channels[0])
    assert channel.counts["REF_ALL"] > 3
    assert violations(channel.log, spec) == []


# ---- limits -------------------------------------------------------------------------------------


def test_rows_are_handed_out_once(geometry: PimGeometry) -> None:
    rows = RowAllocator(geometry)
    assert [rows.take("a", 10), rows.take("b", 5), rows.take("c", 1)] == [0, 10, 15]


def test_a_matrix_that_does_not_fit_says_by_how_much(geometry: PimGeometry) -> None:
    rows = RowAllocator(geometry)
    rows.take("layers", 16380)
    with pytest.raises(
        MappingError, match=r"lm_head needs 10 rows per bank, 4 of 16384 are left: 1\.57 MB too"
    ):
        rows.take("lm_head", 10)


def test_capacity_of_the_shipped_geometry(geometry: PimGeometry) -> None:
    assert geometry.rows_bytes * geometry.config.rows == 4 * 2**30


def test_reserved_tokens_cannot_be_overrun(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=8, head_dim=64, reserved_tokens=128)
    with pytest.raises(MappingError, match="129 tokens, but K and V have space for 128"):
        lower_kv_append(layout, first_token=128)
    with pytest.raises(MappingError, match="attention: 200 tokens"):
        lower_attention(layout, n_heads=8, kv_len=200)


def test_a_head_longer_than_the_buffer(geometry: PimGeometry) -> None:
    layout = KvLayout(geometry=geometry, n_kv_heads=1, head_dim=2048, reserved_tokens=16)
    with pytest.raises(MappingError, match="a head of 2048 elements is longer than"):
        lower_attention(layout, n_heads=1, kv_len=1)


def test_only_bf16(geometry: PimGeometry) -> None:
    check_dtype("mlp", "bf16")
    with pytest.raises(MappingError, match="mlp: computing banks multiply bf16 only, not fp8"):
        check_dtype("mlp", "fp8")
