"""The table of SAIL's headlines, and what moves them: on machines whose rates are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from bankwidth.operators import Trace
from bankwidth.results import Table
from bankwidth.simulation import simulate
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.spec.values import value_at
from bankwidth.validate import lut_sail, lut_sensitivity
from bankwidth.validate.lut_sail import CPU, GPU, SAIL, Chosen, Point, gains, grid, table
from bankwidth.validate.lut_sensitivity import Parameter, sensitivity
from bankwidth.validate.reference_rows import read_rows

BANDWIDTH = ("links", 0, "bandwidth")
DOLLARS = {"h200": 2.0, "a100": 1.0, "v100": 4.0}  # per thousand tokens/s


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Chosen:
    """Stand-ins whose tokens per second are their bandwidth over the bits of the weights."""

    def run(machine: MachineSpec, trace: Trace) -> dict[str, float]:
        if machine.name == "v100" and trace.batch > 8:
            return {}
        rate = value_at(machine, BANDWIDTH) * trace.batch / trace.weight_bytes
        return {"tokens_per_s": rate, "tokens_per_dollar": rate / DOLLARS[machine.name]}

    machines = {SAIL: load_machine("h200"), CPU: load_machine("a100"), GPU: load_machine("v100")}
    monkeypatch.setattr(lut_sail, "_run", run)
    monkeypatch.setattr(lut_sail, "_STEPS", {})
    monkeypatch.setattr(lut_sail, "machines", lambda: machines)
    return machines


def bandwidth(chosen: Chosen, name: str) -> float:
    return float(value_at(chosen[name], BANDWIDTH))


def test_gains_are_ratios_of_tokens(chosen: Chosen) -> None:
    found = gains(Point(model="llama-2-7b", bits=8, batch=4))
    ours, cpu, gpu = (bandwidth(chosen, name) for name in (SAIL, CPU, GPU))
    blocks = 34 / 32  # q8_0 has a scale for 32 weights
    assert found["speedup"] == pytest.approx(ours / cpu * blocks, rel=0.01)
    assert found["per_dollar"] == pytest.approx(ours / cpu * blocks / 2, rel=0.01)
    assert found["over_v100"] == pytest.approx(ours / gpu * 2)


def test_a_point_without_room_has_no_gain(chosen: Chosen) -> None:
    points = list(grid(models=["llama-2-7b"], bits=[4, 8], batches=[8, 16]))
    made = table(points)
    assert made["batch"].tolist() == [8, 16, 8, 16]
    assert [math.isnan(value) for value in made["over_v100"]] == [False, True] * 2
    assert [math.isnan(value) for value in made["v100_tokens_per_s"]] == [False, True] * 2


def test_headlines_stand_beside_the_best_of_the_table(
    chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.csv"
    made = table(grid(models=["llama-2-7b"], bits=[2, 8], batches=[4, 16], threads=[16, 32, 64]))
    made.to_csv(file)
    monkeypatch.setattr(lut_sail, "TABLE", file)
    cases = list(lut_sail.published())
    assert [case.reference for case in cases] == [10.7, 19.9, 7.04, 7.04] * 3
    most = {name: np.nanmax(made[name]) for name in lut_sail.NOTES}
    assert [case.ours for case in cases] == pytest.approx([*most.values()] * 3, rel=1e-3)
    assert all(
        f"{n} threads" in case.note for n, case in zip((16, 32, 64), cases[::4], strict=True)
    )


def test_the_table_is_written(
    chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.csv"
    monkeypatch.setattr("sys.argv", ["lut_sail", str(file)])
    lut_sail.main()
    assert len(file.read_text().splitlines()) == 1 + len(list(grid(threads=lut_sail.THREADS)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [SAIL, CPU, GPU])
def test_the_time_alone_is_that_of_a_run(name: str) -> None:
    point = Point(model="llama-2-7b", bits=4, batch=1)
    made = lut_sail.figures_of(name, point)
    whole = simulate(load_machine(name), lut_sail._trace(point, lut_sail.weights_of(name, point)))
    assert made["tokens_per_s"] == pytest.approx(whole.tokens_per_s, rel=0.02)
    assert made["tokens_per_dollar"] == pytest.approx(whole.tokens_per_dollar, rel=0.02)


@pytest.mark.validation
def test_the_committed_table_is_what_it_gives() -> None:
    """The best of each headline with as many threads as the machines have."""
    points = lut_sail.best_points(64)
    for row in lut_sail.table([points["speedup"], points["over_v100"]]).rows():
        found = [
            kept
            for kept in read_rows(lut_sail.TABLE)
            if all(kept[name] == str(row[name]) for name in list(row)[:5])
        ]
        assert len(found) == 1
        assert float(found[0]["speedup"]) == pytest.approx(row["speedup"], rel=0.01)


# ---- one at a time


POINTS = {"speedup": Point(model="llama-2-7b", bits=4, batch=1)}
OURS = Parameter(name="bandwidth", machines=[SAIL], paths=[BANDWIDTH])
THEIRS = Parameter(name="cpu bandwidth", machines=[CPU], paths=[BANDWIDTH])
IDLE = Parameter(name="latency", machines=[SAIL], paths=[("links", 0, "latency")])


def changes(made: Table, parameter: str) -> list[float]:
    rows = [row for row in made.rows() if row["parameter"] == parameter]
    return [row["speedup_pct"] for row in rows]


def test_halves_and_doubles(chosen: Chosen) -> None:
    made = sensitivity(POINTS, [IDLE, OURS, THEIRS], chosen)
    assert changes(made, "bandwidth") == pytest.approx([-50.0, 100.0])
    assert changes(made, "cpu bandwidth") == pytest.approx([100.0, -50.0])
    assert changes(made, "latency") == pytest.approx([0.0, 0.0])
    assert made["change"].tolist() == ["half", "twice"] * 3
    assert made["parameter"][-1] == "latency"  # what moves least comes last


def test_alternatives_in_place_of_half_and_twice(chosen: Chosen) -> None:
    now = bandwidth(chosen, SAIL)
    tries = Parameter(name="bandwidth", machines=[SAIL], paths=[BANDWIDTH], tries=[now, 3 * now])
    made = sensitivity(POINTS, [tries], chosen)
    assert made["speedup_pct"].tolist() == pytest.approx([200.0])


def test_a_change_that_breaks_a_rule_has_no_gain(
    chosen: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lut_sensitivity, "broken_rules", lambda machine, paths: ["wrong"])
    made = sensitivity(POINTS, [OURS], chosen)
    assert all(math.isnan(value) for value in made["speedup"])


def test_fields_of_the_point_are_varied_too(chosen: Chosen) -> None:
    batches = Parameter(name="batch", field="batch", tries=(2, 4))
    made = sensitivity({"speedup": POINTS["speedup"]}, [batches], chosen)
    assert made["change"].tolist() == ["2", "4"]
    assert made["speedup_pct"].tolist() == pytest.approx([0.0, 0.0])


def test_every_assumed_parameter_is_there() -> None:
    """A path that no machine has would move nothing, and nobody would see it."""
    found = lut_sail.machines()
    for parameter in lut_sensitivity.PARAMETERS:
        for name in parameter.machines:
            changed = [machines for _, machines in parameter.alternatives(found)]
            assert changed, parameter.name
            assert all(machines[name] != found[name] for machines in changed), parameter.name
