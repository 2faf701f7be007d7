"""Functions of vectors and conversions of rows."""

from __future__ import annotations

import pytest

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.functions import conversion_cost, function_cost
from bankwidth.spec import CpuSpec


def test_a_row_alone_keeps_one_thread_busy(chip: Chip, n1: CpuSpec) -> None:
    norm = n1.kernels.functions["rms"]
    one, many = (function_cost(chip, norm, rows, 4096, 0.0) for rows in (1, 64))
    assert one.compute_ns == many.compute_ns
    assert many.counts["chain"] == 64 * 4096
    assert "on 1 threads" in one.detail


def test_sums_that_wait_for_each_other_take_their_latency(chip: Chip, n1: CpuSpec) -> None:
    norm = n1.kernels.functions["rms"]
    assert function_cost(chip, norm, 1, 1000, 0.0).compute_ns >= 2 * 1000 / chip.clock_ghz


def test_what_every_thread_does_is_not_shared(chip: Chip, n1: CpuSpec) -> None:
    rope = n1.kernels.functions["rope"]
    cost = function_cost(chip, rope, 64, 128, 0.0)
    assert cost.counts["scalar"] == 64 * 128 * 2 + 64 * 3000


def test_operands_pass_the_last_cache(chip: Chip, n1: CpuSpec) -> None:
    add = n1.kernels.functions["add"]
    near, far = (function_cost(chip, add, 64, 4096, moved) for moved in (0.0, 1e9))
    assert far.compute_ns == pytest.approx(near.compute_ns + 1e9 / chip.llc_bytes_per_ns, rel=0.2)
    assert far.llc_bytes == 1e9


def test_rows_are_converted_by_one_or_by_all(chip: Chip, n1: CpuSpec) -> None:
    q8 = n1.kernels.activations["q8_0"]
    alone = conversion_cost(chip, q8, 64, 4096, 1.0, True)
    shared = conversion_cost(chip, q8, 64, 4096, 1.0, False)
    assert alone.compute_ns == pytest.approx(64 * shared.compute_ns)
    assert alone.counts == shared.counts
    again = conversion_cost(chip, q8, 64, 4096, 2.0, True)
    assert again.compute_ns == pytest.approx(2 * alone.compute_ns)
