"""Figures of a request-level run: how long requests took, and what the machine did over time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.report.serving_timeline import Spans, spans_of, sum_of
from bankwidth.report.serving_words import TIMES, Summary, big
from bankwidth.report.theme import GREY, PALETTE, Figure, style
from bankwidth.report.words import best_unit, format_share, plain, short_time
from bankwidth.results import Table

COLUMNS: Final = {"ttft": "ttft_ns", "tpot": "tpot_ns", "tbt_max": "tbt_max_ns", "e2e": "e2e_ns"}
_COLOURS: Final = dict(zip(COLUMNS, (PALETTE[0], PALETTE[1], PALETTE[4], PALETTE[2]), strict=True))
_POINTS: Final = 200  # of a curve
_BINS_PER_DECADE: Final = 12
_DASHES: Final = ("solid", "dash", "dot", "dashdot")  # of machines


# ---------------------------------------------------------------------------- how long
def latency_figure(requests: Table, summary: Summary) -> Figure:
    """What share of the requests took no longer, for each time of a request; promises as lines."""
    import plotly.graph_objects as go

    figure = go.Figure()
    known = {name: _known(requests[column]) for name, column in COLUMNS.items()}
    scale_ns, unit = _scale(known)
    for name, values in known.items():
        if len(values):
            _add_curve(figure, name, values, scale_ns)
    for name, limit_ns in _limits(summary):
        figure.add_vline(x=limit_ns / scale_ns, line={"color": _COLOURS[name], "dash": "dot"})
    style(figure, "Requests that took no longer", f"time ({unit})", "share of requests (%)")
    figure.update_layout(height=400, margin={"b": 80}, hovermode="closest")
    figure.update_yaxes(range=[0, 101])
    return figure.update_xaxes(type="log", dtick=1, title={"standoff": 8})


def _scale(known: dict[str, NDArray[np.float64]]) -> tuple[float, str]:
    """A unit in which most times are above one."""
    medians = [float(np.median(values)) for values in known.values() if len(values)]
    return best_unit(max(medians, default=1.0), "time")


def _known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.sort(values[~np.isnan(values)])
    return found[found > 0]


def _add_curve(figure: Figure, name: str, values: NDArray[np.float64], scale_ns: float) -> None:
    shares = np.concatenate([np.linspace(0, 99, _POINTS), [99.5, 99.9, 100.0]])
    times_ns = np.percentile(values, shares, method="inverted_cdf")
    label = TIMES[name][0]
    figure.add_scatter(
        x=(times_ns / scale_ns).tolist(),
        y=shares.tolist(),
        mode="lines",
        line={"color": _COLOURS[name], "width": 2},
        name=label,
        hovertext=[
            f"<b>{share:.4g} %</b> of the requests: {label} at most {short_time(time)}"
            for share, time in zip(shares.tolist(), times_ns.tolist(), strict=True)
        ],
        hoverinfo="text",
        showlegend=True,
    )


def _limits(summary: Summary) -> list[tuple[str, float]]:
    slo = summary["slo"] or {}
    names = ("ttft", "tpot")
    return [(each, slo[f"limit_{each}_ns"]) for each in names if f"limit_{each}_ns" in slo]


def histogram_figure(requests: Table) -> Figure:
    """How many requests took how long to their first and to their last token."""
    import plotly.graph_objects as go

    names = ("ttft", "e2e")
    known = {name: _known(requests[COLUMNS[name]]) for name in names}
    scale_ns, unit = _scale(known)
    edges = _edges([values / scale_ns for values in known.values() if len(values)])
    figure = go.Figure()
    for name in names:
        counts, _ = np.histogram(known[name] / scale_ns, bins=edges)
        figure.add_bar(
            x=np.sqrt(edges[1:] * edges[:-1]).tolist(),
            width=np.diff(edges).tolist(),
            y=counts.tolist(),
            name=TIMES[name][0],
            marker={"color": _COLOURS[name]},
            opacity=0.6,
            hovertext=[
                f"<b>{TIMES[name][0]}</b> {short_time(low * scale_ns)} to "
                f"{short_time(high * scale_ns)}: {number} requests"
                for low, high, number in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
            ],
            hoverinfo="text",
        )
    style(figure, "Requests by how long they took", f"time ({unit})", "requests", barmode="overlay")
    figure.update_layout(height=320, margin={"b": 80}, showlegend=True)
    return figure.update_xaxes(type="log", dtick=1, title={"standoff": 8})


def _edges(series: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Ends of bins that are equally wide on a logarithmic axis."""
    least = min((float(values[0]) for values in series), default=1.0)
    most = max((float(values[-1]) for values in series), default=10.0)
    low, high = np.floor(np.log10(least)), np.ceil(np.log10(most * 1.000001))
    number = max(1, round(high - low)) * _BINS_PER_DECADE
    edges: NDArray[np.float64] = np.logspace(low, max(high, low + 1), number + 1)
    return edges


# ---------------------------------------------------------------------------- over time
def timeline_figure(iterations: Table, summary: Summary) -> Figure:
    """Sequences that run and wait, blocks in use, tokens per second: one above the other."""
    from plotly.subplots import make_subplots

    end_ns = summary["time_ns"]
    scale_ns, unit = best_unit(max(end_ns, 1.0), "time")
    titles = ("sequences", "keys and values (%)", "tokens per s")
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for place, (name, spans, blocks) in enumerate(_machines(iterations, summary)):
        prefix = f"{plain(name)}: " if name else ""
        dash = _DASHES[place % len(_DASHES)]
        for row, label, colour, values in _lines(spans, blocks):
            _add_line(figure, row, prefix + label, colour, dash, spans.middle_ns / scale_ns, values)
    style(figure, "", "", "", hovermode="x unified")
    figure.update_layout(height=620, margin={"t": 24, "b": 110})
    for row, text in enumerate(titles, start=1):
        figure.update_yaxes(title={"text": text}, rangemode="tozero", row=row, col=1)
    return figure.update_xaxes(title={"text": f"time ({unit})", "standoff": 8}, row=3, col=1)


def _machines(iterations: Table, summary: Summary) -> list[tuple[str, Spans, int]]:
    """Name, spans and blocks of each machine; of more than there are dashes for, of all together.

    One alone has no name.
    """
    tables, end_ns = _by_machine(iterations, summary), summary["time_ns"]
    spans = {name: spans_of(table, end_ns) for name, table in tables.items()}
    blocks = {name: summary["machines"][name]["kv"]["blocks"] for name in tables}
    if len(tables) == 1 or len(tables) > len(_DASHES):
        return [("", sum_of(list(spans.values())), sum(blocks.values()))]
    return [(name, spans[name], blocks[name]) for name in tables]


def _by_machine(iterations: Table, summary: Summary) -> dict[str, Table]:
    names = list(summary["machines"])
    if "machine" not in iterations:
        return {names[0]: iterations}
    return {name: iterations.take(iterations["machine"] == name) for name in names}


def _lines(spans: Spans, blocks: int) -> list[tuple[int, str, str, NDArray[np.float64]]]:
    lines = [
        (1, "running", PALETTE[0], spans.running),
        (1, "waiting", PALETTE[3], spans.waiting),
        (2, "blocks in use", PALETTE[2], 100 * spans.used_blocks / blocks),
        (3, "prompt tokens", PALETTE[4], spans.prompt_tokens_per_s),
        (3, "output tokens", PALETTE[1], spans.output_tokens_per_s),
    ]
    if spans.cached_blocks.any():
        lines.append((2, "prefixes kept", GREY, 100 * spans.cached_blocks / blocks))
    return lines


def _add_line(
    figure: Figure,
    row: int,
    label: str,
    colour: str,
    dash: str,
    times: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    shown = format_share if row == 2 else big
    texts = [shown(value / 100 if row == 2 else value) for value in values.tolist()]
    data: dict[str, Any] = {
        "x": times.tolist(),
        "y": values.tolist(),
        "name": label,
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "customdata": texts,
        "hovertemplate": "%{customdata}",
    }
    figure.add_scatter(mode="lines", showlegend=True, row=row, col=1, **data)
