"""The picture of bank states carries the slices of its table, exactly or in proportion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.report import bank_states
from bankwidth.report.bank_states import COLOURS, MEANINGS, bank_figure, dots, state_shares
from bankwidth.results import Table

STATES = tuple(COLOURS)
Piece = tuple[str, float, int | None]  # state, length in ns, row


def table_of(banks: dict[str, list[Piece]], start_ns: float = 0.0) -> Table:
    """Slices of banks, end to end from `start_ns` on."""
    rows: list[dict[str, Any]] = []
    for bank, pieces in banks.items():
        at = start_ns
        for state, length, row in pieces:
            piece = {"bank": bank, "state": state, "start_ns": at, "end_ns": at + length}
            rows.append(piece | {"row": row})
            at += length
    return Table({name: [row[name] for row in rows] for name in rows[0]})


TWO = table_of(
    {
        "bg0 ba0": [("activating", 12.5, 7), ("reading", 2.5, 7), ("open", 85.0, 7)],
        "bg0 ba1": [("idle", 60.0, None), ("refreshing", 40.0, None)],
    },
    start_ns=1000.25,
)


def test_every_slice_is_a_bar_from_its_start_with_its_length() -> None:
    figure = bank_figure(TWO, "banks")
    bars = {
        (trace.name, y): (base, base + x)
        for trace in figure.data
        for y, base, x in zip(trace.y, trace.base, trace.x, strict=True)
    }
    assert bars == {
        ("activating", "bg0 ba0"): (1000.25, 1012.75),
        ("reading", "bg0 ba0"): (1012.75, 1015.25),
        ("open", "bg0 ba0"): (1015.25, 1100.25),
        ("idle", "bg0 ba1"): (1000.25, 1060.25),
        ("refreshing", "bg0 ba1"): (1060.25, 1100.25),
    }
    assert figure.layout.xaxis.title.text == "time (ns)"
    assert figure.layout.xaxis.range == (1000.25, 1100.25)


def test_a_hover_says_bank_state_row_length_and_start_to_the_picosecond() -> None:
    texts = {trace.name: trace.hovertext for trace in bank_figure(TWO, "banks").data}
    assert texts["reading"] == ("<b>bg0 ba0</b>: reading, row 7<br>2.5 ns from 1,012.75 ns",)
    assert texts["refreshing"] == ("<b>bg0 ba1</b>: refreshing<br>40 ns from 1,060.25 ns",)


def test_states_have_colours_of_their_own_and_a_legend() -> None:
    figure = bank_figure(TWO, "banks")
    assert len(set(COLOURS.values())) == len(COLOURS) == len(MEANINGS)
    assert {trace.name: trace.marker.color for trace in figure.data} == COLOURS
    assert all(trace.showlegend for trace in figure.data)


def test_long_windows_are_told_in_a_larger_unit() -> None:
    long = table_of({"ba0": [("idle", 25_000.0, None), ("refreshing", 5000.0, None)]})
    figure = bank_figure(long, "banks")
    assert figure.layout.xaxis.title.text == "time (us)"
    assert figure.layout.xaxis.range == (0, 30)
    assert next(trace for trace in figure.data if trace.name == "refreshing").x == (5,)


def lanes_of(number: int) -> Table:
    return table_of({f"pc{i // 4} ba{i % 4}": [("idle", 10.0, None)] for i in range(number)})


@pytest.mark.parametrize("number", [16, 32, 64, 128, 512])
def test_lanes_keep_their_order_and_labels_room(number: int) -> None:
    axis = bank_figure(lanes_of(number), "banks").layout.yaxis
    height = bank_figure(lanes_of(number), "banks").layout.height
    assert axis.categoryarray[:5] == ("pc0 ba0", "pc0 ba1", "pc0 ba2", "pc0 ba3", "pc1 ba0")
    assert axis.range[0] > axis.range[1]  # the first on top
    per_label = (height - 150) / len(axis.tickvals)
    assert per_label >= axis.tickfont.size >= 10
    assert len(axis.tickvals) >= number // 2


def test_labels_leave_out_what_the_one_above_says() -> None:
    assert bank_figure(lanes_of(6), "banks").layout.yaxis.ticktext == (
        *("pc0 ba0", "ba1", "ba2", "ba3", "pc1 ba0", "ba1"),
    )


def test_texts_are_escaped() -> None:
    hostile = table_of({"<img src=x>": [("idle", 10.0, None)]})
    figure = bank_figure(hostile, "<script>")
    assert figure.layout.title.text == "&lt;script&gt;"
    assert "&lt;img" in figure.data[0].hovertext[0]
    assert "&lt;img" in figure.layout.yaxis.ticktext[0]


def test_shares_of_the_banks_time() -> None:
    shares = state_shares(TWO)
    assert shares["activating"] == pytest.approx(12.5 / 200)
    assert shares["idle"] == pytest.approx(60 / 200)
    assert shares["writing"] == 0
    assert math.fsum(shares.values()) == pytest.approx(1)


# ---------------------------------------------------------------------------- dots
def test_many_slices_are_drawn_in_dots_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_states, "MAX_BARS", 4)
    monkeypatch.setattr(bank_states, "MOST_DOTS", 200)
    figure = bank_figure(TWO, "banks")
    picture = figure.data[0]
    assert figure.layout.xaxis.title.text == "time (ns), in dots of 500 ps"
    assert picture.x[0] == pytest.approx(1000.5)
    assert [*picture.customdata[0][:31]] == ["activating"] * 25 + ["reading"] * 5 + ["open"]
    assert [STATES[int(z)] for z in picture.z[0]] == list(picture.customdata[0])
    assert {trace.name: trace.marker.color for trace in figure.data[1:]} == COLOURS


def test_states_shorter_than_a_dot_are_not_lost() -> None:
    pieces: list[Piece] = [("open", 9.0, 1), ("reading", 1.0, 1)] * 100
    shown = dots(table_of({"ba0": pieces}), ["ba0"], 50)
    assert (shown == STATES.index("reading")).sum() == 5
    assert (shown == STATES.index("open")).sum() == 45


@st.composite
def windows(draw: st.DrawFn) -> dict[str, list[Piece]]:
    """Some banks with random states over 1000 ns."""
    banks: dict[str, list[Piece]] = {}
    for number in range(draw(st.integers(1, 4))):
        cuts = sorted(draw(st.sets(st.integers(1, 9999), max_size=60)))
        lengths = np.diff([0, *cuts, 10_000]) / 10
        states = draw(st.lists(st.sampled_from(STATES), min_size=1, max_size=8))
        banks[f"ba{number}"] = [
            (states[i % len(states)], float(length), None) for i, length in enumerate(lengths)
        ]
    return banks


@given(banks=windows(), number=st.sampled_from([1, 10, 37, 100]))
def test_dots_give_each_state_its_time_and_no_other_place(
    banks: dict[str, list[Piece]], number: int
) -> None:
    table = table_of(banks, start_ns=123.0)
    shown = dots(table, list(banks), number)
    dot_ns = 1000 / number
    for lane, (bank, pieces) in enumerate(banks.items()):
        mine = table.take(table["bank"] == bank)
        for place, state in enumerate(STATES):
            is_dot = shown[lane] == place
            of_state = mine.take(mine["state"] == state)
            for dot in np.flatnonzero(is_dot):
                start = 123 + dot * dot_ns
                overlap = np.minimum(of_state["end_ns"], start + dot_ns) - np.maximum(
                    of_state["start_ns"], start
                )
                assert overlap.max() > 0
            time_ns = sum(length for name, length, _ in pieces if name == state)
            assert abs(is_dot.sum() - time_ns / dot_ns) < len(STATES)
