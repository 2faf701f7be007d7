"""One channel: hand-computed cases, refresh, time in pieces, what the ticks are owed to."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bankwidth.devices.pim.channel import PARTS, LogEntry, PimChannel
from bankwidth.devices.pim.check import violations
from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.errors import SimulationError
from bankwidth.spec import PimSpec

Macro = tuple[str, int, int, int]
Build = Callable[..., ChannelProgram]
Ticks = Callable[..., list[int]]
NO = -1

_SINGLE = ("RD_SBK", "WR_SBK", "MAC_SBK", "COPY_BKGB", "COPY_GBBK")
_ALL = ("MAC_ABK", "EWMUL", "AF", "WR_ABK", "WR_GB", "WR_BIAS", "RD_MAC", "RD_AF")
_counts, _rows = st.integers(1, 70), st.integers(0, 3)
macros = st.one_of(
    st.tuples(st.sampled_from(_SINGLE), _counts, _rows, st.integers(0, 15)),
    st.tuples(st.sampled_from(_ALL), _counts, _rows, st.just(NO)),
)
programs = st.lists(macros, min_size=1, max_size=12)


def _state(channel: PimChannel) -> tuple[object, ...]:
    """Everything that can be seen of a channel."""
    return (
        channel.now_ck, channel.counts, channel.row_hits, channel.row_misses, channel.busy_ck,
        channel.parts_ck, channel.open_ck, channel.refresh_blocked_ck,
    )  # fmt: skip


# ---- hand-computed ------------------------------------------------------------------------------


def test_first_mac_waits_exactly_the_activate(ticks_of: Ticks) -> None:
    assert ticks_of("ACT_ALL", [("MAC_ABK", 2, 0, NO)]) == [0]
    assert ticks_of("MAC_ABK", [("MAC_ABK", 2, 0, NO)]) == [56, 58]


def test_a_row_of_all_banks_takes_113_ns(ticks_of: Ticks, config: PimConfig) -> None:
    """56 to the first MAC + 63 x 2 + 12 to the precharge + 32 to the next activate = 226 ck."""
    first, second = ticks_of("ACT_ALL", [("MAC_ABK", 64, 0, NO), ("MAC_ABK", 64, 1, NO)])
    assert second - first == 226
    # The controller's RTL states 18 + 63 x 1 + 17 + 15 ns for the same row.
    assert (second - first) * config.tick_ps == (18 + 63 + 17 + 15) * 1000


def test_a_short_visit_to_a_row_waits_for_its_ras(ticks_of: Ticks) -> None:
    """A write may follow after 28 ck, and its precharge after 28 + 41 = 69, later than tRAS 54."""
    macros = [("WR_SBK", 1, 0, 3), ("WR_SBK", 1, 1, 3)]
    assert ticks_of("PRE", macros) == [69]
    assert ticks_of("WR_SBK", macros) == [28, 69 + 32 + 28]
    macros = [("EWMUL", 1, 0, NO), ("EWMUL", 1, 1, NO)]
    assert ticks_of("PRE_ALL", macros) == [25 + 39]
    assert ticks_of("PRE", [("RD_SBK", 1, 0, 0), ("RD_SBK", 1, 1, 0)]) == [54]


def test_mode_changes_frame_register_commands(ticks_of: Ticks) -> None:
    """TMOD 0, WR_GB from 32; TMOD at once after the last, 32 + 126 + 1 = 159; ACT 32 later."""
    macros = [("WR_GB", 64, 0, NO), ("MAC_ABK", 64, 0, NO), ("RD_MAC", 1, 0, NO)]
    assert ticks_of("WR_GB", macros)[-1] == 158
    assert ticks_of("ACT_ALL", macros) == [159 + 32]
    last_mac = 159 + 32 + 56 + 126
    assert ticks_of("MAC_ABK", macros)[-1] == last_mac
    # The mode changes once RD_MAC itself would be legal, 2 ck after the MAC.
    assert ticks_of("TMOD", macros) == [0, 159, last_mac + 2]
    assert ticks_of("RD_MAC", macros) == [last_mac + 2 + 32]


def test_refresh_interrupts_a_run_and_the_row_is_opened_again(ticks_of: Ticks) -> None:
    """The last MAC before 3800 is at 56 + 2 x 1871 = 3798; then tRTP 12, tRP 32, tRFC 240, 56."""
    macros = [("MAC_ABK", 1900, 0, NO)]
    assert ticks_of("MAC_ABK", macros, refresh=True)[1871:1873] == [3798, 4138]
    assert ticks_of("PRE_ALL", macros, refresh=True) == [3810]
    assert ticks_of("REF_ALL", macros, refresh=True) == [3842]
    assert ticks_of("ACT_ALL", macros, refresh=True) == [0, 4082]


def test_the_parts_of_an_interrupted_run(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config)
    channel.run(program(("MAC_ABK", 1900, 0, NO)))
    # First MAC and first after the refresh: 2 of the 56 ck are its own, 54 the row's; finish + 1.
    assert channel.parts_ck == {
        "compute": 1900 * 2 + 1, "load": 0, "drain": 0, "rows": 2 * 54, "modes": 0,
        "refresh": 4082 - 3798,
    }  # fmt: skip
    assert (channel.row_hits, channel.row_misses) == (1898, 2)
    assert channel.refresh_blocked_ck == 284


def test_row_hits_of_rows_read_end_to_end(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, refresh=False)
    channel.run(program(*(("MAC_ABK", 64, row, NO) for row in range(10))))
    assert (channel.row_hits, channel.row_misses) == (630, 10)


def test_open_time_runs_from_activate_to_precharge(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, refresh=False)
    took = channel.run(program(("MAC_ABK", 64, 0, NO), ("MAC_ABK", 64, 1, NO)))
    assert channel.open_ck == took - 32  # all but one tRP


def test_auto_precharge_closes_the_row(ticks_of: Ticks) -> None:
    """Element writes: 28 to the first, then 73 to the next activate."""
    macros = [("WR_ABK", 2, 0, NO)]
    assert ticks_of("ACT_ALL", macros) == [0, 28 + 73]
    assert ticks_of("WR_ABK", macros) == [28, 28 + 73 + 28]
    assert ticks_of("PRE_ALL", macros) == []


def test_banks_of_one_channel_open_different_rows(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, refresh=False, log=True)
    channel.run(program(("RD_SBK", 1, 5, 0), ("RD_SBK", 1, 6, 1), ("RD_SBK", 1, 5, 0)))
    assert channel.counts["ACT"] == 2
    assert channel.counts["PRE"] == 0
    assert (channel.row_hits, channel.row_misses) == (1, 2)


def test_all_bank_command_closes_banks_that_differ(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, refresh=False, log=True)
    channel.run(program(("RD_SBK", 1, 5, 0), ("MAC_ABK", 1, 5, NO)))
    assert [e.command for e in channel.log] == ["ACT", "RD_SBK", "PRE_ALL", "ACT_ALL", "MAC_ABK"]


# ---- refresh ------------------------------------------------------------------------------------


def test_refresh_keeps_its_interval(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, log=True)
    channel.run(program(*(("MAC_ABK", 64, row, NO) for row in range(200))))
    ticks = [e.tick for e in channel.log if e.command == "REF_ALL"]
    assert len(ticks) == channel.now_ck // config.refresh_ck
    # A due refresh waits at most for an activate just issued (tRAS 54) and a precharge (32).
    due = config.refresh_ck * np.arange(1, len(ticks) + 1)
    assert np.all(np.array(ticks) >= due)
    assert np.all(np.array(ticks) <= due + 54 + 32 + 12)


def test_idle_channels_refresh_too(config: PimConfig) -> None:
    channel = PimChannel(config)
    assert not channel.advance(10 * config.refresh_ck)
    assert channel.counts["REF_ALL"] == 10
    assert channel.busy_ck == 0
    assert channel.refresh_blocked_ck == 0


def test_refresh_costs_about_its_share_of_the_time(config: PimConfig, program: Build) -> None:
    rows = program(*(("MAC_ABK", 64, row, NO) for row in range(500)))
    with_refresh = PimChannel(config).run(rows)
    without = PimChannel(config, refresh=False).run(rows)
    # 120 of 1900 ns, and a row that has to be opened again.
    assert 0.063 < with_refresh / without - 1 < 0.12


def test_start_waits_for_a_refresh_that_is_under_way(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, log=True)
    channel.start(program(("MAC_ABK", 1, 0, NO)), at_ck=config.refresh_ck + 10)
    channel.advance(10 * config.refresh_ck)
    assert [(e.command, e.tick - config.refresh_ck) for e in channel.log] == [
        ("REF_ALL", 0), ("ACT_ALL", 240), ("MAC_ABK", 296),
    ]  # fmt: skip
    assert channel.refresh_blocked_ck == 230


# ---- properties ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(listed=programs)
def test_every_log_is_legal(
    spec: PimSpec, config: PimConfig, program: Build, listed: list[Macro]
) -> None:
    channel = PimChannel(config, log=True)
    channel.run(program(*listed))
    assert violations(channel.log, spec) == []


@settings(max_examples=60, deadline=None)
@given(listed=programs, repeat=st.integers(1, 3))
def test_skipping_changes_nothing(
    config: PimConfig, program: Build, listed: list[Macro], repeat: int
) -> None:
    given_program = program(*listed, repeat=repeat)
    states = []
    for options in ({}, {"skip": False}, {"log": True}):
        channel = PimChannel(config, **options)
        channel.run(given_program)
        states.append(_state(channel))
    assert states[0] == states[1] == states[2]


@settings(max_examples=60, deadline=None)
@given(listed=programs, steps=st.lists(st.integers(1, 2000), max_size=30))
def test_time_in_pieces_equals_time_in_one(
    config: PimConfig, program: Build, listed: list[Macro], steps: list[int]
) -> None:
    whole, pieces = PimChannel(config), PimChannel(config)
    whole.run(program(*listed))
    pieces.start(program(*listed))
    is_over = False
    for step in steps:
        is_over = is_over or pieces.advance(pieces.now_ck + step)
    if not is_over:
        assert pieces.advance(10**9)
    end = max(whole.now_ck, pieces.now_ck)
    for channel in (whole, pieces):
        channel.advance(end)
    assert _state(whole) == _state(pieces)


@settings(max_examples=60, deadline=None)
@given(first=programs, second=programs, pause=st.integers(0, 9000))
def test_parts_sum_to_the_busy_time(
    config: PimConfig, program: Build, first: list[Macro], second: list[Macro], pause: int
) -> None:
    channel = PimChannel(config)
    took = channel.run(program(*first))
    start = channel.now_ck + pause
    channel.start(program(*second), at_ck=start)
    channel.advance(10**9)
    assert channel.busy_ck == took + channel.now_ck - start
    assert sum(channel.parts_ck.values()) == channel.busy_ck
    assert set(channel.parts_ck) == set(PARTS)
    assert channel.open_ck <= channel.now_ck


@settings(max_examples=40, deadline=None)
@given(listed=programs)
def test_commands_are_conserved(config: PimConfig, program: Build, listed: list[Macro]) -> None:
    channel = PimChannel(config)
    given_program = program(*listed)
    channel.run(given_program)
    wanted = given_program.counts(len(config.names))
    for name, count in zip(config.names, wanted, strict=True):
        if name not in ("ACT", "ACT_ALL", "PRE", "PRE_ALL", "REF_ALL", "TMOD"):
            assert channel.counts[name] == count
    columns = sum(n for name, n, _, _ in listed if name not in _ALL[4:])
    assert channel.row_hits + channel.row_misses == columns


@settings(max_examples=40, deadline=None)
@given(listed=programs)
def test_without_refresh_nothing_is_slower(
    config: PimConfig, program: Build, listed: list[Macro]
) -> None:
    free = PimChannel(config, refresh=False).run(program(*listed))
    assert free <= PimChannel(config).run(program(*listed))


def test_kernel_agrees_with_its_own_python(
    config: PimConfig, program: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bankwidth.devices.pim import kernel

    listed: Sequence[Macro] = [
        ("WR_GB", 64, 0, NO), ("MAC_ABK", 640, 0, NO), ("RD_MAC", 2, 0, NO), ("WR_SBK", 9, 7, 2),
        ("WR_ABK", 2, 1, NO), ("RD_SBK", 2000, 1, 4),
    ]  # fmt: skip
    compiled = PimChannel(config)
    compiled.run(program(*listed, repeat=2))
    functions = {name: f.py_func for name, f in vars(kernel).items() if hasattr(f, "py_func")}
    if not functions:
        pytest.skip("numba is switched off")
    for name, function in functions.items():
        monkeypatch.setattr(kernel, name, function)
    plain = PimChannel(config)
    plain.run(program(*listed, repeat=2))
    assert _state(plain) == _state(compiled)


def test_kernel_codes_are_those_of_the_tables() -> None:
    from bankwidth.devices.pim import config, kernel

    assert [getattr(kernel, role.upper()) for role in config.ROLES] == list(range(6))
    kinds = (kernel.NO_BANK, kernel.ONE_BANK, kernel.ALL_BANKS, kernel.SOME_BANKS)
    assert kinds == (0, 1, 2, 3)
    assert config.BANKS == ("none", "one", "all", "some")
    assert config.MOVES == ("none", "in", "out")
    assert [kernel.MOVES_NONE, kernel.MOVES_IN, kernel.MOVES_OUT] == [0, 1, 2]
    assert [getattr(kernel, name.upper()) for name in config.FIELDS] == list(range(10))
    assert config.BARRIER == kernel.BARRIER


def test_a_clone_goes_its_own_way(config: PimConfig, program: Build) -> None:
    first = PimChannel(config)
    first.run(program(("MAC_ABK", 64, 0, NO)))
    before = _state(first)
    twin = first.clone()
    assert _state(twin) == before
    twin.run(program(("MAC_ABK", 64, 1, NO)))
    assert _state(first) == before
    assert twin.row_misses == 2


def test_numba_is_imported_only_when_something_runs() -> None:
    code = (
        "import sys, bankwidth.mapping.lower_pim, bankwidth.devices.pim.channel, "
        "bankwidth.devices.pim.energy; sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- misuse -------------------------------------------------------------------------------------


def test_empty_program_is_over_at_once(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config)
    assert channel.run(program()) == 0


def test_completion_is_not_seen_before_its_tick(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config, refresh=False)
    channel.start(program(("RD_SBK", 1, 0, 0)))  # issues at 36, its data are there at 88
    assert not channel.advance(87)
    assert channel.is_running
    assert channel.advance(1000)
    assert channel.now_ck == 88


def test_one_program_at_a_time(config: PimConfig, program: Build) -> None:
    channel = PimChannel(config)
    channel.start(program(("MAC_ABK", 1, 0, NO)))
    with pytest.raises(SimulationError, match="while another one was running"):
        channel.start(program(("MAC_ABK", 1, 0, NO)))


def test_time_does_not_go_back(config: PimConfig) -> None:
    channel = PimChannel(config)
    channel.advance(10)
    with pytest.raises(SimulationError, match="advance to 9 ck, but it is 10 ck"):
        channel.advance(9)


# ---- the checker itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([("ACT_ALL", 0, NO, 0), ("MAC_ABK", 55, NO, 0)], "55 ck after .* legal from 56 ck"),
        ([("ACT", 0, 0, 0), ("RD_SBK", 40, 1, 0)], "without its row open"),
        ([("ACT_ALL", 0, NO, 0), ("MAC_ABK", 56, NO, 1)], "without its row open"),
        ([("WR_GB", 0, NO, 0)], "in array access"),
        ([("ACT_ALL", 0, NO, 0), ("REF_ALL", 500, NO, 0)], "with a row open"),
        ([("PRE", 0, 0, 0), ("PRE", 0, 1, 0)], "0 ck after .* legal from 32 ck"),
    ],
)
def test_checker_finds_planted_violations(
    spec: PimSpec, log: list[tuple[str, int, int, int]], message: str
) -> None:
    entries = [LogEntry(tick, name, bank, row, False) for name, tick, bank, row in log]
    (found,) = violations(entries, spec)
    assert re.search(message, found)


def test_checker_accepts_what_is_legal_to_the_tick(spec: PimSpec) -> None:
    log = [LogEntry(0, "ACT_ALL", NO, 0, False), LogEntry(56, "MAC_ABK", NO, 0, False)]
    assert violations(log, spec) == []
