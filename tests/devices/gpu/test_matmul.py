from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import SUSTAINED_NS, Chip, Scaled
from bankwidth.devices.gpu.matmul import MatmulShape, fastest, matmul_cost
from bankwidth.errors import MappingError
from bankwidth.spec import MatmulKernelsSpec

MakeChip = Callable[..., Chip]
MakeKernels = Callable[..., MatmulKernelsSpec]


def shape(m: int, n: int, k: int, dtype: str = "bf16", batch: int = 1) -> MatmulShape:
    return MatmulShape(m=m, n=n, k=k, batch=batch, dtype=dtype, x_bytes=2, w_bytes=2, y_bytes=2)


def compute_ns(chip: Chip, s: MatmulShape) -> float:
    return matmul_cost(chip, s, x_in_l2=False).compute_ns


def test_one_full_wave_runs_at_the_peak(chip: Chip) -> None:
    # 10 x 10 tiles of 100 x 100 on 100 SMs: 2 * 1000 * 1000 * 128 FLOPs / (100 * 1000) = 2560 ns
    cost = matmul_cost(chip, shape(1000, 1000, 128), x_in_l2=False)
    assert (cost.blocks, cost.waves) == (100, 1)
    assert cost.ideal_ns == pytest.approx(2560.0)
    assert cost.compute_ns == pytest.approx(2560.0)


def test_one_row_more_costs_a_second_wave(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(1001, 1000, 128), x_in_l2=False)
    assert (cost.blocks, cost.waves) == (110, 2)
    assert cost.compute_ns == pytest.approx(5120.0)


def test_a_part_of_a_tile_costs_a_whole_one(chip: Chip) -> None:
    assert compute_ns(chip, shape(1, 1000, 128)) == compute_ns(chip, shape(100, 1000, 128))


def test_a_part_of_a_step_of_k_costs_a_whole_one(chip: Chip) -> None:
    assert compute_ns(chip, shape(1000, 1000, 65)) == compute_ns(chip, shape(1000, 1000, 128))


def test_split_k_fills_the_sms_when_tiles_are_few(chip: Chip) -> None:
    # One tile, 64 steps of k: 32 splits leave 2 steps to each SM.
    cost = matmul_cost(chip, shape(100, 100, 4096), x_in_l2=False)
    assert cost.blocks == 32
    assert cost.compute_ns == pytest.approx(2 * 2 * 100 * 100 * 64 / 1000, rel=1e-3)


def test_a_split_has_at_least_128_of_k(chip: Chip) -> None:
    assert fastest(chip, shape(100, 100, 255)).split == 1
    assert fastest(chip, shape(100, 100, 256)).split == 2


def test_a_dear_reduction_is_not_taken(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    dear = make_chip(kernels=make_kernels(split_ns="1 ms"))
    assert fastest(dear, shape(100, 100, 4096)).split == 1


def test_operands_are_read_once_when_one_fits_half_of_the_l2(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(100, 10_000, 1000), x_in_l2=False)
    assert cost.read_bytes == 2 * (100 * 1000 + 1000 * 10_000)


def test_an_operand_in_the_l2_is_not_read_again(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(100, 10_000, 1000), x_in_l2=True)
    assert cost.read_bytes == 2 * 1000 * 10_000


def test_operands_beyond_the_l2_are_streamed_by_groups_of_tile_rows(chip: Chip) -> None:
    # x = w = 8 MB, the L2 holds 0.5 MB: one tile row of x. 20 x 20 tiles, 100 SMs. Groups of 8
    # rows x 12 columns: x with each of 2 passes, w for each of 3 groups. 4 x 25: x once, w 5 times.
    cost = matmul_cost(chip, shape(2000, 2000, 2000), x_in_l2=False)
    assert cost.read_bytes == 5 * 8_000_000


def test_the_feed_bounds_a_step(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    # 64 * (100 + 100) * 2 B at 1 B per cycle of 1 ns, two steps
    chip = make_chip(kernels=make_kernels(feed_bytes_per_cycle=1.0))
    assert compute_ns(chip, shape(1000, 1000, 128)) == pytest.approx(2 * 25_600.0)


def test_latency_bounds_a_step(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    chip = make_chip(kernels=make_kernels(step_cycles=9000.0))
    assert compute_ns(chip, shape(1000, 1000, 128)) == pytest.approx(2 * 9000.0)


def test_every_wave_stores_its_tiles(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    chip = make_chip(kernels=make_kernels(store_bytes_per_cycle=10.0))
    assert compute_ns(chip, shape(1001, 1000, 128)) == pytest.approx(2 * (2560.0 + 2000.0))


def test_a_kernel_starts_with_its_prologue(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    chip = make_chip(clock_ghz=2.0, kernels=make_kernels(prologue_cycles=700.0))
    assert compute_ns(chip, shape(1001, 1000, 128)) == pytest.approx(5120.0 + 350.0)


def test_blocks_in_pairs_share_an_sm(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    # 110 tiles on 100 SMs are one round of pairs, in which an SM has two tiles' work.
    paired = make_chip(kernels=make_kernels(blocks="paired", step_cycles=2000.0))
    assert compute_ns(paired, shape(1001, 1000, 128)) == pytest.approx(5120.0)
    assert compute_ns(paired, shape(1000, 1000, 64)) == pytest.approx(2000.0)
    # 210: the third tile of an SM comes in a round of its own, counted as a pair.
    assert compute_ns(paired, shape(2001, 1000, 128)) == pytest.approx(4 * 2560.0)


def test_large_tiles_are_alone_on_their_sm(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    paired = make_chip(tiles=((200, 100),), kernels=make_kernels(blocks="paired"))
    assert compute_ns(paired, shape(4200, 1000, 128)) == pytest.approx(3 * 5120.0)


def test_blocks_that_are_not_persistent_store_at_their_end(
    make_chip: MakeChip, make_kernels: MakeKernels
) -> None:
    kernels = make_kernels(blocks="paired", store_bytes_per_cycle=10.0, prologue_cycles=700.0)
    cost = matmul_cost(make_chip(kernels=kernels), shape(1000, 1000, 128), x_in_l2=False)
    assert cost.compute_ns == pytest.approx(2560.0)
    assert cost.drain_ns == pytest.approx(2000.0)
    assert cost.start_ns == pytest.approx(700.0)


def test_weights_in_the_l2_are_not_read_again(chip: Chip) -> None:
    cost = matmul_cost(chip, shape(100, 1000, 1000), x_in_l2=False, w_in_l2=True)
    assert cost.read_bytes == 2 * 100 * 1000


def test_k_is_cut_into_no_more_pieces_than_the_kernels_can(
    make_chip: MakeChip, make_kernels: MakeKernels
) -> None:
    chip = make_chip(kernels=make_kernels(max_split=3))
    assert fastest(chip, shape(100, 100, 4096)).split == 3


def test_eight_bit_products_quantise_their_operand_first(
    make_chip: MakeChip, make_kernels: MakeKernels
) -> None:
    rates = {"tensor_flops_per_ns": {"bf16": 1000.0, "fp8": 2000.0}}
    product = make_chip(kernels=make_kernels(max_split=1), **rates)
    scaled = Scaled(start_ns=500.0, row_ns=7.0, bytes_per_ns=1000.0, product=product)
    chip = make_chip(scaled=scaled, **rates)
    narrow = MatmulShape(
        m=1000, n=1000, k=256, batch=1, dtype="fp8", x_bytes=1, w_bytes=1, y_bytes=2
    )
    cost = matmul_cost(chip, narrow, x_in_l2=True)
    # 1000 rows of 7 ns are longer than 512 kB at 1000 B/ns; then 768 kB in and out
    assert cost.start_ns == pytest.approx(500.0 + 7000.0 + 768.0)
    assert cost.compute_ns == pytest.approx(matmul_cost(product, narrow, x_in_l2=True).compute_ns)
    assert matmul_cost(chip, shape(1000, 1000, 128), x_in_l2=True).start_ns == 0.0


def test_of_tiles_that_are_as_fast_the_larger_is_taken(make_chip: MakeChip) -> None:
    chip = make_chip(tiles=((50, 50), (100, 100)))
    assert fastest(chip, shape(1000, 1000, 128)).tile_m == 100


def test_long_kernels_run_into_the_power_limit(make_chip: MakeChip) -> None:
    hot = make_chip(sustained_slowdown=0.2)
    assert hot.sustained_ns(SUSTAINED_NS) == pytest.approx(1.1 * SUSTAINED_NS)
    assert hot.sustained_ns(1000.0) == pytest.approx(1000.0, rel=2e-4)


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
    free = matmul_cost(make_chip(tiles=((100, 100), (20, 40))), shape(m, n, k), x_in_l2=True)
    assert more.compute_ns <= few.compute_ns * (1 + 1e-12)
    assert free.compute_ns <= few.compute_ns * (1 + 1e-12)


def test_weights_in_fewer_bits_are_converted_before_they_are_multiplied(chip: Chip) -> None:
    # A step of 64 on 100 x 100: 1280 ns of multiply; 100 x 64 weights by 2 instructions on 128
    # lanes: 100 ns. 1000 x 1000 x 128 is one wave of two steps.
    plain = shape(1000, 1000, 128)
    packed = replace(plain, w_bytes=0.5, w_instructions=2.0)
    assert compute_ns(chip, packed) == pytest.approx(compute_ns(chip, plain) + 2 * 100)
    # Each of the ten rows of tiles converts all 128 x 1000 weights.
    assert matmul_cost(chip, packed, x_in_l2=False).vector_flops == 10 * 128 * 1000 * 2
    assert matmul_cost(chip, plain, x_in_l2=False).vector_flops == 0


def test_a_conversion_hides_behind_the_feed(make_chip: MakeChip, make_kernels: MakeKernels) -> None:
    slow = make_chip(kernels=make_kernels(feed_bytes_per_cycle=1.0))
    packed = replace(shape(1000, 1000, 128), w_instructions=2.0)
    assert compute_ns(slow, packed) == compute_ns(slow, shape(1000, 1000, 128))
