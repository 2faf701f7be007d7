"""`bankwidth calibrate`: the whole way on the GPU model, and one message for each wrong input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import unmarked

from bankwidth.operators import read_table
from bankwidth.spec import load_machine
from bankwidth.spec.values import value_at, with_values
from bankwidth.validate.predict import Predictor

LAUNCH = ("engines", "gpu", "launch")
HEAD = "operator,rows,width,dtype,latency_s\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's machine, its launch marked."""
    monkeypatch.chdir(tmp_path)
    include = f"include: {unmarked.MACHINE.as_posix()}\n"
    path = Path("mine.yaml")
    path.write_text(
        f"# mine\nschema_version: 1\nkind: machine\n{include}name: mine\nengines:\n  gpu:\n"
        "    launch: {value: 1.5 us, source: guessed, fit: [100 ns, 9 us]}  # which?\n"
    )
    return path


@pytest.fixture
def table(machine: Path) -> Path:
    """Norms as measured on a machine whose launch takes 3 us."""
    cells = [
        f"rmsnorm,{rows},{width},bf16"
        for rows in (1, 7, 64, 999)
        for width in range(512, 4096, 512)
    ]
    path = Path("m.csv")
    path.write_text(HEAD + "".join(f"{row},1\n" for row in cells))
    true = with_values(load_machine(machine), {LAUNCH: 3000.0})
    truth = Predictor(true)
    times_s = [truth.time(row.operator).latency_s for row in read_table(path)]
    rows = (f"{row},{time_s:.17g}\n" for row, time_s in zip(cells, times_s, strict=True))
    path.write_text(HEAD + "".join(rows))
    return path


def test_a_planted_value_is_found_and_written(bankwidth: Any, machine: Path, table: Path) -> None:
    done = bankwidth(
        "calibrate", machine, table, "--out", "out.yaml", "--evaluations", 80, "--json"
    )
    assert done.code == 0, done.err
    assert "wrote out.yaml" in done.err
    (launch,) = done.json["parameters"]
    assert launch["after"] == pytest.approx(3.0, rel=0.01)
    assert (launch["unit"], launch["is_fitted"]) == ("us", True)
    assert done.json["errors"]["held_out"]["after"]["all"]["mape_pct"] < 1.0
    text = Path("out.yaml").read_text()
    assert text.startswith("# mine\n")
    assert text.endswith("fit: [100 ns, 9 us]}  # which?\n")
    assert "calibrated on m.csv (seed 0, " in text
    assert bankwidth("check", "out.yaml").code == 0
    found = value_at(load_machine(Path("out.yaml")), LAUNCH)
    assert found == pytest.approx(1e3 * launch["after"])


def test_it_prints_a_table_and_overwrites_only_when_told(
    bankwidth: Any, machine: Path, table: Path
) -> None:
    Path("out.yaml").write_text("precious")
    arguments = ("calibrate", machine, table, "--evaluations", 5)
    bankwidth(*arguments, "--out", "out.yaml").refused("out.yaml exists; --force overwrites it")
    assert Path("out.yaml").read_text() == "precious"
    done = bankwidth(*arguments, "--out", "out.yaml", "--force")
    assert done.code == 0, done.err
    assert "parameter of engines.gpu " in done.out
    assert "held-out rows: " in done.out
    assert Path("out.yaml").read_text() != "precious"
    without = bankwidth(*arguments)
    assert (without.code, without.out) == (0, done.out)


def test_wrong_input_is_one_message(bankwidth: Any, machine: Path, table: Path) -> None:
    lines = table.read_text().splitlines(keepends=True)
    Path("short.csv").write_text("".join(lines[:11]))
    Path("none.csv").write_text("".join(f"{line.rpartition(',')[0]}\n" for line in lines))
    plain = Path("plain.yaml")
    plain.write_text(machine.read_text().replace(", fit: [100 ns, 9 us]", ""))
    for arguments, parts in [
        (("h20", table), ("unknown machine 'h20'", "did you mean 'h200'")),
        ((plain, table), ("no parameter is marked", "engines.gpu.launch")),
        ((machine, "gone.csv"), ("gone.csv",)),
        ((machine, "short.csv"), ("10 rows, a calibration needs at least 20",)),
        ((machine, "none.csv"), ("none.csv:2: no latency",)),
        ((machine, table, "--device", "A100"), ("no rows of device 'A100'",)),
        ((machine, table, "--out", "gone/x.yaml"), ("no such folder",)),
        ((machine, table, "--rows", 0), ("--rows",)),
    ]:
        bankwidth("calibrate", *arguments).refused(*parts)


def test_help_has_an_example(bankwidth: Any) -> None:
    assert (
        "bankwidth calibrate h200 my_capture.csv --out my-h200.yaml"
        in bankwidth("calibrate", "--help").out
    )
