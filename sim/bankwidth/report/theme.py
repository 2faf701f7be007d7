"""Colours and layout that every figure shares."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Figure: TypeAlias = (
    Any  # plotly.graph_objects.Figure; plotly is imported only when a figure is made
)

# Okabe and Ito, "Color universal design" (2008): told apart with any colour vision. Black is left
# out (it vanishes on a dark page), and yellow comes last (it is faint on a white one).
PALETTE: Final = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#999999", "#F0E442"),
)
GREY: Final = "#888888"
SYMBOLS: Final = (
    *("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "pentagon"),
)
# plotly.js offers to upload a figure to its maker's servers: not from here.
_NO_BUTTONS: Final = ["sendChartToCloud", "sendDataToCloud", "lasso2d", "select2d"]
_GRID: Final = "rgba(128,128,128,0.25)"


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each name, in order; the palette starts again when it is used up."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def style(figure: Figure, title: str, x_title: str, y_title: str, **layout: Any) -> Figure:
    """Title, axis titles with units, and the common looks; returns the same figure."""
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "automargin": True}
    figure.update_layout(
        template="none",
        title={"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        font={"family": "system-ui, sans-serif", "size": 12},
        paper_bgcolor="white",
        plot_bgcolor="white",
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GREY, "remove": _NO_BUTTONS},
        hoverlabel={"align": "left"},
    )
    figure.update_xaxes(title={"text": x_title}, **axis)
    figure.update_yaxes(title={"text": y_title}, ticksuffix="  ", **axis)
    figure.update_layout(**layout)
    return figure
