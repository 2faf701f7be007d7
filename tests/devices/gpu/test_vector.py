"""On a chip of 100 SMs at 1 GHz, cycles are nanoseconds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.cost import KernelCost
from bankwidth.devices.gpu.vector import (
    START_CYCLES,
    missing_share,
    posted_bytes,
    vector_cost,
)
from bankwidth.devices.gpu.vector_kernels import (
    ADD,
    COMPILED_GELU,
    FEW_ROWS,
    KERNELS,
    LOOK_UP,
    LOOK_UP_FEW,
    ROPE,
    VectorKernel,
    compiled_name,
    kernel_of,
    look_up,
)
from bankwidth.spec import VectorKernelsSpec

MakeChip = Callable[..., Chip]
MakeKernels = Callable[..., VectorKernelsSpec]
# one pass for each of a row's 100 threads, one wait, and no instructions to speak of
ROWS = VectorKernel(threads=100, slots=0.0, overlap=2.0)
SIZES = st.integers(min_value=1, max_value=5000)


def cost(
    chip: Chip, kernel: VectorKernel, rows: int, width: int, *,
    read_bytes: int = 0, write_bytes: int = 0, flops: int = 0,
) -> KernelCost:  # fmt: skip
    return vector_cost(
        chip, label="x", dtype="fp32", flops=flops, read_bytes=read_bytes,
        write_bytes=write_bytes, dram_read_bytes=read_bytes, kernel=kernel, rows=rows,
        width=width,
    )  # fmt: skip


def cycles(
    chip: Chip, kernel: VectorKernel, rows: int, width: int, *, read_bytes: int = 0
) -> float:
    """Time without the start of the one round of blocks."""
    return cost(chip, kernel, rows, width, read_bytes=read_bytes).compute_ns - START_CYCLES


def test_a_block_waits_once_per_pass(chip: Chip) -> None:
    assert cycles(chip, ROWS, 1, 100) == pytest.approx(100)
    assert cycles(chip, ROWS, 1, 101) == pytest.approx(200)


def test_a_vector_of_elements_saves_passes(chip: Chip) -> None:
    wide = dataclasses.replace(ROWS, vector=4)
    assert cycles(chip, wide, 1, 400) == pytest.approx(100)
    assert cycles(chip, wide, 1, 401) == pytest.approx(200)


def test_rereads_chains_and_barriers_are_waited_for(chip: Chip) -> None:
    kernel = dataclasses.replace(ROWS, rereads=0.5, chain_cycles=7.0, barrier_cycles=3.0)
    assert cycles(chip, kernel, 1, 200) == pytest.approx(2 * (100 + 50 + 7) + 3)


def test_a_tensor_larger_than_the_kept_l2_waits_for_memory(chip: Chip) -> None:
    # 500 000 of the L2's bytes are kept; the wait in full is 50 cycles longer
    assert cycles(chip, ROWS, 1, 100, read_bytes=250_000) == pytest.approx(125)
    assert cycles(chip, ROWS, 1, 100, read_bytes=2_000_000) == pytest.approx(150)


def test_a_gather_always_waits_for_memory(chip: Chip) -> None:
    gather = dataclasses.replace(ROWS, is_gather=True)
    assert cycles(chip, gather, 1, 100, read_bytes=10) == pytest.approx(150)


def test_issue_and_waits_add_as_squares(chip: Chip) -> None:
    kernel = dataclasses.replace(ROWS, slots=384.0)  # 100 elements over 128 lanes: 300 cycles
    assert cycles(chip, kernel, 1, 100) == pytest.approx(math.hypot(300, 100))


def test_resident_blocks_share_the_issue_slots_but_not_the_waits(chip: Chip) -> None:
    kernel = dataclasses.replace(ROWS, slots=384.0)
    # ten blocks of 100 threads are resident on each of the 100 SMs
    assert cycles(chip, kernel, 1000, 100) == pytest.approx(math.hypot(3000, 100))
    assert cycles(chip, ROWS, 1000, 100) == pytest.approx(100)


def test_one_block_more_than_a_wave_holds_takes_another_round(chip: Chip) -> None:
    full, more = cost(chip, ROWS, 1000, 100), cost(chip, ROWS, 1001, 100)
    assert (full.waves, more.waves) == (1, 2)
    assert more.compute_ns == pytest.approx(2 * full.compute_ns)


def test_fewer_threads_in_an_sm_mean_more_waves(
    make_chip: MakeChip, make_vector_kernels: MakeKernels
) -> None:
    narrow = make_chip(vector=make_vector_kernels(threads=500))
    assert cost(narrow, ROWS, 1000, 100).waves == 2
    # a block larger than the SM's threads runs all the same
    tiny = make_chip(vector=make_vector_kernels(threads=50))
    assert [cost(tiny, ROWS, rows, 100).waves for rows in (100, 101)] == [1, 2]


def test_cycles_are_those_of_the_clock(make_chip: MakeChip) -> None:
    slow, fast = (cost(make_chip(clock_ghz=ghz), ROWS, 1, 100).compute_ns for ghz in (1.0, 2.0))
    assert slow == pytest.approx(2 * fast)


def test_element_wise_blocks_do_not_see_rows(chip: Chip) -> None:
    flat, rows = (cost(chip, ADD, *shape).blocks for shape in ((1, 5120), (10, 512)))
    assert flat == rows == 10


def test_without_a_width_the_bytes_tell_the_elements(chip: Chip) -> None:
    unknown = vector_cost(
        chip, label="norm", dtype="fp32", flops=0, read_bytes=2048, write_bytes=2048,
        dram_read_bytes=0,
    )  # fmt: skip
    assert unknown.blocks == 1024 // 512


def test_the_label_names_the_kernel(chip: Chip) -> None:
    named = vector_cost(
        chip, label="rope", dtype="fp32", flops=0, read_bytes=0, write_bytes=0,
        dram_read_bytes=0, rows=7, width=4096,
    )  # fmt: skip
    assert named.compute_ns == cost(chip, ROPE, 7, 4096).compute_ns
    assert named.blocks == 7
    assert kernel_of("no such kind") is ADD


def test_the_vector_peak_and_the_l2_bound_the_time(make_chip: MakeChip) -> None:
    bound = cost(make_chip(), ADD, 1, 1000, flops=10**9)
    assert bound.compute_ns == bound.ideal_ns == pytest.approx(10**9 / (100 * 100))
    slow_l2 = make_chip(l2_bytes_per_ns=0.01)
    moved = cost(slow_l2, ADD, 1, 1000, read_bytes=6000, write_bytes=2000)
    assert moved.compute_ns == pytest.approx(8000 / (100 * 0.01))


def test_a_look_up_of_few_tokens_walks_them(chip: Chip) -> None:
    kernel, rows, width = look_up(FEW_ROWS, 4096)
    assert (kernel, rows) == (LOOK_UP_FEW, 32)
    one = cycles(chip, *look_up(1, 4096))
    assert cycles(chip, kernel, rows, width) == pytest.approx(FEW_ROWS * one)
    assert look_up(FEW_ROWS + 1, 4096) == (LOOK_UP, FEW_ROWS + 1, 4096)


def test_a_look_up_has_a_few_blocks_per_sm_that_share_the_elements(
    make_chip: MakeChip, make_vector_kernels: MakeKernels
) -> None:
    chip = make_chip(vector=make_vector_kernels(threads=2048))
    small, large = (cost(chip, *look_up(n, 4096)) for n in (100, 10_000))
    assert (small.blocks, large.blocks) == (800, 800)
    assert large.waves == 1
    assert large.compute_ns > 50 * small.compute_ns


def test_what_leaves_the_l2_grows_up_to_all(chip: Chip) -> None:
    assert missing_share(chip, 0) == 0
    assert missing_share(chip, 125_000) == pytest.approx(0.25)
    assert missing_share(chip, 10**9) == 1


def test_posted_results_are_their_part_of_the_kept_l2(chip: Chip) -> None:
    assert posted_bytes(chip, 0, 0) == 0
    assert posted_bytes(chip, 1000, 1000) == 1000
    assert posted_bytes(chip, 2 * 10**6, 10**6) == 500_000 // 3


def test_a_compiled_kernel_has_a_name_of_its_own_where_one_is_known() -> None:
    assert kernel_of(compiled_name("gelu")) is COMPILED_GELU
    assert compiled_name("rope") == "rope"


@given(kernel=st.sampled_from(sorted(KERNELS)), rows=SIZES, width=SIZES, more=SIZES)
def test_more_rows_or_wider_ones_never_take_less(
    make_chip: MakeChip, kernel: str, rows: int, width: int, more: int
) -> None:
    chip = make_chip()
    time = cost(chip, KERNELS[kernel], rows, width).compute_ns
    assert cost(chip, KERNELS[kernel], rows + more, width).compute_ns >= time * (1 - 1e-9)
    assert cost(chip, KERNELS[kernel], rows, 2 * width).compute_ns >= time * (1 - 1e-9)


@given(kernel=st.sampled_from(sorted(KERNELS)), rows=SIZES, width=SIZES)
def test_every_kernel_takes_the_time_of_its_instructions(
    make_chip: MakeChip, kernel: str, rows: int, width: int
) -> None:
    chip = make_chip()
    issue_ns = rows * width * KERNELS[kernel].slots / 128 / chip.sms
    assert cost(chip, KERNELS[kernel], rows, width).compute_ns >= issue_ns * (1 - 1e-9)
