"""Operators as PIM programs: nothing lost, nothing slower with more banks, limits said clearly."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.plain import plain_macros
from bankwidth.devices.pim.program import ChannelProgram, PimProgram
from bankwidth.errors import MappingError
from bankwidth.mapping.kv_layout import KvLayout
from bankwidth.mapping.lower_pim import lower_matmul, matmul_rows
from bankwidth.mapping.lower_pim_attention import lower_attention, lower_kv_append
from bankwidth.mapping.pim_geometry import PimGeometry, RowAllocator, check_dtype, geometry_of
from bankwidth.spec import PimSpec, load_device

ROOT = Path(__file__).parents[2]
# Designs of AiM's family: those shipped, and the example of the documentation.
FAMILY = (
    "pim/gddr6-aim", "pim/cent-aim", "pim/hbm2-neupims", str(ROOT / "docs/examples/ddr5-mac.yaml"),
)  # fmt: skip
sizes = st.integers(1, 5000)


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


@pytest.mark.parametrize("device", FAMILY)
def test_programs_of_all_kinds_issue_legally(device: str) -> None:
    """On every design of the family, with refreshes and plain traffic between."""
    spec = load_device(device)
    assert isinstance(spec, PimSpec)
    geometry = geometry_of(spec, 8)
    layout = KvLayout(
        geometry=geometry, n_heads=20, n_kv_heads=20, head_dim=80, reserved_tokens=128
    )
    attention = lower_attention(layout, kv_len=100)
    channel = PimChannel(geometry.config, log=True)
    for program in (
        lower_kv_append(layout, first_token=99),
        attention.score,
        attention.context,
        lower_matmul(geometry, m=1, n=3000, k=1600),
    ):
        channel.run(program.channels[0])
        for is_write in (False, True):
            macros = plain_macros(geometry.config, 40, 200, is_write=is_write)
            channel.run(ChannelProgram(macros=macros, channels=1, is_plain=True))
    refresh = geometry.config.names[geometry.config.with_role("refresh", "all")]
    assert channel.counts[refresh] > 1
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


def test_only_bf16(geometry: PimGeometry) -> None:
    check_dtype("mlp", "bf16")
    with pytest.raises(MappingError, match="mlp: computing banks multiply bf16 only, not fp8"):
        check_dtype("mlp", "fp8")
