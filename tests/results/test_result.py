"""A hand-made result of two operators: every figure is checked against a sum shown here."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from bankwidth.errors import SimulationError
from bankwidth.results import Result, Table

OPERATORS: dict[str, Any] = {
    "index": [0, 1],
    "name": ["matmul", "norm"],
    "kind": ["matmul", "norm"],
    "layer": [0, 0],
    "engine": ["gpu", "gpu"],
    "start_ns": [0.0, 800.0],
    "end_ns": [800.0, 1000.0],
    "duration_ns": [800.0, 200.0],
    "time_ns": [800.0, 200.0],
    "bound": ["hbm bandwidth", "launch"],
    "lower_bound_ns": [600.0, 10.0],
    "bound_ns": [600.0, 10.0],
    "launch_ns": [200.0, 190.0],
    "flops": [4000, 0],
    "read_bytes": [2000, 30],
    "write_bytes": [100, 30],
    "energy_pj": [70.0, 30.0],
}


def made(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "machine": "m",
        "workload": "w",
        "phase": "decode",
        "batch": 2,
        "context": 16,
        "tokens": 2,
        "latency_ps": 1_000_000,
        "lower_bound_ns": 500.0,
        "operators": Table(OPERATORS),
        "components": Table(
            {
                "name": ["gpu", "hbm"],
                "kind": ["engine", "memory"],
                "busy_ns": [900.0, 600.0],
                "idle_ns": [100.0, 400.0],
                "utilisation": [0.9, 0.6],
                "read_bytes": [0, 2030],
                "write_bytes": [0, 130],
                "energy_dynamic_pj": [10.0, 60.0],
                "energy_static_pj": [10.0, 20.0],
                "energy_pj": [20.0, 80.0],
            }
        ),
        "commands": Table(
            {"component": ["hbm"], "command": ["RD"], "count": [33], "energy_pj": [60.0]}
        ),
        "parts_ns": {"bound_ns": 610.0, "launch_ns": 390.0},
        "energy_by_component_pj": {"gpu": 20.0, "hbm": 80.0},
        "provenance": {"version": "0.1.0"},
    }
    return Result(**(fields | changes))


def changed(name: str, values: list[Any]) -> Table:
    return Table(OPERATORS | {name: values})


def test_figures_by_hand() -> None:
    result = made(metrics={"row_hit_rate": 0.98})
    summary = {row["metric"]: (row["value"], row["unit"]) for row in result.summary.rows()}
    assert summary == {
        "latency_ns": (1000.0, "ns"),
        "lower_bound_ns": (500.0, "ns"),
        "bound_ratio": (2.0, "1"),
        "tokens": (2.0, ""),
        "tokens_per_s": (2e6, "1/s"),  # 2 tokens in 1 us
        "energy_pj": (100.0, "pJ"),
        "energy_per_token_pj": (50.0, "pJ"),
        "tokens_per_joule": (2e10, "1/J"),  # 2 tokens of 100 pJ
        "power_mw": (0.1, "mW"),  # 100 pJ in 1000 ns
        "flops": (4000.0, "FLOP"),
        "read_bytes": (2030.0, "B"),
        "write_bytes": (130.0, "B"),
        "row_hit_rate": (0.98, "1"),
    }


def test_json_has_the_agreed_keys_and_survives_a_strict_writer() -> None:
    data = made().to_json()
    assert list(data) == [
        *("latency_ns", "lower_bound_ns", "tokens_per_s", "tokens_per_joule", "tokens_per_dollar"),
        *("dollars_per_million_tokens", "energy_pj", "energy_by_component_pj"),
        *("operators", "components", "commands", "summary", "parts_ns", "provenance"),
    ]
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["operators"][0]["bound"] == "hbm bandwidth"
    assert data["provenance"]["workload"] == "w"
    assert data["provenance"]["version"] == "0.1.0"


def test_what_is_unknown_is_null_and_has_no_row_in_the_summary() -> None:
    result = made(tokens=0, operators=changed("lower_bound_ns", [600.0, None]))
    data = result.to_json()
    assert data["tokens_per_s"] is None
    assert data["tokens_per_joule"] is None
    assert data["operators"][1]["lower_bound_ns"] is None
    assert "tokens_per_s" not in result.summary["metric"]


def test_a_price_gives_dollars_and_none_gives_none() -> None:
    priced, free = made(cost_dollars=4e-6), made()
    assert priced.tokens_per_dollar == pytest.approx(5e5)  # 2 tokens for 4 millionths
    assert priced.dollars_per_million_tokens == pytest.approx(2.0)
    figures = {row["metric"]: (row["value"], row["unit"]) for row in priced.summary.rows()}
    assert figures["cost_dollars"] == (4e-6, "USD")
    assert figures["tokens_per_dollar"] == (pytest.approx(5e5), "1/USD")
    assert figures["dollars_per_million_tokens"] == (pytest.approx(2.0), "USD")
    assert not [name for name in free.summary["metric"] if "dollar" in name]
    assert free.to_json()["tokens_per_dollar"] is None


def test_energy_of_all_devices_is_behind_a_joule() -> None:
    assert made(devices=4).tokens_per_joule == pytest.approx(2e10 / 4)


def test_a_run_is_one_row_with_the_same_columns_whether_priced_or_not() -> None:
    priced, free = made(cost_dollars=4e-6).row, made().row
    assert list(priced) == list(free)
    (row,) = free.rows()
    assert (row["machine"], row["tokens"], row["latency_ns"]) == ("m", 2, 1000.0)
    assert row["tokens_per_dollar"] is None
    assert priced.rows()[0]["tokens_per_dollar"] == pytest.approx(5e5)
    cells = dict(zip(free, free.to_csv_text().splitlines()[1].split(","), strict=True))
    assert {cells[name] for name in free if "dollar" in name} == {""}  # unknown, never 0
    assert priced.unit("dollars_per_million_tokens") == "USD"


def test_agreeing_tables_are_verified() -> None:
    made().verify()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operators": changed("time_ns", [800.0, 201.0])}, "sum of operators time_ns is 1001"),
        ({"operators": changed("launch_ns", [201.0, 190.0])}, "time parts of operator 0 is 801"),
        ({"operators": changed("energy_pj", [70.0, 31.0])}, "sum of operators energy_pj is 101"),
        ({"parts_ns": {"bound_ns": 610.0, "launch_ns": 380.0}}, "sum of parts_ns is 990"),
        ({"energy_by_component_pj": {"hbm": 80.0}}, r"components energy_pj is 100.0, need 80"),
        ({"lower_bound_ns": 1000.1}, "below its bound"),
    ],
)
def test_each_sum_that_does_not_hold_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        made(**changes).verify()


def test_a_table_without_a_needed_column_is_refused_by_name() -> None:
    short = {name: values for name, values in OPERATORS.items() if name != "bound"}
    with pytest.raises(SimulationError, match="operators table lacks bound"):
        made(operators=Table(short))
    with pytest.raises(SimulationError, match="operators table lacks wait_ns"):
        made(parts_ns={"wait_ns": 1.0})


def test_a_result_cannot_be_changed_and_can_be_sent_to_another_process() -> None:
    result = made()
    with pytest.raises(FrozenInstanceError):
        result.batch = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(result)) == result
    assert replace(result, batch=3) != result


def test_representations_are_short_and_say_what_was_run() -> None:
    result = made()
    assert repr(result) == "Result(m, w, decode: 1000 ns, 100 pJ)"
    assert result.title == "w on m, decode, batch 2, context 16"


def test_results_import_neither_pandas_nor_plotly_nor_rich() -> None:
    code = (
        "import sys, bankwidth.results, bankwidth.energy;"
        "print([m for m in ('pandas', 'plotly', 'rich', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
