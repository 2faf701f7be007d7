"""What a core makes of instructions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.cpu.chip import Chip, chip_of
from bankwidth.devices.cpu.cost import Traffic, kernel_cost
from bankwidth.devices.cpu.instructions import times, total
from bankwidth.devices.cpu.regions import regions_ns
from bankwidth.errors import MappingError
from bankwidth.spec import CpuSpec
from bankwidth.spec.cpu_library import CLASSES

Counts = st.dictionaries(st.sampled_from(CLASSES), st.floats(0, 1e6))


@pytest.mark.parametrize(
    ("counts", "clocks"),
    [
        ({"dot": 10, "fma": 10}, 10),  # two pipes
        ({"shift": 10, "fma": 2}, 10),  # only one of them shifts
        ({"scalar": 6, "alu": 2}, 2),  # three scalar pipes; four instructions issue
        ({"scalar": 30, "alu": 30, "load": 40}, 25),
        ({}, 0),
    ],
)
def test_the_fullest_port_decides(chip: Chip, counts: dict[str, float], clocks: float) -> None:
    assert chip.compute_ns(counts) == pytest.approx(clocks / chip.clock_ghz)


def test_loads_and_stores_share_ports(chip: Chip) -> None:
    assert chip.ports_ns({"load": 10, "alu": 99}) * chip.clock_ghz == 5
    assert chip.ports_ns({"load": 12, "store": 4}) * chip.clock_ghz == 8
    assert chip.ports_ns({"store": 8}) * chip.clock_ghz == 8  # one store a clock


def test_a_core_without_an_instruction_says_so(chip: Chip) -> None:
    plain = replace(chip, rates={k: v for k, v in chip.rates.items() if k != "dot"})
    with pytest.raises(MappingError, match=r"neoverse-n1 has no 'dot'.*choose another library"):
        plain.compute_ns({"dot": 1})
    assert plain.compute_ns({"dot": 0, "alu": 2}) > 0


@given(Counts, Counts, st.floats(0, 100))
def test_time_is_monotone_and_scales(chip: Chip, a: dict, b: dict, factor: float) -> None:  # type: ignore[type-arg]
    both = chip.compute_ns(total([a, b]))
    assert both >= max(chip.compute_ns(a), chip.compute_ns(b)) * (1 - 1e-12)
    assert both <= (chip.compute_ns(a) + chip.compute_ns(b)) * (1 + 1e-12) + 1e-12
    assert chip.compute_ns(times(a, factor)) == pytest.approx(factor * chip.compute_ns(a))


def test_transport_adds_up_and_arithmetic_hides_behind_it(chip: Chip) -> None:
    counts = {"load": 100.0, "alu": 4.0}
    moved = Traffic(l2=1e3, llc=2e3, memory=3e3)
    cost = kernel_cost(chip, busiest=counts, counts=counts, traffic=moved, threads=1)
    assert cost.compute_ns == pytest.approx(
        100 / 2 / 2.5 + 1e3 / chip.l2_bytes_per_ns + 2e3 / chip.llc_bytes_per_ns + 3e3 / 20.5,
        rel=0.01,
    )
    busy = {"load": 100.0, "alu": 1e6}
    cost = kernel_cost(chip, busiest=busy, counts=busy, traffic=moved, threads=1)
    assert cost.compute_ns == chip.compute_ns(busy)


def test_a_shared_cache_is_shared_by_those_at_work(n1: CpuSpec) -> None:
    l2 = n1.l2.model_copy(update={"cores": 4})
    shared = n1.model_copy(update={"l2": l2})
    alone = shared.model_copy(update={"threads": 1})
    assert chip_of(shared).l2_bytes == n1.l2.size_bytes / 4
    assert chip_of(alone).l2_bytes == n1.l2.size_bytes


def test_a_lone_thread_starts_nobody() -> None:
    assert regions_ns(5, 1, 100.0, 1.0) == 0.0
    assert regions_ns(5, 8, 100.0, 1.0) == 540.0
