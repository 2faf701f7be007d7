"""Figures of a drive's replay: how many requests took how long, how busy each resource was."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.report.drive_words import SIDES, Summary, resource_name, utilisations
from bankwidth.report.theme import GREY, PALETTE, Figure, style
from bankwidth.report.words import best_unit, format_share, plain, short_time
from bankwidth.results import Table

_COLOURS: Final = {"read": PALETTE[0], "write": PALETTE[3]}
# Shares of requests at which the axis has a line: as far apart as their distance from all of them.
_LINES_PCT: Final = (0, 50, 90, 99, 99.9, 99.99)
_MOST_NINES: Final = 4.3  # where all requests are drawn: 99.995 %
_ROW: Final = 30  # pixels


def latency_figure(table: Table) -> Figure:
    """What share of the requests took no longer, with room for the last of them.

    The table is that of `ReplayedDrive.latencies`. The axis of shares counts nines: each decade of
    requests that take longer has the same height.
    """
    import plotly.graph_objects as go

    scale_ns, unit = best_unit(max(1.0, float(table["latency_ns"].min())), "time")
    figure = go.Figure()
    for side in dict.fromkeys(table["direction"].tolist()):
        part = table.take(table["direction"] == side)
        figure.add_scatter(
            x=(part["latency_ns"] / scale_ns).tolist(),
            y=_nines(part["percentile_pct"]).tolist(),
            mode="lines",
            line={"shape": "hv", "color": _COLOURS[side], "width": 2},
            name=SIDES[side],
            hovertext=[_hover(row) for row in part.rows()],
            hoverinfo="text",
            showlegend=True,
        )
    style(figure, "Requests that took no longer", f"latency ({unit})", "")
    figure.update_layout(height=380, margin={"b": 76}, hovermode="closest")
    figure.update_xaxes(type="log", title={"standoff": 8}, **_ticks(table, scale_ns))
    return figure.update_yaxes(
        tickvals=_nines(np.array(_LINES_PCT)).tolist(),
        ticktext=[f"{line:g} %" for line in _LINES_PCT],
        range=[0, _MOST_NINES + 0.1],
    )


def _nines(percent: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for none, 1 for 90 %, 2 for 99 %, and an end for all."""
    left = np.maximum(1 - np.asarray(percent) / 100, 10.0**-_MOST_NINES)
    nines: NDArray[np.float64] = -np.log10(left)
    return np.round(nines, 4)


def _ticks(table: Table, scale_ns: float) -> dict[str, Any]:
    """1, 2, 5, 10, ... within the latencies: whole decades alone would often be one or none."""
    least, most = (f(table["latency_ns"]) / scale_ns for f in (np.min, np.max))
    steps = [digit * 10.0**power for power in range(-1, 12) for digit in (1, 2, 5)]
    inside = [step for step in steps if 0.8 * least <= step <= 1.25 * most]
    ends = [float(np.log10(0.8 * least)), float(np.log10(1.25 * most))]
    return {"tickvals": inside, "ticktext": [f"{step:,g}" for step in inside], "range": ends}


def _hover(row: dict[str, Any]) -> str:
    share, time = f"{row['percentile_pct']:g} %", short_time(row["latency_ns"])
    return f"<b>{share}</b> of the {SIDES[row['direction']]} take at most {time}"


def utilisation_figure(summary: Summary) -> Figure:
    """A bar per resource, as long as its mean; a line from its least to its most busy member."""
    import plotly.graph_objects as go

    used = utilisations(summary)
    limit = resource_name(summary["bound"])
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=[plain(name) for name, *_ in used],
            x=[100 * mean for _, mean, *_ in used],
            marker={"color": [PALETTE[3] if name == limit else PALETTE[0] for name, *_ in used]},
            error_x=_spread(used),
            hovertext=[_resource_hover(*row) for row in used],
            hoverinfo="text",
        )
    )
    style(figure, "", "share of the time (%)", "", showlegend=False, bargap=0.3)
    figure.update_layout(height=80 + _ROW * len(used), margin={"t": 24})
    figure.update_xaxes(range=[0, 101], title={"standoff": 8})
    return figure.update_yaxes(autorange="reversed")


def _spread(used: list[tuple[str, float, float, float, str]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (most - mean) for _, mean, _, most, _ in used],
        "arrayminus": [100 * (mean - least) for _, mean, least, _, _ in used],
        "color": GREY,
        "thickness": 1.5,
    }


def _resource_hover(name: str, mean: float, least: float, most: float, meaning: str) -> str:
    ends = f"{format_share(least)} to {format_share(most)}"
    return f"<b>{plain(name)}</b>: {format_share(mean)} on average, {ends}<br>{plain(meaning)}"
