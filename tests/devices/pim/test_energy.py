"""Energy of a channel, and that the shipped figures are what their sources say."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.energy import ITEMS, energy_pj
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SimulationError
from bankwidth.spec import PimSpec

ACT_MW, WR_MW, RD_MW = 132.6 / 2, 1106.3 / 2, 876.3 / 2  # CENT, per channel
TRC_NS, TBL_NS, TCCD_NS = 44.5, 1.25, 1.0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ACT", ACT_MW * TRC_NS),
        ("ACT_ALL", 16 * ACT_MW * TRC_NS),
        ("REF_ALL", 16 * ACT_MW * TRC_NS),
        ("RD_SBK", RD_MW * TBL_NS),
        ("WR_SBK", WR_MW * TBL_NS),
        ("WR_ABK", 16 * WR_MW * TBL_NS),
        ("MAC_ABK", 3 * RD_MW * TCCD_NS),
        ("MAC_SBK", 3 * RD_MW * TCCD_NS / 16),
        ("EWMUL", 3 * RD_MW * TCCD_NS / 4),
        ("AF", 16 * RD_MW * TBL_NS),
    ],
)
def test_shipped_energies_are_power_times_time(
    spec: PimSpec, command: str, expected: float
) -> None:
    assert spec.commands[command].energy_pj == pytest.approx(expected, rel=1e-9)


def test_energy_of_one_row(config: PimConfig, program: Callable[..., ChannelProgram]) -> None:
    channel = PimChannel(config, refresh=False)
    ticks = channel.run(program(("WR_GB", 64, 0, -1), ("MAC_ABK", 64, 0, -1), ("RD_MAC", 1, 0, -1)))
    elapsed_ns, open_ns = ticks * 0.5, channel.open_ck * 0.5
    found = energy_pj(channel.counts, elapsed_ns, open_ns, config)
    assert set(found) == set(ITEMS)
    assert found["activate"] == pytest.approx(47205.6)
    assert found["compute"] == pytest.approx(64 * 1314.45)
    assert found["write"] == pytest.approx(64 * 0.1627)
    assert found["read"] == pytest.approx(547.6875)
    assert found["refresh"] == 0.0
    # Open from the activate at 32 + 126 + 1 + 32 = 191 ck to the end.
    assert open_ns == (ticks - 191) * 0.5
    assert found["background"] == pytest.approx(open_ns * 263.75 + 191 * 0.5 * 183.15)


def test_energy_is_additive(config: PimConfig) -> None:
    one = energy_pj({"MAC_ABK": 3, "ACT_ALL": 1}, 100.0, 50.0, config)
    three = energy_pj({"MAC_ABK": 9, "ACT_ALL": 3}, 300.0, 150.0, config)
    assert math.fsum(three.values()) == pytest.approx(3 * math.fsum(one.values()))


def test_unknown_command_is_no_zero(config: PimConfig) -> None:
    with pytest.raises(SimulationError, match="no energy for command 'MAC'"):
        energy_pj({"MAC": 1}, 1.0, 0.0, config)


def test_rows_cannot_be_open_longer_than_time_passed(config: PimConfig) -> None:
    with pytest.raises(SimulationError, match=r"open for 2\.0 ns of 1\.0 ns"):
        energy_pj({}, 1.0, 2.0, config)
