"""Plain bursts pass a port one per tick; the channel served last stands for all."""

from __future__ import annotations

import pytest

from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.mapping.cent_steps import StepList
from bankwidth.spec import PimSpec, load_device
from bankwidth.system.pim_port import WAIT_CK, PortRun, run_steps


@pytest.fixture(scope="module")
def config() -> PimConfig:
    spec = load_device("pim/gddr6-aim")
    assert isinstance(spec, PimSpec)
    return config_of(spec)


def run(config: PimConfig, steps: StepList) -> PortRun:
    return run_steps(config, steps.build())


def bursts(config: PimConfig, rounds: int, requests: int, *, is_write: bool = True) -> PortRun:
    steps = StepList(config)
    steps.bursts([0, 4], 3, rounds=rounds, requests=requests, is_write=is_write)
    return run(config, steps)


def test_one_channel_is_bound_by_its_rows(config: PimConfig) -> None:
    # ACT at 0, ACT 11 later, first write at 28, second 2 later but not before 11 + 28, done 8 later
    assert bursts(config, 1, 2).ticks == 11 + 28 + 8


def test_the_last_channel_waits_for_the_others_bursts(config: PimConfig) -> None:
    assert bursts(config, 1, 200).ticks - bursts(config, 1, 2).ticks == 198
    # ten rounds of 200 go on; the last two bursts, rows open, are written 2 apart and done 8 later
    assert bursts(config, 10, 200).ticks == 10 * 200 - 2 + 2 + 8


def test_all_channels_are_counted(config: PimConfig) -> None:
    counts = bursts(config, 5, 200).counts
    assert counts["WR_SBK"] == 5 * 200
    assert counts["ACT"] == 200


def test_commands_wait_for_the_port(config: PimConfig) -> None:
    steps = StepList(config)
    steps.bursts([0], 3, rounds=2, requests=500, is_write=True)
    steps.command("WR_GB", 1, channels=32)
    served = run(config, steps)
    # written at 999, done 8 later; then a mode change of 32, nCWLGB 1 and nBL 2
    assert served.ticks == 999 + 8 + 32 + 3
    assert served.counts["WR_GB"] == 32


def test_a_wait_lasts_until_data_have_come(config: PimConfig) -> None:
    steps = StepList(config)
    steps.bursts([0], 3, rounds=1, requests=1, is_write=False)
    without = run(config, steps).ticks
    steps.wait()
    assert without == 36 + 52
    assert run(config, steps).ticks == without + WAIT_CK


def test_the_port_goes_on_when_the_first_channel_is_ready(config: PimConfig) -> None:
    """Reads of the first channels begin while the last one still works on what came late."""

    def ticks(read_rounds: int) -> int:
        steps = StepList(config)
        steps.command("MAC_ABK", 1, 5, channels=32)  # rows to be closed first
        steps.bursts([0, 4, 8, 12], 6, rounds=2, requests=128, is_write=True)
        steps.command("EWMUL", 1, 6, channels=32)
        if read_rounds:
            steps.bursts([2], 6, rounds=read_rounds, requests=128, is_write=False)
        return run(config, steps).ticks

    read_ck = 20 * 128
    assert read_ck < ticks(20) < ticks(0) + read_ck
