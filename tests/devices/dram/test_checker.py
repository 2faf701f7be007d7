"""The timing checker finds a planted violation of every row of every table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram.checker import EVERY, Issued, first_violation
from bankwidth.devices.dram.commands import ALL_BANK, Command, Level
from bankwidth.devices.dram.table import Constraint

Load = Callable[[str], DramConfig]
NAMES = ("DDR4_2R", "DDR5_2R", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")


def place_of(config: DramConfig, command: Command, place: tuple[int, ...]) -> tuple[int, ...]:
    """An all-bank command goes to everything below the refresh level."""
    if command not in ALL_BANK:
        return place
    depth = config.levels.index(config.refresh_level) + 1
    return place[:depth] + (EVERY,) * (len(place) - depth)


def planted(config: DramConfig, rule: Constraint, apart: int) -> list[Issued]:
    """`window` commands, and one that follows the first of them `apart` ticks later."""
    names = dict(zip(config.commands, config.command_names, strict=True))
    zero = (0,) * len(config.levels)
    depth = config.levels.index(rule.level)
    after = tuple(int(rule.sibling and i == depth) for i in range(len(zero)))
    first = Issued(0, names[rule.before], place_of(config, rule.before, zero))
    last = Issued(apart, names[rule.after], place_of(config, rule.after, after))
    return [first] * rule.window + [last]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_watched(name: str, golden_config: Load) -> None:
    config = golden_config(name)
    for rule in config.constraints:
        if rule.gap_ticks <= 0:
            continue
        found = first_violation(
            planted(config, rule, rule.gap_ticks - 1)[-rule.window - 1 :], config
        )
        assert found is not None, rule


def test_exact_gap_is_allowed(golden_config: Load) -> None:
    config = golden_config("DDR4")
    place = (0, 0, 1, 2)
    good = [Issued(1, "ACT", place), Issued(17, "RD", place), Issued(40, "PREpb", place)]
    assert first_violation(good, config) is None
    early = [*good[:2], Issued(39, "PREpb", place)]
    found = first_violation(early, config)
    assert found is not None
    assert (found.rule.level, found.rule.gap_ticks) == (Level.BANK, 39)
    assert str(found) == (
        "tick 39: PREpb (0, 0, 1, 2) is 38 ticks after ACT (0, 0, 1, 2), at least 39 per Bank"
    )


def test_window_counts_the_fourth_last(golden_config: Load) -> None:
    config = golden_config("DDR4")  # nFAW 26, nRRDS 4
    acts = [Issued(4 * i + 1, "ACT", (0, 0, i % 4, i // 4)) for i in range(4)]
    assert first_violation([*acts, Issued(27, "ACT", (0, 0, 0, 2))], config) is None
    found = first_violation([*acts, Issued(26, "ACT", (0, 0, 0, 2))], config)
    assert found is not None
    assert found.rule.window == 4


def test_other_bank_is_not_bound(golden_config: Load) -> None:
    config = golden_config("DDR4")
    commands = [Issued(1, "ACT", (0, 0, 0, 0)), Issued(5, "ACT", (0, 0, 1, 0))]
    assert first_violation(commands, config) is None
