"""Bank states: a lane per bank over time, a colour per state.

A window with few slices is drawn exactly, one bar each. One with more is drawn in dots of time; a
dot shows a state that the bank held in it, chosen so that along the lane the dots of each state add
up to its time. No state is lost that way, however short its slices are.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.report.replay_words import exact_ns
from bankwidth.report.theme import PALETTE, Figure, style
from bankwidth.report.words import best_unit, plain, short_time
from bankwidth.results import Table

MAX_BARS: Final = 8000  # more are slow to draw
MAX_DOTS: Final = 160_000  # lanes times dots per lane
MOST_DOTS: Final = 1000  # per lane
_LEAST_DOTS: Final = 100
_ROUNDING: Final = 1e-6  # of a dot's time; less is no share
# Grey is rest and colour is work; all are seen on white and on black. The order is that of drawing:
# what moves data comes last, on top of its neighbours.
COLOURS: Final = {
    "idle": "rgba(128,128,128,0.10)",
    "open": "rgba(128,128,128,0.42)",
    "precharging": PALETTE[4],
    "activating": PALETTE[1],
    "refreshing": "rgba(0,158,115,0.55)",
    "writing": PALETTE[3],
    "reading": "#2B90D0",  # between the palette's two blues
}
MEANINGS: Final = {
    "idle": "closed, nothing to do",
    "open": "a row is open, no data of this bank is on the pins",
    "precharging": "the row is being closed (tRP)",
    "activating": "a row is being opened (tRCD)",
    "refreshing": "rows are being refreshed (tRFC)",
    "writing": "data to this bank is on the pins",
    "reading": "data of this bank is on the pins",
}
# lanes up to which a lane is this high, in pixels, with a label at every n-th
_LANE_HEIGHTS: Final = ((16, 22, 1), (32, 18, 1), (128, 13, 1), (1 << 30, 7, 2))
# pixels: the legend above the lanes, the title above that, time below the lanes
_LEGEND, _TITLE, _TIME = 44, 44, 56


Floats = NDArray[np.float64]
Dots = NDArray[np.intp]  # [lane, dot], places in COLOURS


class Axis(NamedTuple):
    """Time as it is drawn: the unit with its size, and the ends of the window."""

    scale_ns: float
    unit: str
    start_ns: float
    end_ns: float


def bank_figure(table: Table, title: str) -> Figure:
    """A lane per bank, in the table's order; its columns are those of `BankHistory.slices`."""
    import plotly.graph_objects as go

    lanes = list(dict.fromkeys(table["bank"].tolist()))
    axis = _axis(table)
    figure = go.Figure()
    x_title = f"time ({axis.unit})"
    if number := num_dots(table):
        _add_dots(figure, dots(table, lanes, number), lanes, axis)
        x_title += f", in dots of {short_time((axis.end_ns - axis.start_ns) / number)}"
    else:
        _add_bars(figure, table, axis)
    style(figure, plain(title), x_title, "", barmode="overlay", bargap=0.12)
    return _with_lanes(figure, lanes, axis)


def num_dots(table: Table) -> int:
    """Dots of each lane, or 0 where every slice is drawn as it is."""
    if len(table) <= MAX_BARS:
        return 0
    lanes = len(np.unique(table["bank"]))
    return int(np.clip(MAX_DOTS // lanes, _LEAST_DOTS, MOST_DOTS))


def state_shares(table: Table) -> dict[str, float]:
    """Share of the banks' time in each state, in the order of COLOURS; the shares sum to 1."""
    length_ns = table["end_ns"] - table["start_ns"]
    whole_ns = float(length_ns.sum())
    return {
        state: float(length_ns[table["state"] == state].sum()) / whole_ns if whole_ns else 0.0
        for state in COLOURS
    }


def _axis(table: Table) -> Axis:
    """A unit in which the window is some tens or hundreds; never below 1 ns."""
    start_ns, span_ns = _window(table)
    scale_ns, unit = best_unit(max(1.0, span_ns / 10), "time")
    return Axis(scale_ns, unit, start_ns, start_ns + span_ns)


def _with_lanes(figure: Figure, lanes: list[str], axis: Axis) -> Figure:
    height, step = next((px, n) for most, px, n in _LANE_HEIGHTS if len(lanes) <= most)
    top = _LEGEND + (_TITLE if figure.layout.title.text else 0)
    figure.update_layout(
        height=top + _TIME + height * len(lanes),
        margin={"t": top, "b": _TIME},
        title={"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 12}},
        legend={"yref": "paper", "y": 1, "yanchor": "bottom"},
    )
    figure.update_xaxes(
        range=[axis.start_ns / axis.scale_ns, axis.end_ns / axis.scale_ns],
        exponentformat="none",
        separatethousands=True,
        zeroline=False,
        title={"standoff": 8},
    )
    return figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=lanes,
        range=[len(lanes) - 0.5, -0.5],
        tickvals=lanes[::step],
        ticktext=_short_labels(lanes)[::step],
        tickfont={"size": min(12, height * step - 2)},
        ticks="outside",
        ticklen=6,
        tickcolor="rgba(0,0,0,0)",
        fixedrange=True,  # dragging zooms into time
        showgrid=False,
    )


def _short_labels(lanes: list[str]) -> list[str]:
    """Labels less what they share with the one above: `bg1 ba0`, then `ba1`."""
    labels: list[str] = []
    above: list[str] = []
    for lane in lanes:
        parts = lane.split()
        pairs = enumerate(zip(parts, above, strict=False))
        first = next((place for place, (here, there) in pairs if here != there), 0)
        labels.append(plain(" ".join(parts[first:])))
        above = parts
    return labels


def _add_bars(figure: Figure, table: Table, axis: Axis) -> None:
    """Every slice as it is."""
    for state, colour in COLOURS.items():
        some = table.take(table["state"] == state)
        start, length = some["start_ns"], some["end_ns"] - some["start_ns"]
        figure.add_bar(
            orientation="h",
            y=some["bank"].tolist(),
            base=np.round(start / axis.scale_ns, 6).tolist(),
            x=np.round(length / axis.scale_ns, 6).tolist(),
            name=state,
            marker={"color": colour, "line": {"width": 0}},
            hovertext=[_hover(row) for row in some.rows()],
            hoverinfo="text",
            showlegend=True,
        )


def _hover(row: dict[str, Any]) -> str:
    of_row = "" if row["row"] is None else f", row {row['row']:.0f}"
    length_ns = row["end_ns"] - row["start_ns"]
    return (
        f"<b>{plain(row['bank'])}</b>: {plain(row['state'])}{of_row}<br>"
        f"{exact_ns(length_ns)} from {exact_ns(row['start_ns'])}"
    )


def _add_dots(figure: Figure, states: Dots, lanes: list[str], axis: Axis) -> None:
    number = states.shape[1]
    middle = (np.arange(number) + 0.5) / number
    middle_ns = axis.start_ns + (axis.end_ns - axis.start_ns) * middle
    names = np.array(list(COLOURS))
    figure.add_heatmap(
        x=np.round(middle_ns / axis.scale_ns, 6).tolist(),
        y=lanes,
        z=states.tolist(),
        customdata=names[states].tolist(),
        zmin=-0.5,
        zmax=len(COLOURS) - 0.5,
        colorscale=_steps(list(COLOURS.values())),
        showscale=False,
        ygap=1,
        hovertemplate=f"<b>%{{y}}</b>: %{{customdata}}<br>near %{{x:,}} {axis.unit}<extra></extra>",
    )
    for state, colour in COLOURS.items():  # a heat map has no legend of its own
        marker = {"color": colour, "symbol": "square", "size": 12}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=state, marker=marker)
    figure.update_layout(legend={"itemclick": False, "itemdoubleclick": False})


def _steps(colours: list[str]) -> list[list[Any]]:
    """A colour scale without gradients: each colour from its lower to its upper end."""
    number = len(colours)
    return [[end / number, colour] for i, colour in enumerate(colours) for end in (i, i + 1)]


def dots(table: Table, lanes: list[str], number: int) -> Dots:
    """State of each dot, [lane, dot], as a place in COLOURS.

    Each dot adds to every state the share it has of the dot's time; the state that is owed most, of
    those present, is shown and pays for a whole dot (error diffusion along the lane).
    """
    shares = _shares(table, lanes, number)
    owed = np.zeros((len(lanes), len(COLOURS)))
    shown = np.zeros((len(lanes), number), dtype=np.intp)
    every_lane = np.arange(len(lanes))
    for dot in range(number):
        owed += shares[:, dot]
        shown[:, dot] = np.where(shares[:, dot] > 0, owed, -np.inf).argmax(axis=1)
        owed[every_lane, shown[:, dot]] -= 1
    return shown


def _shares(table: Table, lanes: list[str], number: int) -> Floats:
    """Share of each state in the time of each dot, [lane, dot, state].

    The lanes are put one after the other, so that one line of time holds all slices of a state.
    """
    lane_of = {name: lane for lane, name in enumerate(lanes)}
    start_ns, span_ns = _window(table)
    shift_ns = span_ns * np.array([lane_of[name] for name in table["bank"].tolist()]) - start_ns
    edges_ns = span_ns * (np.arange(len(lanes))[:, None] + np.linspace(0, 1, number + 1))
    shares = np.zeros((len(lanes), number, len(COLOURS)))
    for place, state in enumerate(COLOURS):
        is_state = table["state"] == state
        starts = (table["start_ns"] + shift_ns)[is_state]
        ends = (table["end_ns"] + shift_ns)[is_state]
        shares[:, :, place] = np.diff(_passed(starts, ends, edges_ns), axis=1)
    shares *= number / span_ns
    return np.where(shares > _ROUNDING, shares, 0.0)


def _window(table: Table) -> tuple[float, float]:
    """Start and length of the window."""
    start_ns = float(table["start_ns"].min())
    return start_ns, float(table["end_ns"].max()) - start_ns


def _passed(starts: Floats, ends: Floats, at: Floats) -> Floats:
    """Time inside slices that are apart, up to each of `at`."""
    order = np.argsort(starts, kind="stable")
    borders = np.stack([starts[order], ends[order]], axis=1).ravel()
    inside = np.cumsum(np.stack([np.zeros(len(order)), (ends - starts)[order]], axis=1).ravel())
    return np.interp(at, borders, inside) if len(borders) else np.zeros(at.shape)
