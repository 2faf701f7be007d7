from __future__ import annotations

from collections.abc import Callable

import pytest

from bankwidth.devices.gpu.chip import Chip
from bankwidth.devices.gpu.vector import vector_cost

MakeChip = Callable[..., Chip]


def cost_of(chip: Chip, size_bytes: int, flops: int = 0) -> float:
    return vector_cost(
        chip, label="x", dtype="fp32", flops=flops, read_bytes=size_bytes, write_bytes=0,
        dram_read_bytes=size_bytes,
    ).compute_ns  # fmt: skip


def test_few_bytes_keep_few_sms_busy(make_chip: MakeChip) -> None:
    chip = make_chip(l2_bytes_per_ns=1.0)
    # one block of 16 KiB through one SM's share; a hundred blocks through a hundred shares
    assert cost_of(chip, 16_384) == pytest.approx(16_384)
    assert cost_of(chip, 1_638_400) == pytest.approx(16_384)


def test_many_flops_take_longer_than_the_bytes(make_chip: MakeChip) -> None:
    assert cost_of(make_chip(), 1_638_400, flops=10**7) == pytest.approx(10**7 / (100 * 100))


def test_a_block_costs_its_prologue(make_chip: MakeChip) -> None:
    assert cost_of(make_chip(block_ns=500.0), 16) == pytest.approx(500.0, rel=1e-3)
