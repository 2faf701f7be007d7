"""Waterfall: from the lower bound of the run, part by part, to its latency."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from bankwidth.report.theme import GREY, PALETTE, Figure, style
from bankwidth.report.words import best_unit, part_meaning, part_name, plain, short_time
from bankwidth.results import Result

_LABEL_ROOM: Final = 1.25  # the axis goes on this far, for the labels of the last bars


class Step(NamedTuple):
    """A bar from `start_ns`, `size_ns` long (negative: back)."""

    name: str
    meaning: str
    start_ns: float
    size_ns: float


def steps(result: Result) -> list[Step]:
    """The bars: lower bound, what each part adds to it, latency. Parts of 0 are left out.

    Operators are bound one by one, so their times at the bound add up to more than the run's own
    bound wherever two resources could have overlapped; that difference is a step of its own.
    It goes back where what binds the run is fetched beside operators.
    """
    bars = [Step("lower bound", "bytes or FLOPs over peak, whole run", 0.0, result.lower_bound_ns)]
    reached_ns = result.lower_bound_ns
    for name, meaning, size_ns in _losses(result):
        if size_ns:
            bars.append(Step(name, meaning, reached_ns, size_ns))
            reached_ns += size_ns
    return [*bars, Step("latency", "the whole run", 0.0, result.latency_ns)]


def _losses(result: Result) -> list[tuple[str, str, float]]:
    bound_ns = result.parts_ns.get("bound_ns", 0.0)
    losses = [
        (part_name(part), part_meaning(part), size_ns)
        for part, size_ns in result.parts_ns.items()
        if part != "bound_ns"
    ]
    apart_ns = bound_ns - result.lower_bound_ns
    if math.isclose(bound_ns, result.lower_bound_ns, rel_tol=1e-9):
        apart_ns = 0.0
    return [_apart(apart_ns), *losses]


def _apart(apart_ns: float) -> tuple[str, str, float]:
    """What the operators' bounds are more than the run's; less where some work owns no time."""
    if apart_ns < 0:
        return "side by side", "work beside operators that own the time", apart_ns
    return "one by one", "operators each at their own bound, one after another", apart_ns


def waterfall(result: Result) -> Figure:
    """Horizontal bars, top to bottom, each starting where the one above ends."""
    import plotly.graph_objects as go

    bars = steps(result)
    scale_ns, unit = best_unit(result.latency_ns, "time")
    totals = {"lower bound": PALETTE[2], "latency": GREY}
    figure = go.Figure(
        go.Bar(
            orientation="h",
            y=[plain(bar.name) for bar in bars],
            base=[bar.start_ns / scale_ns for bar in bars],
            x=[bar.size_ns / scale_ns for bar in bars],
            marker={"color": [totals.get(bar.name, PALETTE[3]) for bar in bars]},
            text=[_label(bar) for bar in bars],
            textposition=["inside", *["outside"] * (len(bars) - 2), "inside"],
            cliponaxis=False,
            hovertext=[_hover(bar, result.latency_ns) for bar in bars],
            hoverinfo="text",
        )
    )
    style(figure, "From the lower bound to the latency", f"time ({unit})", "", showlegend=False)
    figure.update_layout(height=120 + 34 * len(bars), bargap=0.25)
    figure.update_xaxes(range=[0, _LABEL_ROOM * result.latency_ns / scale_ns])
    return figure.update_yaxes(autorange="reversed")


def _label(bar: Step) -> str:
    sign = "" if bar.name in ("lower bound", "latency") else "+" if bar.size_ns > 0 else "-"
    return f"{sign}{short_time(abs(bar.size_ns))}"


def _hover(bar: Step, latency_ns: float) -> str:
    share = f" ({100 * bar.size_ns / latency_ns:.1f} % of the latency)" if latency_ns else ""
    return f"<b>{plain(bar.name)}</b>: {_label(bar)}{share}<br>{plain(bar.meaning)}"
