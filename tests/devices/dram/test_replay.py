"""Replays against cases worked out by hand, the timing checker, and the rules of the queues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bankwidth.devices.dram import DramConfig, Replay, replay, words_of
from bankwidth.devices.dram.golden import requests_of
from bankwidth.errors import SimulationError, SpecError

Load = Callable[[str], DramConfig]
NAMES = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")


def issues(result: Replay, config: DramConfig) -> list[tuple[int, str]]:
    return [(int(row[0]), config.command_names[row[1]]) for row in result.commands]


def run(config: DramConfig, family: str, count: int) -> list[tuple[int, str]]:
    words = requests_of(family, count, config, seed=1)
    return issues(replay(config, words, with_commands=True), config)


# ---------------------------------------------------------------------------- by hand
def test_new_row_of_one_bank_each_time(golden_config: Load) -> None:
    # nRCD 16, nRAS 39, nRC 55: activate at arrival + 1, precharge nRAS later, activate nRC later
    assert run(golden_config("DDR4"), "bigstride", 3) == [
        (1, "ACT"), (17, "RD"), (40, "PREpb"), (56, "ACT"), (72, "RD"), (95, "PREpb"),
        (111, "ACT"), (127, "RD"),
    ]  # fmt: skip


def test_first_refresh_closes_the_bank_and_blocks_it(golden_config: Load) -> None:
    commands = run(golden_config("DDR4"), "seqR", 2000)
    at = commands.index((9368, "PREab"))  # last read 9359 + nRTP 9, after nREFI 9364
    assert commands[at - 1] == (9359, "RD")
    assert commands[at + 1] == (9384, "REFab")  # nRP 16 later
    assert commands[at + 2] == (9384 + 433, "ACT")  # nRFC 433 later


def test_split_activate_and_data_clock(golden_config: Load) -> None:
    # the idle slot after ACT1 takes ACT2; the read is legal at 1 + nRCD but needs the data clock
    assert run(golden_config("LPDDR5"), "seqR", 3) == [
        (1, "ACT1"), (2, "ACT2"), (16, "CAS_RD"), (17, "RD"), (21, "RD"), (25, "RD"),
    ]  # fmt: skip


def test_half_clock_reads_wait_for_a_rising_edge(golden_config: Load) -> None:
    # activates every nRRDS of 4 ck; the read is legal at 64, a falling edge
    assert run(golden_config("HBM3"), "bgstride", 5)[:5] == [
        (1, "ACT"), (9, "ACT"), (17, "ACT"), (25, "ACT"), (65, "RD"),
    ]  # fmt: skip


def test_forwarded_read_and_coalesced_write(golden_config: Load) -> None:
    config = golden_config("DDR4")
    # a read holds the queue in read mode while the second write and the last read find the first
    address = np.array([0, 1 << 20, 1 << 20, 1 << 20], dtype=np.int64)
    words = words_of(address, np.array([0, 1, 1, 0], dtype=np.int64))
    result = replay(config, words, rate=4, with_record=True)
    assert (result.forwarded, result.coalesced) == (1, 1)
    # nothing older is pending at tick 1, so the forwarded read is done; the coalesced write at once
    assert result.record[:, 1].tolist()[2:] == [0, 1]
    assert result.counts["RD"] == 1
    assert result.counts["WR"] == 1


def test_one_read_takes_activate_read_and_latency(golden_config: Load) -> None:
    config = golden_config("DDR4")
    result = replay(config, requests_of("seqR", 1, config, seed=1))
    assert result.cycles == 1 + 16 + 16 + 4  # activate at 1, nRCD, nCL, nBL
    assert result.avg_read_latency_ck == result.cycles


# ---------------------------------------------------------------------------- rules
@pytest.mark.parametrize("name", NAMES)
def test_refreshes_come_every_interval(name: str, golden_config: Load) -> None:
    config = golden_config(name)
    words = requests_of("randRW", 20_000, config, seed=3)
    result = replay(config, words, with_commands=True)
    ticks = [tick for tick, command in issues(result, config) if command == "REFab"]
    interval, scopes = config.times["refi"], config.num_refresh_scopes
    assert len(ticks) == (result.cycles - 1) // interval * scopes
    for i, tick in enumerate(ticks):
        due = (i // scopes + 1) * interval
        assert due <= tick < due + interval // 4


def test_per_bank_refresh_goes_round(golden_config: Load) -> None:
    config = golden_config("HBM2")
    words = requests_of("randR", 5000, config, seed=3)
    result = replay(config, words, refresh="PerBank", with_commands=True)
    rows = result.commands[result.commands[:, 1] == config.command_names.index("REFpb")]
    banks = [int((row[3] * 4 + row[4]) * 4 + row[5]) for row in rows]
    assert banks == [i % 32 for i in range(len(banks))]
    assert len(banks) >= 32


def test_channels_share_the_requests(golden_config: Load) -> None:
    config = golden_config("HBM3")
    words = requests_of("seqR", 4000, config, seed=1)
    one, four = replay(config, words, rate=4), replay(config, words, rate=4, channels=4)
    assert four.counts["RD"] == one.counts["RD"] == 4000
    assert four.cycles < one.cycles / 2


# ---------------------------------------------------------------------------- bad input
def test_refresh_that_the_standard_lacks(golden_config: Load) -> None:
    config = golden_config("DDR4")
    words = requests_of("seqR", 1, config, seed=1)
    with pytest.raises(SpecError, match="DDR4 has no refresh 'PerBank'"):
        replay(config, words, refresh="PerBank")


def test_channels_must_be_a_power_of_two(golden_config: Load) -> None:
    config = golden_config("DDR4")
    with pytest.raises(SpecError, match="3 is no power of two"):
        replay(config, requests_of("seqR", 1, config, seed=1), channels=3)


def test_a_stuck_channel_says_so(golden_config: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    from bankwidth.devices.dram import kernel

    config = golden_config("DDR4")
    monkeypatch.setattr(kernel, "replay", lambda *_: 3)
    with pytest.raises(SimulationError, match="DDR4: stuck at tick 0"):
        replay(config, requests_of("seqR", 1, config, seed=1))
