"""Area of table cores in the results of a run."""

from __future__ import annotations

import pytest

from bankwidth.devices.ternary_lut.area_engine import engine_area
from bankwidth.errors import SpecError
from bankwidth.operators import make_trace
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, TernaryLutSpec, load_machine, load_workload


def with_cells(name: str, cells: str | None) -> MachineSpec:
    machine = load_machine(name)
    engine, spec = next(iter(machine.engines.items()))
    assert isinstance(spec, TernaryLutSpec)
    engines = {**machine.engines, engine: spec.model_copy(update={"cells": cells})}
    return machine.model_copy(update={"engines": engines})


def test_a_run_has_the_area_of_its_cores_where_cells_are_named() -> None:
    machine = load_machine("ternary-lut")
    (spec,) = machine.engines.values()
    assert isinstance(spec, TernaryLutSpec)
    trace = make_trace(load_workload("bitnet-0.7b"), context=8, weight_dtype="ternary")
    metrics = simulate(machine, trace).metrics
    assert metrics["core_area_mm2"] == pytest.approx(engine_area(spec).total_um2 / 1e6)
    assert "core_area_mm2" not in simulate(with_cells("ternary-lut", None), trace).metrics


def test_unknown_cells_are_told_before_the_run() -> None:
    trace = make_trace(load_workload("bitnet-0.7b"), context=8, weight_dtype="ternary")
    with pytest.raises(SpecError, match=r"unknown cells 'nangate45', .*nangate45-16nm"):
        simulate(with_cells("ternary-lut", "nangate45"), trace)
