"""Levels, windows, modes, barriers and the queue, on an invented design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.pim.invented import invented

from bankwidth.devices.pim.channel import LogEntry, PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.errors import SimulationError, SpecError
from bankwidth.spec import PimSpec

Macro = tuple[str, int, int, int]
NO = -1
BAR: Macro = ("|", 1, 0, NO)


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PimSpec]:
    """The design under several controllers."""
    folder = tmp_path_factory.mktemp("invented")
    return {
        "in_order": invented(folder, order="in_order", queue=1, rows_ahead=False),
        "ahead": invented(folder, order="in_order"),
        "first_ready": invented(folder),
        "ordered": invented(folder, barrier="order"),
        "two_buses": invented(folder, row_and_column=True),
        "ordered_buses": invented(folder, row_and_column=True, barrier="order"),
    }


def _run(
    spec: PimSpec, macros: Sequence[Macro], *, refresh: bool = False, plain: bool = False
) -> list[LogEntry]:
    channel = PimChannel(config_of(spec), refresh=refresh, log=True)
    channel.run(_program(config_of(spec), macros, plain=plain))
    assert violations(channel.log, spec) == []
    assert sum(channel.parts_ck.values()) == channel.busy_ck
    return channel.log


def _program(config: PimConfig, macros: Sequence[Macro], *, plain: bool = False) -> ChannelProgram:
    listed = MacroList(config)
    for name, count, row, bank in macros:
        if name == "|":
            listed.barrier()
        else:
            listed.add(name, count, row, bank)
    return ChannelProgram(macros=listed.build(), channels=1, is_plain=plain)


def _ticks(log: Sequence[LogEntry], command: str) -> list[int]:
    return [entry.tick for entry in log if entry.command == command]


# ---- levels -------------------------------------------------------------------------------------


def test_banks_are_numbered_from_the_outermost_level_in(specs: dict[str, PimSpec]) -> None:
    config = config_of(specs["in_order"])
    assert config.touched("RD", 5) == [5]
    assert config.touched("MAC", 5) == [1, 3, 5, 7]  # bank 1 of every group
    assert config.touched("MAC", 4) == [0, 2, 4, 6]
    assert config.touched("PRE_ALL") == list(range(8))
    assert config.touched("LOAD") == []


def test_a_gap_holds_within_an_instance_of_its_level(specs: dict[str, PimSpec]) -> None:
    """Reads: 3 ck within a bank group, 2 across. Banks 0 and 1 are of one group, 2 of the next."""
    log = _run(specs["in_order"], [("RD", 1, 0, 0), ("RD", 1, 0, 1), ("RD", 2, 0, 0)])
    assert _ticks(log, "RD") == [5, 5 + 1 + 5, 14, 17]
    log = _run(specs["in_order"], [("RD", 1, 0, 0), ("RD", 1, 0, 2), ("RD", 1, 0, 0)])
    assert _ticks(log, "RD") == [5, 11, 13]


def test_a_broadcast_opens_the_banks_that_it_touches(specs: dict[str, PimSpec]) -> None:
    log = _run(
        specs["in_order"],
        [("GO", 1, 3, 0), ("MAC", 2, 3, 1), ("STOP", 1, 0, NO), ("RD", 1, 3, 7), ("RD", 1, 3, 0)],
    )
    assert [e.command for e in log] == ["ACT", "GO", "ACT_SB", "MAC", "MAC", "STOP", "RD", "RD"]


def test_a_broadcast_closes_what_differs(specs: dict[str, PimSpec]) -> None:
    log = _run(specs["in_order"], [("RD", 1, 2, 3), ("GO", 1, 3, 0), ("MAC", 1, 3, 1)])
    assert [e.command for e in log] == ["ACT", "RD", "ACT", "GO", "PRE_SB", "ACT_SB", "MAC"]


# ---- windows ------------------------------------------------------------------------------------


def test_an_activation_window_counts_within_its_rank(specs: dict[str, PimSpec]) -> None:
    """Two activates in 12 ck per rank: the third of rank 0 waits, the first of rank 1 does not."""
    log = _run(specs["first_ready"], [("RD", 1, 0, bank) for bank in (0, 1, 2, 4)])
    acts = {entry.bank: entry.tick for entry in log if entry.command == "ACT"}
    assert acts == {0: 0, 1: 1, 4: 2, 2: 12}


def test_the_checker_finds_a_full_window(specs: dict[str, PimSpec]) -> None:
    log = [LogEntry(tick, "ACT", bank, 0, False) for bank, tick in enumerate((0, 4, 11))]
    (found,) = violations(log, specs["in_order"])
    assert "the 3th within 12 ck, 11 ck after" in found
    assert violations([*log[:2], log[2]._replace(tick=12)], specs["in_order"]) == []


# ---- modes and barriers -------------------------------------------------------------------------


def test_a_program_in_the_wrong_mode_is_refused(specs: dict[str, PimSpec]) -> None:
    for name in ("in_order", "first_ready"):
        with pytest.raises(SimulationError, match="MAC cannot issue in plain access"):
            _run(specs[name], [("MAC", 1, 0, 0)])


def test_a_barrier_waits_for_the_data(specs: dict[str, PimSpec]) -> None:
    """The read issues at 5, its data are there at 11."""
    for name in ("in_order", "ahead", "first_ready"):
        log = _run(specs[name], [("RD", 1, 0, 0), BAR, ("RD", 1, 0, 0)])
        assert _ticks(log, "RD") == [5, 11]


def test_an_ordering_barrier_holds_columns_but_not_rows(specs: dict[str, PimSpec]) -> None:
    macros = [("RD", 4, 0, 0), BAR, ("RD", 1, 0, 4), ("RD", 1, 0, 6)]
    log = _run(specs["ordered"], macros)
    assert [e.bank for e in log if e.command == "RD"] == [0, 0, 0, 0, 4, 6]
    assert [e.tick for e in log if e.command == "ACT"] == [0, 1, 2]
    assert _ticks(log, "RD") == [5, 8, 11, 14, 16, 18]


def test_barriers_at_the_ends_change_nothing(specs: dict[str, PimSpec]) -> None:
    for spec in specs.values():
        plain = _run(spec, [("RD", 2, 0, 0)])
        assert _run(spec, [BAR, BAR, ("RD", 2, 0, 0), BAR]) == plain
        assert _run(spec, [BAR]) == []


# ---- the queue ----------------------------------------------------------------------------------


def test_the_oldest_that_is_ready_goes_first(specs: dict[str, PimSpec]) -> None:
    """Bank 0 holds up by its group; bank 4's row is open by then."""
    macros = [("RD", 2, 0, 0), ("RD", 1, 0, 4)]
    log = _run(specs["first_ready"], macros)
    assert [(e.tick, e.bank) for e in log if e.command == "RD"] == [(5, 0), (7, 4), (9, 0)]
    log = _run(specs["ahead"], macros)
    assert [(e.tick, e.bank) for e in log if e.command == "RD"] == [(5, 0), (8, 0), (10, 4)]


def test_a_row_that_is_still_wanted_stays_open(specs: dict[str, PimSpec]) -> None:
    """The second command wants another row of bank 0, the third the one that is open."""
    log = _run(specs["first_ready"], [("RD", 1, 0, 0), ("RD", 1, 1, 0), ("RD", 1, 0, 0)])
    assert [(e.command, e.row) for e in log if e.command == "RD"] == [
        ("RD", 0), ("RD", 0), ("RD", 1),
    ]  # fmt: skip


def test_a_row_and_a_column_command_in_one_tick(specs: dict[str, PimSpec]) -> None:
    macros = [("RD", 3, 0, 0), ("RD", 1, 0, 4), ("RD", 1, 0, 5), ("RD", 1, 0, 6)]
    log = _run(specs["two_buses"], macros)
    ticks = [entry.tick for entry in log]
    assert len(set(ticks)) < len(ticks)


def test_plain_traffic_uses_all_banks(specs: dict[str, PimSpec]) -> None:
    """In order and one row at a time a read takes 5 ck and more; looking ahead, the bus is full."""
    macros = [("RD", 8, row, bank) for row in range(8) for bank in (0, 4, 2, 6)]
    spec = specs["in_order"]
    slow, fast = _run(spec, macros), _run(spec, macros, plain=True)
    assert slow[-1].tick > 1.2 * fast[-1].tick
    assert fast[-1].tick < 8 * 4 * 8 * 3 * 1.1


_columns = st.tuples(
    st.sampled_from(["RD", "WR"]), st.integers(1, 6), st.integers(0, 2), st.integers(0, 7)
)
_computing = st.one_of(
    st.tuples(st.just("MAC"), st.integers(1, 9), st.integers(0, 2), st.integers(0, 7)),
    st.tuples(st.just("LOAD"), st.integers(1, 4), st.just(0), st.just(NO)),
    st.just(BAR),
)


@st.composite
def _programs(draw: st.DrawFn) -> list[Macro]:
    """Plain traffic, then a computing part between its mode changes, then plain traffic again."""
    first = draw(st.lists(st.one_of(_columns, st.just(BAR)), max_size=8))
    middle = draw(st.lists(_computing, max_size=10))
    last = draw(st.lists(_columns, max_size=5))
    return [*first, BAR, ("GO", 1, 7, 0), BAR, *middle, BAR, ("STOP", 1, 0, NO), BAR, *last]


@settings(max_examples=150, deadline=None)
@given(macros=_programs(), name=st.sampled_from(["in_order", "ahead", "first_ready", "two_buses",
                                                 "ordered", "ordered_buses"]))  # fmt: skip
def test_every_log_is_legal_and_complete(
    specs: dict[str, PimSpec], macros: list[Macro], name: str
) -> None:
    log = _run(specs[name], macros, refresh=True)
    for command in ("RD", "WR", "MAC", "LOAD"):
        assert len(_ticks(log, command)) == sum(n for c, n, _, _ in macros if c == command)


@settings(max_examples=60, deadline=None)
@given(macros=_programs(), steps=st.lists(st.integers(1, 60), max_size=30))
def test_time_in_pieces_equals_time_in_one(
    specs: dict[str, PimSpec], macros: list[Macro], steps: list[int]
) -> None:
    config = config_of(specs["first_ready"])
    whole, pieces = PimChannel(config), PimChannel(config)
    whole.run(_program(config, macros))
    pieces.start(_program(config, macros))
    is_over = False
    for step in steps:
        is_over = is_over or pieces.advance(pieces.now_ck + step)
    if not is_over:
        pieces.advance(10**9)
    assert pieces.busy_ck == whole.busy_ck
    assert pieces.parts_ck == whole.parts_ck


@settings(max_examples=60, deadline=None)
@given(macros=_programs())
def test_skipping_changes_nothing(specs: dict[str, PimSpec], macros: list[Macro]) -> None:
    for name in ("in_order", "first_ready"):
        config = config_of(specs[name])
        taken = []
        for skip in (True, False):
            channel = PimChannel(config, skip=skip)
            channel.run(_program(config, macros))
            taken.append((channel.busy_ck, channel.counts, channel.parts_ck, channel.row_hits))
        assert taken[0] == taken[1]


def test_repeating_equals_writing_it_out(specs: dict[str, PimSpec]) -> None:
    macros: list[Macro] = [("RD", 3, 0, 0), ("RD", 2, 1, 4), BAR]
    for spec in specs.values():
        config = config_of(spec)
        once = PimChannel(config).run(_program(config, macros * 3))
        repeated = PimChannel(config).run(replace(_program(config, macros), repeat=3))
        assert once == repeated


# ---- descriptions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("levels: {rank: 2,", "levels: {rank: 3,", "counts must be powers of two, not 3"),
        ("levels: {rank: 2,", "levels: {rank: 4,", "the levels make 16 banks, here 8"),
        ("bank_group: 2, bank: 2}", "bank: 2, bank_group: 2}", "innermost level must be bank"),
        ("scope: rank,", "scope: stack,", "windows.0.scope: unknown scope 'stack'"),
        ("banks: [bank], access: computing", "banks: [bnk], access: computing", "level 'bnk'"),
        ("enters: plain", "enters: plane", "unknown access 'plane', allowed: plain, computing"),
        ("access: computing, done: 4", "access: computed, done: 4", "unknown access 'computed'"),
        ("enters: computing, ", "", "computing access needs a command that enters it"),
        ("commands: [ACT], scope", "commands: [ATC], scope", "unknown command 'ATC'"),
        ("PRE_SB: {role: precharge", "PRE_SB: {role: register", "MAC needs one command of role"),
        ("banks: [bank], access: computing,", "banks: [bank], access: computing, activate: RD,",
         "commands.MAC.activate: unknown activate 'RD', allowed: ACT, ACT_SB"),
    ],
)  # fmt: skip
def test_wrong_descriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    from tests.devices.pim import invented as module

    assert old in module.DESIGN
    monkeypatch.setattr(module, "DESIGN", module.DESIGN.replace(old, new))
    with pytest.raises(SpecError, match=message):
        invented(tmp_path)
