from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.matmul import MatmulShape, matmul_cost
from bankwidth.errors import MappingError
from bankwidth.spec import TileSpec

MakeChip = Callable[..., Chip]


def shape(m: int, n: int, k: int, dtype: str = "bf16", batch: int = 1) -> MatmulShape:
    return MatmulShape(m=m, n=n, k=k, batch=batch, dtype=dtype, x_bytes=2, w_bytes=2, y_bytes=2)


def test_one_full_wave_runs_at_the_peak(chip: Chip) -> None:
    # 10 x 10 tiles of 100 x 100 on 100 SMs: 2 * 1000 * 1000 * 100 FLOPs / (100 * 1000) = 2000 ns
    cost = matmul_cost(chip, shape(1000, 1000, 100), x_in_l2=False)
    assert (cost.blocks, cost.waves) == (100, 1)
    assert cost.ideal_ns == pytest.approx(2000.0)
    assert cost.compute_ns == pytest.approx(2000.0)


def test_one_row_more_costs_a_second_wave(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(1001, 1000, 100), x_in_l2=False)
    assert (cost.blocks, cost.waves) == (110, 2)
    assert cost.compute_ns == pytest.approx(4000.0)


def test_a_part_of_a_tile_costs_a_whole_one(chip: Chip) -> None:
    assert matmul_cost(chip, shape(1, 1000, 100), x_in_l2=False).compute_ns == pytest.approx(
        matmul_cost(chip, shape(100, 1000, 100), x_in_l2=False).compute_ns
    )


def test_split_k_fills_the_sms_when_tiles_are_few(chip: Chip) -> None:
    # One tile, k = 4096: with 16 splits each SM does 256 of k, 6 steps of 50 instead of 82.
    cost = matmul_cost(chip, shape(100, 100, 4096), x_in_l2=False)
    assert cost.blocks == 16
    assert cost.compute_ns == pytest.approx(6 * 2 * 100 * 100 * 50 / 1000, rel=1e-3)


def test_operands_are_read_once_when_one_fits_half_of_the_l2(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(100, 10_000, 1000), x_in_l2=False)
    assert cost.read_bytes == 2 * (100 * 1000 + 1000 * 10_000)


def test_an_operand_in_the_l2_is_not_read_again(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(100, 10_000, 1000), x_in_l2=True)
    assert cost.read_bytes == 2 * 1000 * 10_000


def test_operands_beyond_the_l2_are_streamed_once_per_panel(chip: Chip) -> None:
    # x = w = 2 MB, half of the L2 holds 0.5 MB: the one passes 4 times: 2 + 4 * 2 MB
    cost = matmul_cost(chip, shape(1000, 1000, 1000), x_in_l2=False)
    assert cost.read_bytes == 10_000_000


def test_the_l2_feeds_tiles_no_faster_than_its_bandwidth(make_chip: MakeChip) -> None:
    # 100 blocks share 100 SMs' worth of L2: 50 * (100 + 100) * 2 B at 1 B/ns a tile of k, 2 of them
    cost = matmul_cost(make_chip(l2_bytes_per_ns=1.0), shape(1000, 1000, 100), x_in_l2=False)
    assert cost.compute_ns == pytest.approx(2 * 20_000.0)


def test_a_dtype_without_tensor_rate_is_said(chip: Chip) -> None:
    with pytest.raises(MappingError, match="no tensor rate for dtype 'fp8'; it has bf16"):
        matmul_cost(chip, shape(1, 1, 1, dtype="fp8"), x_in_l2=False)


@given(
    m=st.integers(1, 3000), n=st.integers(1, 3000), k=st.integers(1, 3000), batch=st.integers(1, 4)
)
def test_no_kernel_beats_the_peak_or_reads_less_than_its_weights(
    make_chip: MakeChip, m: int, n: int, k: int, batch: int
) -> None:
    chip = make_chip()
    cost = matmul_cost(chip, shape(m, n, k, batch=batch), x_in_l2=True)
    assert cost.compute_ns >= cost.ideal_ns * (1 - 1e-12)
    assert cost.read_bytes >= 2 * batch * k * n
    assert cost.tensor_flops == 2 * batch * m * n * k


@given(m=st.integers(1, 2000), n=st.integers(1, 2000), k=st.integers(1, 2000))
def test_more_sms_and_more_tiles_never_slow_a_kernel(
    make_chip: MakeChip, m: int, n: int, k: int
) -> None:
    few = matmul_cost(make_chip(), shape(m, n, k), x_in_l2=True)
    more = matmul_cost(make_chip(sms=200), shape(m, n, k), x_in_l2=True)
    choice = (TileSpec(m=100, n=100, k=50), TileSpec(m=20, n=40, k=50))
    free = matmul_cost(make_chip(tiles=choice), shape(m, n, k), x_in_l2=True)
    assert more.compute_ns <= few.compute_ns * (1 + 1e-12)
    assert free.compute_ns <= few.compute_ns * (1 + 1e-12)
