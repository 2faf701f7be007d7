"""A chip of which a roofline is known, with its memory simulated command by command."""

from __future__ import annotations

import numpy as np
import pytest

from bankwidth.operators import make_trace
from bankwidth.results import Result
from bankwidth.simulation import simulate
from bankwidth.spec import RooflineSpec, load_machine, load_workload


@pytest.fixture(scope="module")
def result() -> Result:
    trace = make_trace(load_workload("gpt2"), phase="decode", context=256)
    return simulate(load_machine("xeon-gold-6154"), trace)


def test_every_component_spends_energy(result: Result) -> None:
    assert set(result.energy_by_component_pj) == {"cpu", "ddr4", "ddr4-channels"}
    assert all(pj > 0 for pj in result.energy_by_component_pj.values())


def test_products_wait_for_the_memory_and_not_at_its_peak(result: Result) -> None:
    """A row of DDR4 is opened and refreshed; 128 GB/s are approached, never reached."""
    table = result.operators
    rows = [i for i, kind in enumerate(table["kind"]) if kind == "matmul"]
    launch_ns = 15_000.0
    for row in rows:
        moved_ns = table["duration_ns"][row] - launch_ns
        assert 0.75 < table["read_bytes"][row] / 128.0 / moved_ns < 1.0
        slower = "ddr4 bandwidth" if moved_ns > launch_ns else "cpu launch"
        assert table["bound"][row] == slower


def test_overheads_are_paid_by_every_operator(result: Result) -> None:
    cpu = load_machine("xeon-gold-6154").engines["cpu"]
    assert isinstance(cpu, RooflineSpec)
    launches = np.asarray(result.operators["launch_ns"])
    assert launches.min() == cpu.overhead_ns["default"]
    assert launches.max() == cpu.overhead_ns["attention"]
    assert result.parts_ns["launch_ns"] == pytest.approx(launches.sum())
