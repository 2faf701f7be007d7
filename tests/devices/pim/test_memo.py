"""Programs remembered: nothing but the time that they take to simulate may differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.devices.pim.invented import invented

from bankwidth.devices.pim import memo
from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.devices.pim.memo import (
    RememberedChannels,
    SteppedChannels,
    channels_of,
)
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.errors import SimulationError

Macro = tuple[str, int, int, int]
Step = tuple[ChannelProgram, int, int]  # program, first row, ticks before it
NO = -1

rows, banks = st.integers(0, 3), st.integers(0, 15)
macros = st.one_of(
    st.tuples(st.just("MAC_ABK"), st.integers(1, 200), rows, st.just(NO)),
    st.tuples(
        st.sampled_from(["WR_GB", "WR_BIAS", "RD_MAC"]), st.integers(1, 64), rows, st.just(NO)
    ),
    st.tuples(st.just("WR_ABK"), st.integers(1, 3), rows, st.just(NO)),
    st.tuples(st.sampled_from(["WR_SBK", "RD_SBK", "MAC_SBK"]), st.integers(1, 40), rows, banks),
    st.tuples(st.just("TMOD"), st.just(1), st.just(0), st.just(NO)),
)
programs = st.tuples(
    st.lists(macros, min_size=1, max_size=14), st.integers(1, 3), st.just(False)
) | st.tuples(
    st.lists(
        st.tuples(st.sampled_from(["WR_SBK", "RD_SBK"]), st.integers(1, 40), rows, banks),
        min_size=1,
        max_size=5,
    ),
    st.just(1),
    st.just(True),
)
gaps = st.sampled_from([0, 0, 1, 7, 100, 3_000, 20_000])


def build(
    config: PimConfig, listed: Sequence[Macro], repeat: int = 1, is_plain: bool = False
) -> ChannelProgram:
    made = MacroList(config)
    for name, count, row, bank in listed:
        made.add(name, count, row, bank)
    return ChannelProgram(macros=made.build(), channels=1, repeat=repeat, is_plain=is_plain)


def same(
    config: PimConfig, steps: Sequence[Step], *, refresh: bool = True, limit: int = 10**6
) -> RememberedChannels:
    """Run on both, step by step; all that a program takes and adds must be equal."""
    remembered = RememberedChannels(config, refresh=refresh)
    stepped = SteppedChannels(config, refresh=refresh)
    ours: Any = remembered.idle()
    theirs: Any = stepped.idle()
    with patch.object(memo, "MOST_OUTCOMES", limit):
        for program, first_row, gap_ck in steps:
            ours, found = remembered.run(ours, program, first_row, gap_ck, 1)
            theirs, wanted = stepped.run(theirs, program, first_row, gap_ck, 1)
            assert found.ticks == wanted.ticks
            assert found.parts_ck == wanted.parts_ck
            assert found.added[:-1].tolist() == wanted.added[:-1].tolist()
    total, whole = remembered.totals(), stepped.totals()
    assert total.counts == whole.counts
    assert (total.row_hits, total.row_misses) == (whole.row_hits, whole.row_misses)
    assert total.open_ck == whole.open_ck
    assert total.parts_ck == whole.parts_ck
    return remembered


@settings(max_examples=60, deadline=None)
@given(data=st.data(), made=st.lists(programs, min_size=1, max_size=3), refresh=st.booleans())
def test_remembering_changes_nothing(
    config: PimConfig, data: st.DataObject, made: list[Any], refresh: bool
) -> None:
    built = [build(config, *program) for program in made]
    step = st.tuples(st.sampled_from(built), st.sampled_from([0, 2, 50]), gaps)
    same(config, data.draw(st.lists(step, min_size=4, max_size=14)), refresh=refresh)


@pytest.mark.nightly
@settings(max_examples=1500, deadline=None)
@given(data=st.data(), made=st.lists(programs, min_size=1, max_size=3), refresh=st.booleans())
def test_remembering_changes_nothing_however_often(
    config: PimConfig, data: st.DataObject, made: list[Any], refresh: bool
) -> None:
    built = [build(config, *program) for program in made]
    step = st.tuples(st.sampled_from(built), st.sampled_from([0, 2, 50]), gaps)
    same(config, data.draw(st.lists(step, min_size=4, max_size=30)), refresh=refresh)


invented_macros = st.tuples(
    st.sampled_from(["RD", "WR"]), st.integers(1, 8), rows, st.integers(0, 7)
)


@pytest.mark.parametrize("order", ["in_order", "first_ready"])
@pytest.mark.parametrize("row_and_column", [False, True])
def test_windows_queues_and_two_buses(tmp_path: Path, order: str, row_and_column: bool) -> None:
    spec = invented(tmp_path, order=order, row_and_column=row_and_column)
    config = config_of(spec)

    @settings(max_examples=25, deadline=None)
    @given(
        made=st.lists(st.lists(invented_macros, min_size=1, max_size=12), min_size=1, max_size=2),
        order_of=st.lists(st.tuples(st.integers(0, 1), gaps), min_size=4, max_size=12),
    )
    def check(made: list[list[Macro]], order_of: list[tuple[int, int]]) -> None:
        built = [build(config, program) for program in made]
        same(config, [(built[which % len(built)], 0, gap) for which, gap in order_of])

    check()


def gemv(config: PimConfig, groups: int = 40) -> ChannelProgram:
    listed: list[Macro] = [("WR_GB", 64, 0, NO)]
    for group in range(groups):
        listed += [("WR_BIAS", 1, 0, NO), ("MAC_ABK", 64, group, NO), ("RD_MAC", 1, 0, NO)]
    return build(config, listed)


def test_a_long_program_is_mostly_passed_over(config: PimConfig) -> None:
    """No two runs start at the same distance from a refresh, so that none is looked up."""
    program = gemv(config)
    channels = same(config, [(program, 7 * i, 11 + i) for i in range(8)])
    track = next(iter(channels._known.values())).track
    assert len(track[1]) == len(program.macros) + 1
    assert not any(outcome.times for outcome in channels._outcomes.values())
    totals = channels.totals()
    assert 0.9 * sum(totals.counts.values()) < totals.skipped < sum(totals.counts.values())


def test_equal_runs_are_looked_up(config: PimConfig) -> None:
    program, period = gemv(config, groups=4), config.refresh_ck
    channels = RememberedChannels(config)
    state: Any = channels.idle()
    for layer in range(20):  # each as far from the refresh as the first
        state, outcome = channels.run(state, program, 10 * layer, 0, 3)
        gap_ck = period - outcome.ticks % period
        state, _ = channels.run(state, build(config, []), 0, gap_ck, 3)
    assert max(outcome.times for outcome in channels._outcomes.values()) >= 3 * 15
    for _ in range(2):  # asking changes nothing
        totals = channels.totals()
        assert totals.counts["RD_MAC"] == 3 * 20 * 4
        assert totals.skipped > 0.8 * sum(totals.counts.values())


def test_programs_are_known_by_their_contents(config: PimConfig) -> None:
    channels = RememberedChannels(config)
    lower = build(config, [("MAC_ABK", 64, 5, NO), ("MAC_ABK", 64, 6, NO)])
    higher = build(config, [("MAC_ABK", 64, 105, NO), ("MAC_ABK", 64, 106, NO)])
    other = build(config, [("MAC_ABK", 64, 5, NO), ("MAC_ABK", 64, 7, NO)])
    for program in (lower, higher, other):
        channels.run(channels.idle(), program, 0, 0, 1)
    assert len(channels._known) == 2


def test_a_row_that_is_open_already_is_not_opened_again(config: PimConfig) -> None:
    program = build(config, [("MAC_ABK", 8, 0, NO)])
    other = build(config, [("MAC_ABK", 8, 1, NO)])
    same(config, [(program, 3, 0), (program, 3, 5), (program, 4, 5), (other, 3, 5), (other, 2, 5)])


def test_memory_for_outcomes_is_bounded(config: PimConfig) -> None:
    channels = same(config, [(gemv(config, 3), 0, i) for i in range(9)], limit=4)
    assert len(channels._outcomes) == 4


def test_a_program_in_the_wrong_access_is_told(tmp_path: Path) -> None:
    config = config_of(invented(tmp_path, order="in_order", queue=1))
    channels = RememberedChannels(config)
    with pytest.raises(SimulationError, match="MAC cannot issue in plain access"):
        channels.run(channels.idle(), build(config, [("MAC", 1, 0, 0)]), 0, 0, 1)


def test_who_is_not_to_skip_does_not(config: PimConfig) -> None:
    assert isinstance(channels_of(config), RememberedChannels)
    assert isinstance(channels_of(config, skip=False), SteppedChannels)
    stepped = channels_of(config, skip=False)
    stepped.run(stepped.idle(), gemv(config, 2), 0, 0, 1)
    assert stepped.totals().skipped == 0


def test_a_state_is_the_same_however_it_was_come_to(config: PimConfig) -> None:
    """Two histories that leave the same clocks leave equal states, so that lanes can join."""
    channels = RememberedChannels(config, refresh=False)
    one, _ = channels.run(channels.idle(), gemv(config, 2), 10, 0, 1)
    two, _ = channels.run(channels.idle(), gemv(config, 9), 3, 0, 1)
    rest = build(config, [("MAC_ABK", 64, 0, NO), ("MAC_ABK", 64, 1, NO), ("RD_MAC", 1, 0, NO)])
    after = [channels.run(state, rest, 20, 500, 1)[0] for state in (one, two)]
    assert after[0] == after[1]
    assert np.unique([state.core for state in after]).size == 1
