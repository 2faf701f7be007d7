"""Recurrences on plain chips: never faster than their bytes, exponentials and products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.gpu.chip import Chip, chip_of
from bankwidth.devices.gpu.scan import KERNELS, TENSOR_SHARE, ScanWork, prompt_cost, step_cost
from bankwidth.errors import MappingError
from bankwidth.spec import GpuSpec, load_device

MakeChip = Callable[..., Chip]
WORK = ScanWork(
    recurrence="ssd", is_chunked=True, dtype="bf16", rows=64, width=8192, product_flops=10**10,
    vector_flops=10**7, exponentials=10**5, read_bytes=10**6, write_bytes=10**6,
    between_bytes=10**6, dram_read_bytes=5 * 10**5,
)  # fmt: skip


def h100() -> Chip:
    gpu = load_device("gpu/h100-sxm")
    assert isinstance(gpu, GpuSpec)
    return chip_of(gpu)


def test_products_run_at_a_share_of_the_tensor_cores(make_chip: MakeChip) -> None:
    chip = make_chip()
    cost = prompt_cost(chip, replace(WORK, vector_flops=0, exponentials=0), 1000.0)
    peak_ns = WORK.product_flops / (chip.tensor_rate("bf16") * chip.sms)
    assert cost.ideal_ns == pytest.approx(peak_ns)
    assert cost.compute_ns >= peak_ns / TENSOR_SHARE
    assert (cost.read_bytes, cost.l2_bytes) == (5 * 10**5, 4 * 10**6)


@pytest.mark.parametrize("recurrence", KERNELS)
def test_each_further_kernel_is_launched(make_chip: MakeChip, recurrence: str) -> None:
    work = replace(WORK, recurrence=recurrence)
    assert prompt_cost(make_chip(), work, 7.0).start_ns == 7.0 * (KERNELS[recurrence] - 1)
    assert prompt_cost(make_chip(), replace(work, is_chunked=False), 7.0).start_ns == 0.0


def test_a_dtype_without_a_rate_is_refused() -> None:
    with pytest.raises(MappingError, match="no tensor rate for dtype 'int3'"):
        prompt_cost(h100(), replace(WORK, dtype="int3"), 1.0)


@given(st.integers(1, 10**12), st.integers(1, 10**10), st.integers(1, 10**9))
def test_it_is_no_faster_than_any_of_its_parts(flops: int, exponentials: int, size: int) -> None:
    chip = h100()
    work = replace(WORK, product_flops=flops, exponentials=exponentials, read_bytes=size)
    took_ns = prompt_cost(chip, work, 0.0).compute_ns
    assert took_ns >= flops / (chip.tensor_rate("bf16") * chip.sms)
    assert took_ns >= exponentials / (chip.exp_per_ns * chip.sms)
    assert took_ns >= size / (chip.l2_bytes_per_ns * chip.sms)
    step = step_cost(chip, replace(work, product_flops=0))
    assert step.compute_ns >= size / (chip.l2_bytes_per_ns * chip.sms)
    assert step.tensor_flops == 0
