"""The checker finds every planted violation of a rule that is no gap, and reads command files.

The gaps have a file of their own: test_checker_rows.py.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bankwidth.devices.dram import DramConfig
from bankwidth.devices.dram.checker import (
    EVERY,
    Issued,
    first_violation,
    issued_of,
    violations,
)
from bankwidth.devices.dram.command_file import read_commands
from bankwidth.devices.dram.commands import Level
from bankwidth.errors import SpecError, TraceError

Load = Callable[[str], DramConfig]
Short = tuple[int, str, str] | tuple[int, str, str, int]  # tick, command, place by digits, row


def issued(short: Short) -> Issued:
    """`0010` is a place, `00**` one with everything below the second level."""
    tick, name, digits, *row = short
    place = tuple(EVERY if digit == "*" else int(digit) for digit in digits)
    return Issued(tick, name, place, *row)


def said(config: DramConfig, *commands: Short) -> str:
    """What the checker says of the first violation; it must be of the last command."""
    trace = [issued(command) for command in commands]
    assert first_violation(trace[:-1], config) is None
    found = first_violation(trace, config)
    if found is None:
        return ""
    assert found.command == trace[-1]
    return str(found)


# ---------------------------------------------------------------------------- gaps, by hand
def test_exact_gap_is_allowed(golden_config: Load) -> None:
    config = golden_config("DDR4")  # nRCD 16, nRAS 39
    opened: tuple[Short, ...] = ((1, "ACT", "0012"), (17, "RD", "0012"))
    assert said(config, *opened, (40, "PREpb", "0012")) == ""
    assert said(config, *opened, (39, "PREpb", "0012")) == (
        "tick 39: PREpb (0, 0, 1, 2) is 38 ticks after ACT (0, 0, 1, 2), at least 39 per Bank"
    )
    found = first_violation(map(issued, [*opened, (39, "PREpb", "0012")]), config)
    assert found is not None
    assert found.rule is not None
    assert (found.rule.level, found.rule.gap_ticks) == (Level.BANK, 39)
    assert found.before == issued(opened[0])


def test_window_counts_the_fourth_last(golden_config: Load) -> None:
    config = golden_config("DDR4")  # nFAW 26, nRRDS 4
    acts: list[Short] = [(4 * i + 1, "ACT", f"00{i}0") for i in range(4)]
    assert said(config, *acts, (27, "ACT", "0001")) == ""
    assert said(config, *acts, (26, "ACT", "0001")).endswith(
        "is 25 ticks after the 4th last ACT (0, 0, 0, 0), at least 26 per Rank"
    )


def test_sibling_rows_bind_the_other_rank(golden_config: Load) -> None:
    config = golden_config("DDR4_2R")  # nBL + nCS = 4 + 2
    opened: list[Short] = [(1, "ACT", "0000"), (3, "ACT", "0100"), (40, "RD", "0000")]
    assert said(config, *opened, (46, "RD", "0100")) == ""
    assert said(config, *opened, (45, "RD", "0100")).endswith(
        "is 5 ticks after RD (0, 0, 0, 0), at least 6 to another Rank"
    )


def test_younger_commands_do_not_hide_an_older_one(golden_config: Load) -> None:
    opened: list[Short] = [(1, "ACT", "0000"), (37, "ACT", "0010")]
    assert said(golden_config("DDR4"), *opened, (40, "PREpb", "0000")) == ""
    assert "at least 39 per Bank" in said(golden_config("DDR4"), *opened, (39, "PREpb", "0000"))


def test_other_bank_is_not_bound(golden_config: Load) -> None:
    assert said(golden_config("DDR4"), (1, "ACT", "0000"), (5, "ACT", "0010")) == ""


def test_channels_are_checked_each_by_itself(golden_config: Load) -> None:
    config = golden_config("DDR4")
    both: list[Short] = [(1, "ACT", "0000"), (1, "ACT", "1000"), (17, "RD", "1000")]
    assert said(config, *both, (17, "RD", "0000")) == ""
    assert "needs its bank open" in said(config, *both, (17, "RD", "2000"))


# ---------------------------------------------------------------------------- names and places
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((1, "ACTT", "0000"), "is no command of DDR4, allowed: ACT, .*did you mean 'ACT'"),
        ((1, "REFpb", "0000"), "is no command of DDR4"),
        ((1, "ACT", "000"), "must have 4 indices: Channel, Rank, BankGroup, Bank"),
        ((1, "ACT", "0040"), "must have a BankGroup of 0 to 3"),
        ((1, "ACT", "0100"), "must have a Rank of 0 to 0"),
        ((1, "ACT", "00**"), "must have a BankGroup of 0 to 3"),
        ((1, "PREab", "0*00"), "must have a Rank of 0 to 0"),
        ((1, "PREab", "0000"), "goes to all banks below Rank: BankGroup must be -1"),
        ((1, "ACT", "*000"), "must have a Channel of 0 to the last channel"),
    ],
)
def test_a_command_that_goes_nowhere(command: Short, words: str, golden_config: Load) -> None:
    found = first_violation([issued(command)], golden_config("DDR4"))
    assert found is not None
    assert re.search(words, found.problem)


def test_commands_come_in_the_order_of_time(golden_config: Load) -> None:
    assert said(golden_config("DDR4"), (9, "ACT", "0000"), (8, "ACT", "0010")) == (
        "tick 8: ACT (0, 0, 1, 0) is listed after ACT (0, 0, 0, 0) of tick 9"
    )


# ---------------------------------------------------------------------------- command buses
def test_one_bus_carries_one_command_a_tick(golden_config: Load) -> None:
    config = golden_config("DDR4_2R")
    opened: tuple[Short, ...] = ((1, "ACT", "0000"), (30, "RD", "0000"))
    assert said(config, *opened, (31, "ACT", "0100")) == ""
    assert said(config, *opened, (30, "ACT", "0100")) == (
        "tick 30: ACT (0, 1, 0, 0) finds its command bus taken by RD (0, 0, 0, 0) until tick 31"
    )


def test_row_and_column_bus_carry_one_command_each(golden_config: Load) -> None:
    config = golden_config("HBM2")
    opened: list[Short] = [(1, "ACT", "0000"), (9, "ACT", "0100"), (50, "RD", "0000")]
    assert said(config, *opened, (50, "PREpb", "0100")) == ""
    assert "bus taken by RD" in said(config, *opened, (50, "RD", "0100"))


def test_long_commands_hold_their_bus(golden_config: Load) -> None:
    config = replace(golden_config("DDR5_2R"), constraints=())  # an activate takes two ticks
    assert "until tick 3" in said(config, (1, "ACT", "0000"), (2, "ACT", "0100"))
    assert said(config, (1, "ACT", "0000"), (3, "ACT", "0100")) == ""
    assert said(config, (1, "PREpb", "0000"), (2, "ACT", "0100")) == ""


# ---------------------------------------------------------------------------- banks
OPENED: tuple[Short, ...] = ((1, "ACT", "0012", 7),)


@pytest.mark.parametrize(
    ("before", "command", "words"),
    [
        ((), (1, "RD", "0012"), "needs its bank open, it is closed from the start"),
        ((), (1, "WR", "0012"), "needs its bank open, it is closed from the start"),
        ((), (1, "RDA", "0012"), "needs its bank open, it is closed from the start"),
        ((), (1, "WRA", "0012"), "needs its bank open, it is closed from the start"),
        (OPENED, (2000, "RD", "0013"), "needs its bank open, it is closed from the start"),
        (OPENED, (2000, "ACT", "0012"), "needs its bank closed, it is open since ACT"),
        (OPENED, (2000, "REFab", "00**"), "needs its bank closed, it is open since ACT"),
        (OPENED, (2000, "RD", "0012", 8), "is for row 8, open is row 7"),
        (OPENED, (2000, "WR", "0012", 8), "is for row 8, open is row 7"),
        (
            (*OPENED, (100, "RDA", "0012", 7)),
            (2000, "RD", "0012", 7),
            r"it is closed since RDA \(0, 0, 1, 2\) of tick 100",
        ),
        (
            (*OPENED, (100, "WRA", "0012", 7)),
            (2000, "WR", "0012", 7),
            r"it is closed since WRA \(0, 0, 1, 2\) of tick 100",
        ),
        (
            (*OPENED, (100, "PREpb", "0012")),
            (2000, "RD", "0012", 7),
            r"it is closed since PREpb \(0, 0, 1, 2\) of tick 100",
        ),
        (
            (*OPENED, (100, "PREab", "00**")),
            (2000, "RD", "0012", 7),
            r"it is closed since PREab \(0, 0, -1, -1\) of tick 100",
        ),
    ],
)
def test_a_bank_in_the_wrong_state(
    before: tuple[Short, ...], command: Short, words: str, golden_config: Load
) -> None:
    assert re.search(words, said(golden_config("DDR4"), *before, command))


def test_banks_in_the_right_state(golden_config: Load) -> None:
    config = golden_config("DDR4")
    closed: tuple[Short, ...] = (*OPENED, (100, "PREpb", "0012"), (200, "PREpb", "0012"))
    assert said(config, *closed, (300, "REFab", "00**"), (2000, "ACT", "0012", 8)) == ""
    assert said(config, *OPENED, (100, "RD", "0012"), (200, "WR", "0012", 7)) == ""


def test_one_open_bank_stops_the_refresh_of_its_scope_only(golden_config: Load) -> None:
    config = golden_config("HBM2")  # two pseudo-channels
    opened: tuple[Short, ...] = ((1, "ACT", "0132"),)
    assert said(config, *opened, (2000, "REFab", "00**")) == ""
    assert "needs its bank closed" in said(config, *opened, (2000, "REFab", "01**"))


def test_per_bank_refresh_needs_its_bank_closed(golden_config: Load) -> None:
    config = golden_config("HBM2")
    opened: tuple[Short, ...] = ((1, "ACT", "0132"),)
    assert said(config, *opened, (2000, "REFpb", "0131")) == ""
    assert "needs its bank closed" in said(config, *opened, (2000, "REFpb", "0132"))


@pytest.mark.parametrize("name", ["RFMab", "RFMpb"])
def test_refresh_management_needs_its_banks_closed(name: str, golden_config: Load) -> None:
    config = golden_config("HBM3")
    place = "00***" if name == "RFMab" else "00000"
    assert said(config, (2001, name, place)) == ""
    assert "needs its bank closed" in said(config, (1, "ACT", "00000"), (2001, name, place))


# ---------------------------------------------------------------------------- clock edges (HBM3)
@pytest.mark.parametrize(
    "command",
    [
        (2000, "RD", "00000"), (2000, "WR", "00000"), (2000, "RDA", "00000"),
        (2000, "WRA", "00000"), (2000, "ACT", "00010"), (2000, "REFpb", "00010"),
        (2000, "REFab", "01***"), (2000, "RFMpb", "00010"), (2000, "RFMab", "01***"),
    ],
)  # fmt: skip
def test_falling_edges_are_for_precharges(command: Short, golden_config: Load) -> None:
    config, opened = golden_config("HBM3"), (1, "ACT", "00000")
    assert said(config, opened, command).endswith(
        "is on a falling edge, where only precharges may go"
    )
    assert said(config, opened, (2001, *command[1:])) == ""
    for precharge in ((2000, "PREpb", "00000"), (2000, "PREab", "00***")):
        assert said(config, opened, precharge) == ""


@pytest.mark.parametrize(
    ("rising", "precharge", "is_legal"),
    [
        ((2001, "REFpb", "00000"), (2002, "PREpb", "00000"), False),
        ((2001, "REFpb", "00000"), (2002, "PREab", "00***"), False),
        ((2001, "REFpb", "00000"), (2002, "PREpb", "00001"), True),
        ((2001, "REFpb", "00000"), (2002, "PREab", "01***"), True),
        ((2001, "REFpb", "00000"), (2004, "PREpb", "00000"), True),
        ((2001, "REFab", "00***"), (2002, "PREpb", "00123"), False),
        ((2001, "REFab", "00***"), (2002, "PREpb", "01123"), True),
        ((2001, "RFMab", "00***"), (2002, "PREpb", "00123"), False),
        ((2001, "PREpb", "00000"), (2002, "PREpb", "00000"), False),
        ((2001, "PREab", "00***"), (2002, "PREpb", "00123"), False),
        ((2001, "ACT", "00000"), (2004, "PREpb", "00000"), False),
        ((2001, "ACT", "00000"), (2004, "PREab", "00***"), False),
        ((2001, "ACT", "00000"), (2004, "PREpb", "00001"), True),
        ((2001, "ACT", "00000"), (2004, "PREab", "01***"), True),
        ((2001, "ACT", "00000"), (2006, "PREab", "00***"), True),
    ],
)
def test_a_precharge_beside_a_row_command(
    rising: Short, precharge: Short, is_legal: bool, golden_config: Load
) -> None:
    config = replace(golden_config("HBM3"), constraints=())  # gaps forbid some of them anyway
    text = said(config, rising, precharge)
    assert (text == "") is is_legal
    assert is_legal or f"is on the falling edge beside {rising[1]}" in text


def test_a_column_command_does_not_pair_with_a_precharge(golden_config: Load) -> None:
    config = replace(golden_config("HBM3"), constraints=())  # nRTP forbids it anyway
    opened: tuple[Short, ...] = ((1, "ACT", "00000"), (301, "RD", "00000"))
    assert said(config, *opened, (302, "PREpb", "00000")) == ""


# ---------------------------------------------------------------------------- LPDDR5
HALF: tuple[Short, ...] = ((1, "ACT1", "0012", 7),)
WHOLE: tuple[Short, ...] = (*HALF, (2, "ACT2", "0012", 7))
READ: tuple[Short, ...] = (*WHOLE, (100, "CAS_RD", "0012", 7), (101, "RD", "0012", 7))


@pytest.mark.parametrize(
    ("before", "command", "words"),
    [
        ((), (1, "ACT2", "0012"), "needs its bank half activated, it is closed"),
        (WHOLE, (3, "ACT2", "0012", 7), "needs its bank half activated, it is open"),
        (HALF, (2, "ACT2", "0012", 8), "is for row 8, open is row 7"),
        (HALF, (10, "ACT2", "0012", 7), "is 9 ticks after ACT1 .*must follow within 8"),
        (HALF, (10, "PREpb", "0002"), "is 9 ticks after ACT1 .*must follow within 8"),
        (HALF, (6, "ACT1", "0002"), r"comes before the ACT2 of ACT1 \(0, 0, 1, 2\)"),
        (HALF, (5, "CAS_RD", "0012"), "needs its bank open, it is half activated since ACT1"),
        (HALF, (2, "PREpb", "0012"), "at least 34 per Bank"),
        (HALF, (2, "PREab", "00**"), "at least 34 per Rank"),
        (WHOLE, (100, "RD", "0012", 7), "needs the data clock, which stops at tick 0"),
        (WHOLE, (100, "WRA", "0012", 7), "needs the data clock, which stops at tick 0"),
        ((), (1, "CAS_WR", "0012"), "needs its bank open, it is closed"),
        (WHOLE, (100, "CAS_RD", "0012", 8), "is for row 8, open is row 7"),
        # nCL 17 + nBL 2 + nWCKPST 1 after the read of tick 101
        (READ, (121, "RD", "0012", 7), "needs the data clock, which stops at tick 121"),
        # and nCWL 9 + 2 + 1 after a write
        ((*READ, (113, "WR", "0012", 7)), (125, "WR", "0012", 7), "which stops at tick 125"),
        (READ[:3], (101, "WR", "0012", 7), r"comes between CAS_RD \(0, 0, 1, 2\) and its read"),
        (READ[:3], (101, "PREpb", "0000"), "comes between CAS_RD"),
        (READ[:3], (101, "CAS_RD", "0012"), "comes between CAS_RD"),
    ],
)
def test_lpddr5_rules(
    before: tuple[Short, ...], command: Short, words: str, golden_config: Load
) -> None:
    assert re.search(words, said(golden_config("LPDDR5"), *before, command))


def test_a_synchronised_read_is_of_the_bank_it_was_for(golden_config: Load) -> None:
    config = golden_config("LPDDR5")
    other: tuple[Short, ...] = ((50, "ACT1", "0010"), (51, "ACT2", "0010"))
    trace: tuple[Short, ...] = (*WHOLE, *other, (100, "CAS_RD", "0012"))
    assert said(config, *trace, (101, "RD", "0012")) == ""
    assert "comes between CAS_RD" in said(config, *trace, (101, "RD", "0010"))


@pytest.mark.parametrize("name", ["PREpb", "PREab", "REFab", "REFpb"])
def test_a_half_activated_bank_is_not_closed_or_refreshed(name: str, golden_config: Load) -> None:
    config = replace(golden_config("LPDDR5"), constraints=())  # gaps forbid it anyway
    place = "00**" if name.endswith("ab") else "0012"
    assert "it is half activated" in said(config, *HALF, (4, name, place))


def test_lpddr5_in_order(golden_config: Load) -> None:
    config = golden_config("LPDDR5")
    assert said(config, *HALF, (9, "ACT2", "0012", 7)) == ""
    assert said(config, *HALF, (5, "PREpb", "0002"), (6, "ACT2", "0012", 7)) == ""
    assert said(config, *READ, (120, "RD", "0012", 7), (139, "RDA", "0012", 7)) == ""
    assert said(config, *READ, (121, "CAS_RD", "0012"), (122, "RD", "0012", 7)) == ""
    assert said(config, *READ[:3], (102, "RDA", "0012", 7)) == ""


# ---------------------------------------------------------------------------- data pins
@pytest.mark.parametrize(
    ("name", "first", "second", "is_legal"),
    [  # DDR4_2R: nCL 22, nCWL 16, nBL 4
        ("DDR4_2R", (50, "RD", "0000"), (53, "RD", "0010"), False),
        ("DDR4_2R", (50, "RD", "0000"), (54, "RD", "0010"), True),
        ("DDR4_2R", (50, "WRA", "0000"), (53, "WR", "0010"), False),
        ("DDR4_2R", (50, "RD", "0000"), (52, "WR", "0010"), True),
        ("DDR4_2R", (50, "RD", "0000"), (53, "WR", "0010"), False),
        ("DDR4_2R", (50, "RD", "0000"), (59, "WR", "0010"), False),
        ("DDR4_2R", (50, "RD", "0000"), (60, "WR", "0010"), True),
        ("DDR4_2R", (50, "RD", "0000"), (53, "RD", "0100"), True),  # ranks are not compared
        ("GDDR6", (50, "RD", "000"), (51, "RD", "010"), False),
        ("GDDR6", (50, "RD", "000"), (52, "RD", "010"), True),
        ("HBM2", (50, "RD", "0000"), (51, "RD", "0010"), False),
        ("HBM2", (50, "RD", "0000"), (51, "RD", "0100"), True),
    ],
)
def test_bursts_do_not_overlap(
    name: str, first: Short, second: Short, is_legal: bool, golden_config: Load
) -> None:
    config = replace(golden_config(name), constraints=())  # gaps forbid it anyway
    opened: list[Short] = [(1, "ACT", first[2]), (5, "ACT", second[2])]
    text = said(config, *opened, first, second)
    assert (text == "") is is_legal
    assert is_legal or "a burst takes" in text


# ---------------------------------------------------------------------------- refreshes
def test_a_refresh_is_one_interval_late_at_most(golden_config: Load) -> None:
    config = golden_config("DDR4_2R")
    interval = config.times["refi"]
    trace = [
        issued(short) for short in ((interval, "REFab", "00**"), (interval + 1, "REFab", "01**"))
    ]
    late = [*trace, issued((3 * interval - 1, "ACT", "0000"))]
    assert first_violation(late, config, refresh="AllBank") is None
    late = [*trace, issued((3 * interval, "ACT", "0000"))]
    assert first_violation(late, config) is None
    found = first_violation(late, config, refresh="AllBank")
    assert found is not None
    assert found.problem == (
        "comes when bank (0, 0, 0) has been refreshed 1 times, due are 3 "
        f"(one every {interval} ticks)"
    )


def test_every_bank_has_its_turn_of_per_bank_refreshes(golden_config: Load) -> None:
    config = golden_config("HBM2")
    interval = config.times["refipb"]
    banks = [f"0{b >> 4}{b >> 2 & 3}{b & 3}" for b in range(32)]
    trace = [issued((interval * (i + 1), "REFpb", banks[i % 32])) for i in range(70)]
    assert first_violation(trace, config, refresh="PerBank") is None
    without = [command for command in trace if command.place != (0, 1, 2, 3)]
    found = first_violation(without, config, refresh="PerBank")
    assert found is not None
    assert "bank (1, 2, 3) has been refreshed 0 times, due are 2" in found.problem


def test_paired_refreshes_have_half_the_period(golden_config: Load) -> None:
    config = golden_config("HBM3")
    interval = config.times["refipb"]  # even, so the ticks below are odd
    banks = [(sid, group, bank) for sid in (0, 1) for group in range(4) for bank in range(4)]
    trace = [
        Issued(interval * (i + 1) + 1 + 2 * pseudo, "REFpb", (0, pseudo, *banks[i % 32]))
        for i in range(70)
        for pseudo in (0, 1)
    ]
    assert first_violation(trace, config, refresh="HBM34PerBankRefresh") is None
    without = [command for command in trace if command.place != (0, 1, 1, 2, 3)]
    found = first_violation(without, config, refresh="HBM34PerBankRefresh")
    assert found is not None
    assert "bank (1, 1, 2, 3) has been refreshed 0 times, due are 2" in found.problem


@pytest.mark.parametrize(
    ("refresh", "message"),
    [("allbank", "did you mean 'AllBank'"), ("PerBank", "DDR4 has no refresh 'PerBank'")],
)
def test_a_refresh_that_cannot_be(refresh: str, message: str, golden_config: Load) -> None:
    with pytest.raises(SpecError, match=message):
        first_violation([issued((1, "ACT", "0000"))], golden_config("DDR4"), refresh=refresh)


# ---------------------------------------------------------------------------- all of them
def test_violations_go_on_as_if_nothing_had_happened(golden_config: Load) -> None:
    trace = [issued(x) for x in ((1, "ACT", "0000"), (16, "RD", "0000"), (17, "RD", "0010"))]
    found = [str(violation) for violation in violations(trace, golden_config("DDR4"))]
    assert found == [
        "tick 16: RD (0, 0, 0, 0) is 15 ticks after ACT (0, 0, 0, 0), at least 16 per Bank",
        *(
            f"tick 17: RD (0, 0, 1, 0) is 1 ticks after RD (0, 0, 0, 0), at least 4 per {level}"
            for level in ("Channel", "Rank")
        ),
        "tick 17: RD (0, 0, 1, 0) needs its bank open, it is closed from the start",
        "tick 17: RD (0, 0, 1, 0) has data from tick 33 on, RD (0, 0, 0, 0) has from tick 32 on, "
        "a burst takes 4",
    ]


def test_commands_of_a_replay_keep_their_rows(golden_config: Load) -> None:
    words = np.array([[5, 0, 0, 0, 1, 2, 9, 3, 0, 4]], dtype=np.int64)
    assert list(issued_of(words, golden_config("DDR4"))) == [Issued(5, "ACT", (0, 0, 1, 2), 9)]


# ---------------------------------------------------------------------------- command files
HEADER = "clk,cmd,Channel,Rank,BankGroup,Bank,Row,Column,type,arrive\n"
LINES = "1,ACT,0,0,1,2,7,0,0,0\n17,RD,0,0,1,2,7,0,0,0\n\n9364,PREab,0,0,-1,-1,-1,-1,-1,-1\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "commands.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_command_file_is_read(is_packed: bool, tmp_path: Path, golden_config: Load) -> None:
    data = (HEADER + LINES).encode()
    path = write(tmp_path, gzip.compress(data) if is_packed else data)
    assert list(read_commands(path, golden_config("DDR4"))) == [
        Issued(1, "ACT", (0, 0, 1, 2), 7),
        Issued(17, "RD", (0, 0, 1, 2), 7),
        Issued(9364, "PREab", (0, 0, EVERY, EVERY), -1),
    ]


def test_columns_come_in_any_order(tmp_path: Path, golden_config: Load) -> None:
    path = write(tmp_path, "cmd,Bank,BankGroup,Rank,Channel,note,clk\r\nACT,2,1,0,0,mine,5\r\n")
    assert list(read_commands(path, golden_config("DDR4"))) == [Issued(5, "ACT", (0, 0, 1, 2))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"commands.csv:1: empty, need a line of columns: clk, cmd, Channel, Rank"),
        (LINES, "csv:1: no column 'clk'; a DDR4 file has clk, cmd, Channel, Rank, Bank"),
        (
            HEADER.replace("BankGroup", "bankgroup"),
            "csv:1: no column 'BankGroup', is it 'bankgroup'",
        ),
        (HEADER + "1,ACT,0,0,1,2,7,0,0\n", "csv:2: 9 columns, line 1 names 10"),
        (HEADER + LINES + "2,ACT,0,0,1,2,7,0,0,0,0\n", "csv:6: 11 columns, line 1 names 10"),
        (HEADER + "one,ACT,0,0,1,2,7,0,0,0\n", "csv:2: clk must be a whole number, got 'one'"),
        (HEADER + "1,ACT,0,0,1,2,x,0,0,0\n", "csv:2: Row must be a whole number, got 'x'"),
        (HEADER + "1,ATC,0,0,1,2,7,0,0,0\n", "csv:2: ATC .*is no command.*did you mean 'ACT'"),
        (HEADER + "1,ACT,0,0,1,4,7,0,0,0\n", "csv:2: ACT .*must have a Bank of 0 to 3"),
        (b"\x1f\x8b broken", "commands.csv: damaged or truncated gzip file"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], "commands.csv: damaged or truncated gzip"),
        (b"clk\xff\n", r"commands.csv: not text \(UTF-8\)"),
    ],
)
def test_a_wrong_command_file_is_named(
    text: str | bytes, message: str, tmp_path: Path, golden_config: Load
) -> None:
    with pytest.raises(TraceError, match=message):
        list(read_commands(write(tmp_path, text), golden_config("DDR4")))


def test_a_missing_command_file_is_named(tmp_path: Path, golden_config: Load) -> None:
    with pytest.raises(TraceError, match=r"none.csv: cannot be read: No such file"):
        list(read_commands(tmp_path / "none.csv", golden_config("DDR4")))
