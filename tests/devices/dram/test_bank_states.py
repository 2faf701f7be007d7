"""Bank states against cases worked out by hand, and against a slow look at every tick."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bankwidth.devices.dram import DramConfig, bank_states, replay, words_of
from bankwidth.devices.dram.bank_states import BankHistory, bank_labels
from bankwidth.devices.dram.golden import requests_of
from bankwidth.errors import UserError
from bankwidth.results import Table

Load = Callable[[str], DramConfig]
Commands = NDArray[np.int64]
NAMES = ("DDR4", "DDR4_2R", "DDR5", "DDR5_2R", "LPDDR5", "LPDDR5_2R", "GDDR6", "HBM2", "HBM3")


def told(
    config: DramConfig,
    commands: Commands,
    window: tuple[int, int],
    *,
    channels: int = 1,
    part: int = 1000,
) -> Table:
    """The slices of a window; commands arrive `part` at a time."""
    history = BankHistory(config, *window, channels=channels)
    for start in range(0, len(commands), part):
        history.add(commands[start : start + part])
    return history.slices()


def of_bank(table: Table, config: DramConfig, bank: str) -> list[tuple[str, int, int, int | None]]:
    """(state, start, end, row) of a bank, in ticks."""
    ns = config.tick_ps / 1000
    return [
        (row["state"], round(row["start_ns"] / ns), round(row["end_ns"] / ns), row["row"])
        for row in table.rows()
        if row["bank"] == bank
    ]


def commands_of(config: DramConfig, family: str, count: int, **options: Any) -> Commands:
    words = requests_of(family, count, config, seed=1)
    return replay(config, words, with_commands=True, **options).commands


def command(config: DramConfig, tick: int, name: str, place: list[int], row: int = -1) -> list[int]:
    """A row of `Replay.commands`."""
    return [tick, config.command_names.index(name), *place, row, 0, 0, 0]


# ---------------------------------------------------------------------------- by hand
def test_new_row_of_one_bank_each_time(golden_config: Load) -> None:
    config = golden_config("DDR4")
    table = told(config, commands_of(config, "bigstride", 2), (0, 100))
    # ACT 1, RD 17 (nRCD 16), data 33 to 37 (nCL 16, nBL 4), PRE 40 (nRAS 39), ACT 56 (nRP 16)
    assert of_bank(table, config, "bg0 ba0") == [
        ("idle", 0, 1, None), ("activating", 1, 17, 0), ("open", 17, 33, 0),
        ("reading", 33, 37, 0), ("open", 37, 40, 0), ("precharging", 40, 56, None),
        ("activating", 56, 72, 1), ("open", 72, 88, 1), ("reading", 88, 92, 1),
        ("open", 92, 100, 1),
    ]  # fmt: skip
    assert of_bank(table, config, "bg3 ba3") == [("idle", 0, 100, None)]


def test_the_first_refresh_takes_all_banks_for_nrfc(golden_config: Load) -> None:
    config = golden_config("DDR4")
    table = told(config, commands_of(config, "seqR", 2000), (9350, 10_000))
    # PREab 9368, REFab 9384 (nRP 16), over at 9817 (nRFC 433); the last read was at 9359
    # 2000 reads of rows of 128 have opened 15 banks; to precharge the other does nothing
    closing = {row["bank"] for row in table.rows() if row["state"] == "precharging"}
    assert closing == set(bank_labels(config)) - {"bg3 ba3"}
    mine = of_bank(table, config, first_reading(table))
    # reads every nCCDL 6; data comes nCL 16 after them, while the row is being closed already
    assert [piece[:3] for piece in mine if 9363 <= piece[1] < 9817] == [
        ("reading", 9363, 9367), ("open", 9367, 9368), ("precharging", 9368, 9369),
        ("reading", 9369, 9373), ("precharging", 9373, 9375), ("reading", 9375, 9379),
        ("precharging", 9379, 9384), ("refreshing", 9384, 9817),
    ]  # fmt: skip
    refreshes = [row for row in table.rows() if row["state"] == "refreshing"]
    assert len(refreshes) == config.num_banks


def first_reading(table: Table) -> str:
    """The bank that reads first in the window."""
    reads = [row for row in table.rows() if row["state"] == "reading"]
    return str(min(reads, key=lambda row: float(row["start_ns"]))["bank"])


def test_a_split_activate_counts_from_its_first_half(golden_config: Load) -> None:
    config = golden_config("LPDDR5")
    table = told(config, commands_of(config, "seqR", 1), (0, 50))
    # ACT1 1, ACT2 2, open at 16 (nRCD 15), RD 17, data 34 to 36 (nCL 17, nBL_min 2)
    assert of_bank(table, config, "bg0 ba0") == [
        ("idle", 0, 1, None), ("activating", 1, 16, 0), ("open", 16, 34, 0),
        ("reading", 34, 36, 0), ("open", 36, 50, 0),
    ]  # fmt: skip


def test_the_first_data_ends_the_activation(golden_config: Load) -> None:
    config = golden_config("HBM3")
    place = [0, 0, 0, 0, 0]
    commands = np.array(
        [command(config, 1, "ACT", place, 5), command(config, 32, "WR", place, 5)], dtype=np.int64
    )
    table = told(config, commands, (0, 100))
    # nRCDWR 30 and nCWL 20 are over before nRCDRD 62
    assert of_bank(table, config, "pc0 sid0 bg0 ba0") == [
        ("idle", 0, 1, None), ("activating", 1, 52, 5), ("writing", 52, 56, 5),
        ("open", 56, 100, 5),
    ]  # fmt: skip
    # also where the window begins after the data, and before the activation would be over
    assert of_bank(told(config, commands, (57, 60)), config, "pc0 sid0 bg0 ba0") == [
        ("open", 57, 60, 5)
    ]


def test_of_states_that_overlap_the_busier_one_counts(golden_config: Load) -> None:
    config = golden_config("DDR4")
    place = [0, 0, 0, 0]
    commands = np.array(  # not legal, so that everything meets
        [
            command(config, 1, "ACT", place, 5),
            command(config, 20, "RD", place, 5),
            command(config, 30, "PREpb", place, 5),
            command(config, 31, "ACT", place, 6),
            command(config, 38, "REFab", [0, 0, -1, -1]),
        ],
        dtype=np.int64,
    )
    assert of_bank(told(config, commands, (16, 50)), config, "bg0 ba0") == [
        ("activating", 16, 17, 5), ("open", 17, 30, 5), ("precharging", 30, 31, None),
        ("activating", 31, 36, 6), ("reading", 36, 38, 5), ("refreshing", 38, 50, None),
    ]  # fmt: skip


def test_all_banks_of_lpddr5_close_more_slowly_than_one(golden_config: Load) -> None:
    config = golden_config("LPDDR5")
    opened = [command(config, 1, "ACT1", [0, 0, 0, i]) for i in (0, 1)]
    closed = [
        command(config, 50, "PREpb", [0, 0, 0, 0]),
        command(config, 52, "PREab", [0, 0, -1, -1]),
    ]
    table = told(config, np.array(opened + closed, dtype=np.int64), (40, 100))
    precharges = [of_bank(table, config, f"bg0 ba{i}")[1][:3] for i in (0, 1)]
    assert precharges == [("precharging", 50, 65), ("precharging", 52, 69)]  # nRP 15, nRPab 17


@pytest.mark.parametrize(("name", "delay"), [("RDA", 9), ("WRA", 12 + 4 + 18)])
def test_an_automatic_precharge_starts_later(name: str, delay: int, golden_config: Load) -> None:
    config = golden_config("DDR4")
    place = [0, 0, 0, 0]
    commands = np.array(
        [command(config, 1, "ACT", place, 5), command(config, 40, name, place, 5)], dtype=np.int64
    )
    precharges = [
        piece[1:3]
        for piece in of_bank(told(config, commands, (0, 200)), config, "bg0 ba0")
        if piece[0] == "precharging"
    ]
    end = 40 + delay + 16
    # data of the read, 56 to 60, is on the pins while the row closes
    assert precharges == ([(49, 56), (60, end)] if name == "RDA" else [(40 + delay, end)])


def test_a_refresh_of_one_bank_leaves_the_others(golden_config: Load) -> None:
    config = golden_config("HBM2")
    place = [0, 1, 2, 3]
    commands = np.array([command(config, 10, "REFpb", place)], dtype=np.int64)
    table = told(config, commands, (0, 500))
    assert of_bank(table, config, "pc1 bg2 ba3")[1] == ("refreshing", 10, 170, None)
    assert sum(row["state"] == "refreshing" for row in table.rows()) == 1


def test_what_was_before_the_window_is_remembered(golden_config: Load) -> None:
    config = golden_config("DDR4_2R")
    opened, refreshed = [0, 0, 1, 2], [0, 1, -1, -1]
    commands = np.array(
        [
            command(config, 1, "ACT", opened, 5),
            command(config, 1000, "REFab", refreshed),
            command(config, 1490, "WR", opened, 5),
        ],
        dtype=np.int64,
    )
    table = told(config, commands, (1500, 1600), part=1)
    assert of_bank(table, config, "ra0 bg1 ba2") == [  # data 1506 to 1510 (nCWL 16)
        ("open", 1500, 1506, 5), ("writing", 1506, 1510, 5), ("open", 1510, 1600, 5),
    ]  # fmt: skip
    assert of_bank(table, config, "ra1 bg0 ba0") == [  # nRFC 576
        ("refreshing", 1500, 1576, None), ("idle", 1576, 1600, None),
    ]  # fmt: skip
    assert of_bank(table, config, "ra0 bg0 ba0") == [("idle", 1500, 1600, None)]


def test_labels_leave_out_levels_of_one(golden_config: Load) -> None:
    labels = bank_labels(golden_config("HBM3"), 2)
    assert (labels[0], labels[-1]) == ("ch0 pc0 sid0 bg0 ba0", "ch1 pc1 sid1 bg3 ba3")
    assert len(set(labels)) == 128
    assert bank_labels(golden_config("DDR4"))[5] == "bg1 ba1"


def test_channels_have_their_own_banks(golden_config: Load) -> None:
    config = golden_config("GDDR6")
    commands = np.array([command(config, 1, "ACT", [1, 2, 3], 7)], dtype=np.int64)
    table = told(config, commands, (0, 10), channels=2)
    assert of_bank(table, config, "ch1 bg2 ba3")[1] == ("activating", 1, 10, 7)
    assert of_bank(table, config, "ch0 bg2 ba3") == [("idle", 0, 10, None)]


# ---------------------------------------------------------------------------- invariants
def tiles(table: Table, config: DramConfig, window: tuple[int, int], channels: int = 1) -> None:
    """Every bank's slices lie end to end, from one end of the window to the other."""
    labels = bank_labels(config, channels)
    pieces: dict[str, list[tuple[str, int, int, int | None]]] = {label: [] for label in labels}
    ns = config.tick_ps / 1000
    for row in table.rows():
        start, end = round(row["start_ns"] / ns), round(row["end_ns"] / ns)
        pieces[row["bank"]].append((row["state"], start, end, row["row"]))
    for mine in pieces.values():
        assert [mine[0][1], mine[-1][2]] == list(window)
        assert all(start < end for _, start, end, _ in mine)
        assert all(a[2] == b[1] for a, b in pairwise(mine))
        assert sum(end - start for _, start, end, _ in mine) == window[1] - window[0]
        assert all((a[0], a[3]) != (b[0], b[3]) for a, b in pairwise(mine))


@st.composite
def any_commands(draw: st.DrawFn, config: DramConfig) -> Commands:
    """Commands in order, legal or not, some of them to all banks below a node."""
    rows = []
    for tick in sorted(draw(st.lists(st.integers(0, 400), max_size=30))):
        depth = draw(st.integers(1, len(config.levels)))
        place = [draw(st.integers(0, count - 1)) for count in config.level_counts[:depth]]
        place += [-1] * (len(config.levels) - depth)
        name = draw(st.sampled_from(config.command_names))
        rows.append(command(config, tick, name, place, draw(st.integers(0, 3))))
    return np.array(rows, dtype=np.int64).reshape(-1, len(config.levels) + 6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_slices_tile_the_window_whatever_comes(data: st.DataObject, golden_config: Load) -> None:
    config = golden_config(data.draw(st.sampled_from(("DDR4", "LPDDR5_2R", "GDDR6", "HBM2"))))
    commands = data.draw(any_commands(config))
    start = data.draw(st.integers(0, 500))
    window = start, start + data.draw(st.integers(1, 300))
    whole = told(config, commands, window)
    tiles(whole, config, window)


def banks_reached(config: DramConfig, place: list[int]) -> list[int]:
    """Numbers of the banks below an address, -1 for all of a level."""
    banks = [0]
    for count, index in zip(config.level_counts, place, strict=True):
        indices = range(count) if index < 0 else [index]
        banks = [bank * count + i for bank in banks for i in indices]
    return banks


def slow_state(config: DramConfig, commands: list[tuple[int, str, int]], tick: int) -> str:
    """State of one bank at a tick, from all its commands (tick, name, row): one rule at a time."""
    t, burst = config.times, config.burst_ticks
    close_after = {"RDA": t["rtp"], "WRA": t["cwl"] + burst + t["wr"], "PREpb": 0, "PREab": 0}
    refresh_for = {"REFab": t["rfc"], "REFpb": t.get("rfcpb", 0)}
    close_for = {"PREab": t.get("rpab", t["rp"])}
    first_data = {"RD": t["cl"], "RDA": t["cl"], "WR": t["cwl"], "WRA": t["cwl"]}
    for at, name, _ in commands:
        if name in refresh_for and at <= tick < at + refresh_for[name]:
            return "refreshing"
    for at, name, _ in commands:
        if name in first_data and at + first_data[name] <= tick < at + first_data[name] + burst:
            return "reading" if name.startswith("RD") else "writing"
    opened = [at for at, name, _ in commands if name in ("ACT", "ACT1") and at <= tick]
    if not opened:
        return "idle"
    closes = sorted(
        (at + close_after[name], name)
        for at, name, _ in commands
        if name in close_after and at + close_after[name] > opened[-1]
    )
    seen = [at + first_data[name] for at, name, _ in commands if name in first_data]
    has_data = any(opened[-1] < at <= tick for at in seen)
    if tick < opened[-1] + t.get("rcd", t.get("rcdrd", 0)) and not has_data:
        return "activating"
    if not closes or tick < closes[0][0]:
        return "open"
    is_closing = tick < closes[0][0] + close_for.get(closes[0][1], t["rp"])
    return "precharging" if is_closing else "idle"


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_replays_agree_with_a_slow_look_at_every_tick(
    data: st.DataObject, golden_config: Load
) -> None:
    config = golden_config(data.draw(st.sampled_from(NAMES)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    burst = rng.integers(0, 1 << 20, 150) * data.draw(st.sampled_from([1, 64])) % (1 << 20)
    is_write = (rng.random(150) < data.draw(st.sampled_from([0.0, 0.4, 1.0]))).astype(np.int64)
    refreshes = ["AllBank"] + ["PerBank"] * ("refipb" in config.times)
    commands = replay(
        config,
        words_of(burst * config.burst_bytes, is_write),
        row_policy=data.draw(st.sampled_from(["Open", "ClosedCAP"])),
        refresh=data.draw(st.sampled_from(refreshes)),
        gap=data.draw(st.sampled_from([1, 100])),
        with_commands=True,
    ).commands
    last = int(commands[-1, 0])
    start = data.draw(st.integers(0, last))
    window = start, start + data.draw(st.integers(1, 400))
    parts = data.draw(st.sampled_from([7, 100_000]))
    table = told(config, commands, window, part=parts)
    tiles(table, config, window)
    depth = len(config.levels)
    per_bank: list[list[tuple[int, str, int]]] = [[] for _ in range(config.num_banks)]
    for row in commands.tolist():
        for bank in banks_reached(config, row[2 : 2 + depth]):
            per_bank[bank].append((row[0], config.command_names[row[1]], row[2 + depth]))
    for bank, label in enumerate(bank_labels(config)):
        for state, begin, end, row in of_bank(table, config, label):
            for tick in {begin, (begin + end) // 2, end - 1}:
                assert state == slow_state(config, per_bank[bank], tick), (label, tick)
            if state in ("activating", "open"):
                opened = [r for at, name, r in per_bank[bank] if name[:3] == "ACT" and at <= begin]
                assert row == opened[-1]


def test_what_is_kept_of_a_long_past_does_not_grow(golden_config: Load) -> None:
    config = golden_config("HBM3")
    commands = commands_of(config, "randRW", 8000, row_policy="ClosedCAP")
    history = BankHistory(config, 1 << 30, (1 << 30) + 1)
    for start in range(0, len(commands), 500):
        history.add(commands[start : start + 500])
        assert len(history._before) <= 2 * config.num_banks
    assert len(history._before) > config.num_banks // 2


# ---------------------------------------------------------------------------- bad input
def test_a_window_with_too_many_commands_names_one_that_fits(
    golden_config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = golden_config("HBM2")
    monkeypatch.setattr(bank_states, "MAX_COMMANDS", 10)
    commands = np.array(
        [command(config, 5 * i, "RD", [0, 0, 0, 0], 1) for i in range(40)], dtype=np.int64
    )
    with pytest.raises(UserError, match=r"20 ns to 90 ns: it holds more than 10 commands.*70 ns$"):
        told(config, commands, (20, 90), part=3)
    told(config, commands, (20, 70), part=3)  # the window that was named: 20, 25, ... 65


@pytest.mark.parametrize("window", [(5, 5), (9, 3), (-1, 4)])
def test_a_window_must_hold_time(window: tuple[int, int], golden_config: Load) -> None:
    with pytest.raises(UserError, match="must start at 0 or later, and end after its start"):
        BankHistory(golden_config("DDR4"), *window)
