"""Tables of the standards: equal to the reference's final integers, and complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bankwidth.devices.dram import DramConfig, config_of
from bankwidth.devices.dram.standards import STANDARDS
from bankwidth.devices.dram.table import constraints_of
from bankwidth.errors import SpecError
from bankwidth.spec.dram import DramSpec

Load = Callable[[str], DramConfig]
Rules = dict[tuple[str, str, str, int, bool], int]
GOLDEN_NAMES = (
    "DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3",
)  # fmt: skip


def note(rules: Rules, key: tuple[str, str, str, int, bool], gap: int) -> None:
    rules[key] = max(gap, rules.get(key, gap))


def reference_rules(described: dict[str, Any]) -> Rules:
    rules: Rules = {}
    for row in described["constraints"]:
        for before in row["preceding"]:
            for after in row["following"]:
                key = (row["level"], before, after, row["window"], row["sibling"])
                note(rules, key, row["cycles"])
    return rules


def own_rules(config: DramConfig) -> Rules:
    names = dict(zip(config.commands, config.command_names, strict=True))
    rules: Rules = {}
    for row in config.constraints:
        key = (row.level.value, names[row.before], names[row.after], row.window, row.sibling)
        note(rules, key, row.gap_ticks)
    return rules


@pytest.mark.validation
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_table_equals_reference(name: str, golden_config: Load, reference: Path) -> None:
    described = json.loads((reference / "standards" / f"{name}.json").read_text())
    config = golden_config(name)
    assert own_rules(config) == reference_rules(described)
    assert list(config.command_names) == described["commands"]
    assert [level.value for level in config.levels] == described["levels"][:-2]
    assert list(config.level_counts) == described["level_counts"][:-2]
    assert config.rows == described["level_counts"][-2]
    assert config.columns == described["bursts_per_row"]
    assert int(config.tick_ps) == described["tCK_ps_tick"]  # the reference cuts halves off
    assert config.read_latency_ticks == described["read_latency_ticks"]
    assert config.capacity_bytes == described["channel_capacity_bytes"]


def test_long_commands_move_gaps_by_hand(golden_config: Load) -> None:
    rules = own_rules(golden_config("HBM3"))
    # activate is 3 ticks, read 2: 31 ck are 62 ticks between their ends, 63 between their starts
    assert rules["Bank", "ACT", "RD", 1, False] == 63
    assert rules["Bank", "PREpb", "ACT", 1, False] == 2 * 26 - 2
    assert rules["Channel", "ACT", "PREpb", 1, False] == 3  # the row bus is taken


@pytest.mark.parametrize("name", sorted(STANDARDS))
def test_every_command_has_a_rule(name: str) -> None:
    standard = STANDARDS[name]
    followed = {command for row in standard.gaps for command in row.before}
    assert followed == set(standard.commands) - {c for c in standard.commands if c.name == "ACT2"}


def test_impossible_timing_is_refused(device_spec: Callable[[str], DramSpec]) -> None:
    spec = device_spec("ddr4-3200")
    slow_writes = spec.timing.model_copy(update={"cwl": 99})
    with pytest.raises(SpecError, match="DDR4 timing: gap RD -> WR per Rank is -71 ck"):
        config_of(spec.model_copy(update={"timing": slow_writes}))


def test_times_are_doubled_for_half_clocks(device_spec: Callable[[str], DramSpec]) -> None:
    spec = device_spec("hbm3e-6250")
    rules = constraints_of(STANDARDS["HBM3"], spec.timing)
    faw = next(rule for rule in rules if rule.window == 4)
    assert faw.gap_ticks == 2 * spec.timing.faw
    assert config_of(spec).tick_ps * 2 == spec.timing.tck_ps


@pytest.mark.parametrize("name", ["hbm3-6400", "ddr4-3200"])
def test_ticks_are_exact_in_time(name: str, device_spec: Callable[[str], DramSpec]) -> None:
    config = config_of(device_spec(name))
    for ticks in (0, 1, 2, 3, 999, 10**9 + 1):
        time_ps = config.time_ps(ticks)
        assert 0 <= ticks * config.tick_ps - time_ps < 1
        assert config.ticks_covering(time_ps) == ticks
        assert config.ticks_covering(time_ps + 1) == ticks + 1
