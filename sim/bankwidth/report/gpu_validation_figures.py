"""Measured kernel times beside ours: scatter plots, one pair for each family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from bankwidth.report.gpu_validation import time_of
from bankwidth.report.theme import GREY, SYMBOLS, Figure, colours, style
from bankwidth.report.words import plain

NEAR: Final = 0.1  # half the width of the band that is drawn
_US_IN_S: Final = 1e6
_MARGIN: Final = 1.3
_BAND: Final = "rgba(128,128,128,0.25)"
_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_LEAST_RANGE: Final = (0.45, 2.2)  # of ratios, so that small errors look small
_HEIGHT: Final = 430


class Point(Protocol):
    """A measured row and ours."""

    @property
    def table(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def shape(self) -> str: ...
    @property
    def measured_s(self) -> float: ...
    @property
    def ours_s(self) -> float: ...


Groups = Mapping[str, Sequence[Point]]  # by device and library


def predicted(groups: Groups, looks: Looks) -> Figure:
    """Ours over measured, both logarithmic; on the line they are equal."""
    import plotly.graph_objects as go

    least, most = _span(groups)
    figure = go.Figure()
    low, high = 1 - NEAR, 1 + NEAR
    corners = [least, most, most, least]
    _add_band(figure, corners, [low * least, low * most, high * most, high * least])
    _add_line(figure, [least, most], [least, most])
    for group, points in groups.items():
        figure.add_trace(looks.dots(group, points, [p.ours_s * _US_IN_S for p in points]))
    style(figure, "Ours over measured", "measured (us)", "ours (us)", height=_HEIGHT)
    return _log_axes(figure, dtick=1)


def ratios(groups: Groups, looks: Looks) -> Figure:
    """Ours divided by measured, over the measured time."""
    import plotly.graph_objects as go

    least, most = _span(groups)
    figure = go.Figure()
    low, high = 1 - NEAR, 1 + NEAR
    _add_band(figure, [least, most, most, least], [low, low, high, high])
    _add_line(figure, [least, most], [1.0, 1.0])
    for group, points in groups.items():
        figure.add_trace(looks.dots(group, points, [p.ours_s / p.measured_s for p in points]))
    style(figure, "Ours divided by measured", "measured (us)", "ratio", height=_HEIGHT)
    _log_axes(figure, dtick=None)
    shown = [p.ours_s / p.measured_s for points in groups.values() for p in points]
    lowest = min(*_LEAST_RANGE, min(shown) / _MARGIN)
    highest = max(*_LEAST_RANGE, max(shown) * _MARGIN)
    return figure.update_yaxes(
        tickvals=_TICKS,
        ticktext=[f"{tick:g}" for tick in _TICKS],
        range=[math.log10(lowest), math.log10(highest)],
    )


def _span(groups: Groups) -> tuple[float, float]:
    """Measured times in microseconds, and a little more on both sides."""
    times = [point.measured_s * _US_IN_S for points in groups.values() for point in points]
    return min(times) / _MARGIN, max(times) * _MARGIN


def _log_axes(figure: Figure, dtick: float | None) -> Figure:
    figure.update_xaxes(type="log", dtick=1, tickformat="~s")
    return figure.update_yaxes(type="log", dtick=dtick, tickformat="~s")


def _add_band(figure: Figure, x: list[float], y: list[float]) -> None:
    figure.add_scatter(
        x=x,
        y=y,
        mode="none",
        fill="toself",
        fillcolor=_BAND,
        name=f"within {100 * NEAR:.0f} %",
        hoverinfo="skip",
    )


def _add_line(figure: Figure, x: list[float], y: list[float]) -> None:
    line = {"color": GREY, "width": 1}
    figure.add_scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


class Looks:
    """A colour for each device and library, a symbol for each device, the same in all figures."""

    def __init__(self, groups: Mapping[tuple[str, str], int]) -> None:
        """`groups` are devices with libraries, and their rows: the fewest get the faint colour."""
        known = sorted(groups, key=lambda group: (-groups[group], group))
        devices = sorted({device for device, _ in known})
        self._colours = colours([group_name(*group) for group in known])
        self._symbols = {
            group_name(*group): SYMBOLS[devices.index(group[0]) % len(SYMBOLS)] for group in known
        }

    def dots(self, group: str, points: Sequence[Point], y: Sequence[float]) -> Any:
        """The points of a group; the text on hover says which row each is."""
        import plotly.graph_objects as go

        marker = {
            "color": self._colours[group],
            "symbol": self._symbols[group],
            "size": 6,
            "opacity": 0.65,
        }
        return go.Scatter(
            x=[point.measured_s * _US_IN_S for point in points],
            y=list(y),
            mode="markers",
            name=plain(group),
            marker=marker,
            text=[_hover(point) for point in points],
            hoverinfo="text",
        )


def group_name(device: str, library: str) -> str:
    """`h200, trtllm`."""
    return f"{device}, {library}"


def _hover(point: Point) -> str:
    error_pct = 100.0 * (point.ours_s / point.measured_s - 1.0)
    times = f"measured {time_of(point.measured_s)}, ours {time_of(point.ours_s)}"
    where = f"{point.table}:{point.line}"
    return f"{plain(point.shape)}<br>{times} ({error_pct:+.1f} %)<br>{plain(where)}"
