"""The timeline as a figure: bars on tracks, merged until a browser draws them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bankwidth.report.theme import Figure, colours, style
from bankwidth.report.timeline import slices_of
from bankwidth.report.words import best_unit, plain, short_time
from bankwidth.results import Result, Slice
from bankwidth.units import ps_to_ns

MAX_BARS: Final = 2000


@dataclass(slots=True)
class Bar:
    """One slice, or a run of neighbours on a track that are too short to see one by one."""

    track: str
    category: str
    first: str
    start_ps: int
    end_ps: int
    busy_ps: int
    count: int = 1


def bars_of(slices: Iterable[Slice], max_bars: int = MAX_BARS) -> list[Bar]:
    """At most `max_bars` bars, or one per track and category where those are more.

    Neighbours become one bar while it stays short; pauses inside it are bridged, its hover says
    how much of it was busy.
    """
    ordered = sorted(slices, key=lambda piece: (piece.track, piece.category, piece.start_ps))
    bars = [_bar(piece) for piece in ordered]
    span_ps = max((bar.end_ps for bar in bars), default=0)
    shortest_ps = max(1, span_ps // max_bars)
    while len(bars) > max_bars and shortest_ps < 2 * span_ps:
        bars = _merged(bars, shortest_ps)
        shortest_ps *= 2
    return bars


def _bar(piece: Slice) -> Bar:
    end_ps = piece.start_ps + piece.dur_ps
    return Bar(piece.track, piece.category, piece.name, piece.start_ps, end_ps, piece.dur_ps)


def _merged(bars: list[Bar], shortest_ps: int) -> list[Bar]:
    """Neighbours of a track and category joined while they stay within `shortest_ps`."""
    merged: list[Bar] = []
    for bar in bars:
        last = merged[-1] if merged else None
        if last is not None and _joins(last, bar, shortest_ps):
            last.end_ps = max(last.end_ps, bar.end_ps)
            last.busy_ps += bar.busy_ps
            last.count += bar.count
        else:
            merged.append(bar)
    return merged


def _joins(last: Bar, bar: Bar, shortest_ps: int) -> bool:
    same = last.track == bar.track and last.category == bar.category
    return same and max(last.end_ps, bar.end_ps) - last.start_ps <= shortest_ps


def timeline_bars(result: Result, max_bars: int = MAX_BARS) -> Figure:
    """A row per track, a colour per category; bars that stand for several slices say so."""
    import plotly.graph_objects as go

    slices = slices_of(result)
    bars = bars_of(slices, max_bars)
    tracks = list(dict.fromkeys(piece.track for piece in slices))
    colour = colours(list(dict.fromkeys(piece.category for piece in slices)))
    scale_ns, unit = best_unit(result.latency_ns, "time")
    figure = go.Figure()
    for category in colour:
        some = [bar for bar in bars if bar.category == category]
        figure.add_bar(
            orientation="h",
            y=[plain(bar.track) for bar in some],
            base=[ps_to_ns(bar.start_ps) / scale_ns for bar in some],
            x=[ps_to_ns(bar.end_ps - bar.start_ps) / scale_ns for bar in some],
            name=plain(category),
            marker={"color": colour[category], "line": {"width": 0}},
            hovertext=[_hover(bar) for bar in some],
            hoverinfo="text",
        )
    merged = "" if len(bars) == len(slices) else f" ({len(slices)} slices in {len(bars)} bars)"
    style(figure, f"Timeline{merged}", f"time ({unit})", "", barmode="overlay", bargap=0.3)
    figure.update_layout(height=170 + 36 * len(tracks))
    figure.update_xaxes(range=[0, result.latency_ns / scale_ns])
    order = [plain(track) for track in reversed(tracks)]
    return figure.update_yaxes(type="category", categoryorder="array", categoryarray=order)


def _hover(bar: Bar) -> str:
    start, long = (
        short_time(ps_to_ns(bar.start_ps)),
        short_time(ps_to_ns(bar.end_ps - bar.start_ps)),
    )
    if bar.count == 1:
        return f"<b>{plain(bar.first)}</b> ({plain(bar.category)})<br>{long} from {start}"
    busy = short_time(ps_to_ns(bar.busy_ps))
    return (
        f"<b>{bar.count} slices</b> ({plain(bar.category)}), first {plain(bar.first)}<br>"
        f"{busy} busy within {long} from {start}"
    )
