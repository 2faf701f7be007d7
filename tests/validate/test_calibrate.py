"""Parameters planted in a machine are found again, from the half that is fitted to and no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import unmarked

from bankwidth.errors import MappingError, SpecError, TraceError
from bankwidth.operators import Operator
from bankwidth.presets import find_machine
from bankwidth.spec import MachineSpec, load_machine
from bankwidth.spec.fit import KeyPath
from bankwidth.spec.values import broken_rules, value_at, with_values
from bankwidth.validate.calibrate import calibrate
from bankwidth.validate.calibration import Calibration
from bankwidth.validate.calibration_rows import Floats, read_measured

LAUNCH: KeyPath = ("engines", "gpu", "launch")
L2: KeyPath = ("engines", "gpu", "l2_bandwidth")
EXP: KeyPath = ("engines", "gpu", "exp_per_clock")
SHARED: KeyPath = ("engines", "gpu", "shared")
TRUTH: dict[KeyPath, float] = {LAUNCH: 800.0, L2: 4321.0, EXP: 23}
DEVICE = f"""\
schema_version: 1
kind: gpu
device: {unmarked.GPU.as_posix()}
launch: {{value: 1.26 us, source: s, fit: [200 ns, 3 us]}}
l2_bandwidth: {{value: 9.6 TB/s, fit: [1 TB/s, 20 TB/s]}}
exp_per_clock: {{value: 16, fit: [8, 64]}}
shared: {{value: 228 KiB, fit: [200 KiB, 300 KiB]}}
"""
HEAD = "operator,m,n,k,dtype,latency_s\n"


def toy_ns(
    machine: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
) -> Floats:
    """A model of three parameters; the fourth, shared memory, changes nothing."""
    gpu: Any = machine.engines["gpu"]
    return np.array(
        [
            gpu.launch_ns
            + op.read_bytes / gpu.l2_bandwidth_bytes_per_ns
            + 1e6 * np.sqrt(op.flops * 1e-9) / gpu.exp_per_clock
            for op in operators
        ]
    )


Write = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("dev.yaml").write_text(DEVICE)
    include = f"include: {unmarked.MACHINE.as_posix()}\n"
    path = Path("mine.yaml")
    path.write_text(
        f"# mine\nschema_version: 1\nkind: machine\n{include}"
        "engines:  # all\n  gpu: {device: dev.yaml}\n"
    )
    return path


@pytest.fixture
def table(machine: Path) -> Path:
    """Times of a machine with other values; shapes from tiny to large."""
    true = with_values(load_machine(machine), TRUTH)
    return measured(Path("m.csv"), true, shapes(120))


def shapes(count: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(7)
    return [tuple(int(2**x) for x in rng.uniform(4, 12, 3)) for _ in range(count)]  # type: ignore[misc]


def measured(path: Path, true: MachineSpec, sizes: Sequence[tuple[int, int, int]]) -> Path:
    cells = [f"gemm,{m},{n},{k},bf16" for m, n, k in sizes]
    path.write_text(HEAD + "".join(f"{row},1\n" for row in cells))
    times_ns = toy_ns(true, [row for row in _operators(path)])
    rows = (f"{row},{ns * 1e-9:.17g}\n" for row, ns in zip(cells, times_ns.tolist(), strict=True))
    path.write_text(HEAD + "".join(rows))
    return path


def _operators(path: Path) -> list[Operator]:
    rows = read_measured([path])
    return [rows.operators[shape] for shape in rows.shape_of]


def fit(machine: Path, *tables: Path, **options: Any) -> Calibration:
    return calibrate(machine, tables, **{"predict": toy_ns, "evaluations": 400, **options})


def after(found: Calibration) -> dict[str, float]:
    return {outcome.parameter.name: outcome.after for outcome in found.outcomes}


def test_planted_parameters_are_recovered(machine: Path, table: Path) -> None:
    found = fit(machine, table)
    values = after(found)
    assert values["engines.gpu.launch"] == pytest.approx(800.0, rel=0.01)
    assert values["engines.gpu.l2_bandwidth"] == pytest.approx(4321.0, rel=0.01)
    assert values["engines.gpu.exp_per_clock"] == 23
    assert found.cost[0] > 0.1
    assert found.cost[1] < 0.001
    held_out = found.errors["held_out"]
    assert held_out["before"]["all"]["mape_pct"] > 10
    assert held_out["after"]["all"]["mape_pct"] < 0.1


def test_a_parameter_that_no_row_depends_on_is_left_alone(machine: Path, table: Path) -> None:
    found = fit(machine, table)
    outcome = next(o for o in found.outcomes if o.parameter.path == SHARED)
    assert (outcome.is_fitted, outcome.after) == (False, 228 * 1024)
    assert outcome.sensitivity_pct == 0.0
    assert value_at(found.machine, SHARED) == 228 * 1024
    assert "shared" not in found.text


def test_the_sensitivity_is_the_change_of_the_times_for_a_tenth_more(
    machine: Path, table: Path
) -> None:
    def root_of_launch(
        spec: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        return np.full(len(operators), 100 * np.sqrt(value_at(spec, LAUNCH)))

    found = fit(machine, table, predict=root_of_launch, evaluations=30)
    (launch,) = [o for o in found.outcomes if o.is_fitted]
    assert launch.parameter.path == LAUNCH
    assert launch.sensitivity_pct == pytest.approx(100 * (np.sqrt(1.1) - 1))


def test_a_parameter_that_is_right_already_keeps_its_source(machine: Path) -> None:
    true = with_values(load_machine(machine), {LAUNCH: 800.0})
    found = fit(machine, measured(Path("m.csv"), true, shapes(120)))
    assert [o.parameter.path for o in found.outcomes if o.is_fitted] == [LAUNCH]
    assert after(found)["engines.gpu.l2_bandwidth"] == 9600.0
    assert "l2_bandwidth" not in found.text


def test_the_same_seed_gives_the_same_result_and_another_one_another_split(
    machine: Path, table: Path
) -> None:
    first, second, other = (fit(machine, table, seed=seed, evaluations=60) for seed in (1, 1, 2))
    assert first.to_json() == second.to_json()
    assert first.text == second.text
    assert other.rows.fit != first.rows.fit or other.errors != first.errors


def test_the_order_of_rows_does_not_matter(machine: Path, table: Path) -> None:
    first = fit(machine, table)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    second = fit(machine, table)
    assert second.rows == first.rows
    assert after(second) == pytest.approx(after(first), rel=1e-3)


def test_held_out_rows_are_never_used(machine: Path, table: Path) -> None:
    honest = fit(machine, table, evaluations=100)
    rows = read_measured([table])
    lines = table.read_text().splitlines()
    poisoned = [
        line if is_fit else f"{line.rpartition(',')[0]},{1e-3 * (1 + number)}"
        for number, (line, is_fit) in enumerate(zip(lines[1:], rows.is_fit, strict=True))
    ]
    assert poisoned != lines[1:]
    table.write_text("\n".join([lines[0], *poisoned]) + "\n")
    found = fit(machine, table, evaluations=100)
    assert after(found) == after(honest)
    assert found.errors["fit"] == honest.errors["fit"]
    assert found.errors["held_out"] != honest.errors["held_out"]


def test_values_stay_within_their_bounds(machine: Path) -> None:
    far = with_values(load_machine(machine), {LAUNCH: 50.0, L2: 900.0, EXP: 100})
    found = fit(machine, measured(Path("m.csv"), far, shapes(120)))
    values = after(found)
    assert values["engines.gpu.launch"] == 200.0
    assert values["engines.gpu.exp_per_clock"] == 64
    for outcome in found.outcomes:
        assert outcome.parameter.low <= outcome.after <= outcome.parameter.high


def test_no_machine_out_of_bounds_is_ever_asked_for(machine: Path, table: Path) -> None:
    asked: list[float] = []

    def watched(
        spec: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        asked.append(value_at(spec, LAUNCH))
        return toy_ns(spec, operators)

    found = fit(machine, table, predict=watched)
    assert len(asked) > 100
    nudged = 1.1 * after(found)["engines.gpu.launch"]  # for the sensitivity
    assert all(200.0 <= value <= 3000.0 or value == nudged for value in asked)


def test_rules_between_fields_hold_on_the_way(machine: Path, table: Path) -> None:
    """Fewer registers than the smallest tile needs break a rule of the GPU."""
    text = DEVICE + "registers: {value: 256 KiB, fit: [64 B, 300 KiB]}\n"
    Path("dev.yaml").write_text(text)
    registers: KeyPath = ("engines", "gpu", "registers")
    asked: list[int] = []

    def hungry(
        spec: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        asked.append(value_at(spec, registers))
        assert broken_rules(spec, [registers]) == []
        factor: float = 1 + value_at(spec, registers) / 1e6
        return factor * toy_ns(spec, operators)

    found = fit(machine, table, predict=hungry, evaluations=100)
    assert len(set(asked)) > 10
    broken = with_values(load_machine(machine), {registers: 64.0})
    assert broken_rules(broken, [registers]) != []
    assert found.cost[1] < found.cost[0]


def test_a_parameter_that_matters_only_later_is_fitted_too(machine: Path, table: Path) -> None:
    def hidden(
        spec: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        """exp_per_clock counts only where the launch is below its start by a third."""
        shown = spec if value_at(spec, LAUNCH) < 840.0 else with_values(spec, {EXP: 16.0})
        return toy_ns(shown, operators)

    def found_with(evaluations: int) -> Calibration:
        return fit(machine, table, predict=hidden, evaluations=evaluations)

    (outcome,) = [o for o in found_with(400).outcomes if o.parameter.path == EXP]
    assert outcome.is_fitted
    assert outcome.after == 23


def test_the_text_is_the_users_with_values_bounds_and_where_they_come_from(
    machine: Path, table: Path
) -> None:
    found = fit(machine, table, seed=3, rows=50)
    assert found.text.startswith("# mine\nschema_version: 1\n")
    assert "engines:  # all\n  gpu:\n    device: dev.yaml\n" in found.text
    mape_pct = found.errors["held_out"]["after"]["all"]["mape_pct"]
    source = f"calibrated on m.csv (seed 3, 50 of 120 rows; held-out MAPE {mape_pct:.3g} %)"
    assert found.text.count(source) == 3
    Path("out.yaml").write_text(found.text)
    assert load_machine(Path("out.yaml")) == found.machine
    again = fit(Path("out.yaml"), table, seed=3, rows=50)
    assert again.cost[0] == pytest.approx(found.cost[1])
    assert again.cost[1] <= found.cost[1] + 2e-4


def test_counts_add_up(machine: Path, table: Path) -> None:
    found = fit(machine, table, rows=30, evaluations=20)
    rows = found.to_json()["rows"]
    assert rows["sampled"] == 30
    assert rows["fit"] + rows["held_out"] == rows["all"] == 120
    assert found.errors["fit"]["after"]["all"]["n"] == rows["fit"]
    assert found.errors["held_out"]["after"]["all"]["n"] == rows["held_out"]


def test_progress_counts_up_and_its_error_falls(machine: Path, table: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    fit(machine, table, evaluations=80, progress=lambda *now: seen.append(now))
    done, limits, least = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert list(least) == sorted(least, reverse=True)
    assert done[-1] <= limits[-1]


def test_a_machine_without_marks_says_what_could_be_marked(table: Path) -> None:
    with pytest.raises(SpecError, match=r"no parameter is marked.*engines\.asic\."):
        fit(find_machine("pim-gpt"), table)


def test_rows_that_no_parameter_changes_are_refused(machine: Path, table: Path) -> None:
    def constant(
        _: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        return np.full(len(operators), 1e3)

    with pytest.raises(TraceError, match=r"depends on any of engines\.gpu\."):
        fit(machine, table, predict=constant)


def test_a_row_that_the_machine_cannot_run_is_named(machine: Path, table: Path) -> None:
    def refusing(
        spec: MachineSpec, operators: Sequence[Operator], _libraries: Sequence[str] = ()
    ) -> Floats:
        if any(op.flops == rows[17].flops for op in operators):
            raise MappingError("cannot run this")
        return toy_ns(spec, operators)

    rows = _operators(table)
    with pytest.raises(TraceError, match=r"m\.csv:19: cannot run this"):
        fit(machine, table, predict=refusing)
