"""Against the AiM simulator's micro-benchmarks: equal, to the cycle."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bankwidth.devices.pim.aim import micro_cycles, micro_program
from bankwidth.devices.pim.config import PimConfig
from bankwidth.errors import TraceError

GOLDEN = Path(__file__).parents[4] / "shared/reference/pim/aim_simulator_micro.csv"


@pytest.mark.validation
def test_every_golden_row_is_equal_to_the_cycle(config: PimConfig) -> None:
    if not GOLDEN.exists():
        pytest.skip("the golden table is not here")
    with GOLDEN.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 24
    ours = [micro_cycles(row["case"], row["params"], config) for row in rows]
    assert ours == [int(row["memory_system_cycles"]) for row in rows]


@pytest.mark.parametrize(
    ("case", "params", "cycles"),
    [
        ("mac_abk_one_row", "opsize=64", 56 + 63 * 2 + 1 + 2),
        ("mac_abk_rows", "rows=1024 opsize=64", 185 + 226 * 1023),
        ("wr_gb", "opsize=64", 32 + 63 * 2 + 3 + 2),
        ("rd_mac", "n=16", 34 + 3 * 16),
        ("copy_gbbk", "opsize=64", 49 + 2 * 64),
        ("copy_bkgb", "opsize=64", 67 + 2 * 64),
        ("ewmul", "opsize=64", 26 + 2 * 64),
        ("gemv_wrgb_each_chunk", "out=4096 in=4096 ch=32", 8 * (414 + 3 * 406)),
        ("gemv_wrgb_once", "out=32768 in=1024 ch=32", 2416 + 286 * 56),
    ],
)
def test_closed_forms_of_the_simulator(
    config: PimConfig, case: str, params: str, cycles: int
) -> None:
    assert micro_cycles(case, params, config) == cycles


def test_unknown_case(config: PimConfig) -> None:
    with pytest.raises(TraceError, match="unknown case 'mac_xyz'"):
        micro_program("mac_xyz", "opsize=1", config)
