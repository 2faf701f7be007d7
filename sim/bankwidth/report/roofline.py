"""Roofline: FLOP per byte against achieved FLOP per second, under the machine's roofs."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from bankwidth.report.groups import group_operators
from bankwidth.report.theme import GREY, SYMBOLS, Figure, colours, style
from bankwidth.report.words import format_rate, format_share, plain, short_time
from bankwidth.results import Result, Table

_MARGIN: Final = (
    4.0  # the drawn range of intensity reaches this factor beyond the points and ridges
)
_SLOPES: Final = ("dash", "longdashdot")
_FLATS: Final = ("solid", "dot", "dashdot", "longdash")
_SMALLEST_PX, _LARGEST_PX = 8.0, 30.0


def roofline(result: Result) -> Figure:
    """Each distinct operator is a point, sized by its share of the time, coloured by its bound.

    Operators without FLOPs or bytes have no place on it and are left out; the subtitle counts them.
    """
    import plotly.graph_objects as go

    groups = group_operators(result)
    points = groups.take((groups["flops"] > 0) & (groups["bytes"] > 0))
    figure = go.Figure()
    _add_roofs(figure, result, _intensity_range(result, points))
    _add_points(figure, points)
    left_out = int(groups["count"].sum() - points["count"].sum())
    style(figure, "Roofline", "FLOP per byte moved", "achieved TFLOPS", height=480)
    if left_out:
        note = f"{left_out} operators without FLOPs are left out"
        figure.update_layout(title={"subtitle": {"text": note}}, margin={"t": 70})
    figure.update_xaxes(type="log", dtick=1, tickformat="~g")
    return figure.update_yaxes(type="log", dtick=1, tickformat="~g")


def _intensity(points: Table) -> Any:
    return points["flops"] / points["bytes"]


def _ridges(result: Result) -> list[float]:
    """FLOP per byte at which each peak takes over from each bandwidth."""
    return [
        1000.0 * peak_tflops / bandwidth_bytes_per_ns
        for peak_tflops in result.roofs.get("peaks_tflops", {}).values()
        for bandwidth_bytes_per_ns in result.roofs.get("bandwidth_bytes_per_ns", {}).values()
    ]


def _intensity_range(result: Result, points: Table) -> tuple[float, float]:
    seen = [*_intensity(points).tolist(), *_ridges(result)] or [1.0]
    return min(seen) / _MARGIN, max(seen) * _MARGIN


def _add_roofs(figure: Figure, result: Result, span: tuple[float, float]) -> None:
    peaks_tflops = result.roofs.get("peaks_tflops", {})
    bandwidths = result.roofs.get("bandwidth_bytes_per_ns", {})
    top_tflops = max(peaks_tflops.values(), default=math.inf)
    widest_bytes_per_ns = max(bandwidths.values(), default=math.inf)
    for number, (name, bytes_per_ns) in enumerate(bandwidths.items()):
        ends = [span[0], min(span[1], 1000.0 * top_tflops / bytes_per_ns)]
        text = f"{name} {format_rate(bytes_per_ns)}"
        _add_roof(
            figure, text, ends, [x * bytes_per_ns / 1000.0 for x in ends], _SLOPES[number % 2]
        )
    for number, (name, peak_tflops) in enumerate(_merged(peaks_tflops).items()):
        ends = [max(span[0], 1000.0 * peak_tflops / widest_bytes_per_ns), span[1]]
        text = f"{name} {peak_tflops:.4g} TFLOPS"
        _add_roof(figure, text, ends, [peak_tflops, peak_tflops], _FLATS[number % 4])


def _merged(peaks_tflops: dict[str, float]) -> dict[str, float]:
    """Peaks of the same height under one name, as they are one line."""
    names: dict[float, list[str]] = {}
    for name, peak_tflops in peaks_tflops.items():
        names.setdefault(peak_tflops, []).append(name)
    return {_joined(together): peak_tflops for peak_tflops, together in names.items()}


def _joined(names: list[str]) -> str:
    """`gpu bf16`, `gpu fp16` as `gpu bf16, fp16`."""
    engine = names[0].partition(" ")[0] + " "
    return ", ".join([names[0], *(name.removeprefix(engine) for name in names[1:])])


def _add_roof(figure: Figure, text: str, x: list[float], y: list[float], dash: str) -> None:
    """One roof, named in the legend: labels on roofs of similar height would cover each other."""
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=plain(text),
        line={"color": GREY, "width": 1.5, "dash": dash},
        hoverinfo="name",
    )


def _add_points(figure: Figure, points: Table) -> None:
    bounds = list(dict.fromkeys(points["bound"].tolist()))
    colour = colours(bounds)
    tflops = points["flops"] / np.maximum(points["duration_ns"], 1e-12) / 1000.0
    for number, bound in enumerate(bounds):
        chosen = points["bound"] == bound
        some = points.take(chosen)
        figure.add_scatter(
            x=_intensity(some).tolist(),
            y=tflops[chosen].tolist(),
            mode="markers",
            name=plain(f"bound by {bound}"),
            marker={
                "color": colour[bound],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": [_size_px(share) for share in some["share"].tolist()],
                "opacity": 0.85,
            },
            hovertext=[_hover(row) for row in some.rows()],
            hoverinfo="text",
        )


def _size_px(share: float) -> float:
    """Area in proportion to the share, not below what a finger or an eye finds."""
    known = 0.0 if math.isnan(share) else share
    return round(_SMALLEST_PX + (_LARGEST_PX - _SMALLEST_PX) * math.sqrt(known), 1)


def _hover(row: dict[str, Any]) -> str:
    tflops = row["flops"] / max(row["duration_ns"], 1e-12) / 1000.0
    lines = (
        f"<b>{plain(row['name'])}</b> on {plain(row['engine'])}, {row['count']} times",
        f"{row['flops'] / row['bytes']:.3g} FLOP/B, {tflops:.3g} TFLOPS",
        f"{format_rate(row['bandwidth_bytes_per_ns'])}, {short_time(row['time_ns'])}"
        f" ({format_share(row['share'] or 0.0)} of the time)",
    )
    return "<br>".join(lines)
