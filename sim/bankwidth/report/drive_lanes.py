"""What every channel and die of a drive did over time: a lane each, a colour per kind of event."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bankwidth.report.replay_words import exact_ns
from bankwidth.report.theme import PALETTE, Figure, style
from bankwidth.report.words import best_unit, plain
from bankwidth.results import Table

MAX_BARS: Final = 6000  # more are slow to draw
# kind -> (name, colour); the order is that of the legend, and of drawing.
KINDS: Final = {
    "DIE_SUSPEND": ("suspended", "rgba(128,128,128,0.45)"),  # beneath the reads that it is for
    "DIE_READ": ("array reads", PALETTE[5]),
    "DIE_PROGRAM": ("array programs", PALETTE[3]),
    "DIE_ERASE": ("array erases", PALETTE[4]),
    "DIE_MOVE": ("page to cache register", "#8A6BBE"),
    "BUS_COMMAND": ("command", PALETTE[6]),
    "BUS_DATA_OUT": ("data out", PALETTE[0]),
    "BUS_DATA_IN": ("data in", PALETTE[1]),
    "ECC": ("decoding", PALETTE[2]),
    "FILTER": ("filter", "#7A9E00"),
    "COMPUTE": ("compute", "#B07AA1"),
    "THEN": ("softmax, top-k", "#9C755F"),
    "CORE": ("firmware", "#8C8C5A"),
    "PCIE_DOWN": ("to the drive", PALETTE[1]),
    "PCIE_UP": ("to the host", PALETTE[0]),
}
_OTHER: Final = "#777777"
# lanes up to which a lane is this high, in pixels, with a label at every n-th
_LANE_HEIGHTS: Final = ((16, 24, 1), (40, 19, 1), (128, 14, 1), (1 << 30, 8, 2))
_ABOVE, _TIME = 30, 56  # pixels: room for buttons above the lanes, time below them


def shown_part(table: Table) -> tuple[Table, float]:
    """The events that are drawn, and until when they are all of them, in ns.

    Of more than MAX_BARS the first are drawn, by their start.
    """
    if len(table) <= MAX_BARS:
        return table, float(table["end_ns"].max(initial=0.0))
    until_ns = float(np.partition(table["start_ns"], MAX_BARS)[MAX_BARS])
    return table.take(table["start_ns"] < until_ns), until_ns


def lane_figure(table: Table) -> Figure:
    """A lane per resource, in the table's order; columns are those of `timeline_of`."""
    import plotly.graph_objects as go

    shown, until_ns = shown_part(table)
    start_ns = float(shown["start_ns"].min(initial=until_ns))
    scale_ns, unit = best_unit(max(1.0, (until_ns - start_ns) / 10), "time")
    figure = go.Figure()
    for kind in kinds_of(shown):
        _add_bars(figure, shown.take(shown["kind"] == kind), kind, scale_ns)
    style(figure, "", f"time ({unit})", "", barmode="overlay", bargap=0.15, showlegend=False)
    lanes = list(dict.fromkeys(table["lane"].tolist()))
    return _with_lanes(figure, lanes, (start_ns / scale_ns, until_ns / scale_ns))


def kinds_of(table: Table) -> list[str]:
    """Kinds of events in a table, in the order of the legend."""
    return sorted(set(table["kind"].tolist()), key=lambda kind: [*KINDS, kind].index(kind))


def look(kind: str) -> tuple[str, str]:
    """Name and colour of a kind of event."""
    return KINDS.get(kind, (kind.lower().replace("_", " "), _OTHER))


def _add_bars(figure: Figure, some: Table, kind: str, scale_ns: float) -> None:
    name, colour = look(kind)
    figure.add_bar(
        orientation="h",
        y=some["lane"].tolist(),
        base=np.round(some["start_ns"] / scale_ns, 6).tolist(),
        x=np.round((some["end_ns"] - some["start_ns"]) / scale_ns, 6).tolist(),
        name=plain(name),
        marker={"color": colour, "line": {"width": 0}},
        hovertext=[_hover(row, name) for row in some.rows()],
        hoverinfo="text",
    )


def _hover(row: dict[str, Any], name: str) -> str:
    place = [f"{part} {row[part]}" for part in ("plane", "block", "page", "lpa") if row[part] >= 0]
    what = f"<b>{plain(row['lane'])}</b>: {plain(', '.join([name, *place]))}"
    return f"{what}<br>{exact_ns(row['end_ns'] - row['start_ns'])} from {exact_ns(row['start_ns'])}"


def _with_lanes(figure: Figure, lanes: list[str], ends: tuple[float, float]) -> Figure:
    height, step = next((px, n) for most, px, n in _LANE_HEIGHTS if len(lanes) <= most)
    figure.update_layout(
        height=_ABOVE + _TIME + height * len(lanes), margin={"t": _ABOVE, "b": _TIME}
    )
    figure.update_xaxes(
        range=list(ends),
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
        ticktext=[plain(lane) for lane in lanes[::step]],
        tickfont={"size": min(12, height * step - 2)},
        fixedrange=True,  # dragging zooms into time
        showgrid=False,
    )
