"""report.html of a drive's replay: latency, utilisation, timeline, stages, counts, energy."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any, Final

from bankwidth import __version__
from bankwidth.report.drive_figures import latency_figure, utilisation_figure
from bankwidth.report.drive_lanes import kinds_of, lane_figure, look, shown_part
from bankwidth.report.drive_words import (
    COUNTS,
    LATENCIES,
    SIDES,
    Summary,
    bound_sentence,
    energy_shares,
    format_iops,
    headline,
    key_figures,
    offered,
    settling,
    spread,
    stages,
    title,
    utilisations,
    wear,
    window_title,
)
from bankwidth.report.page import (
    asset,
    bar_row,
    card,
    figure_data,
    pair_rows,
    plotly_source,
    script_json,
    short,
)
from bankwidth.report.replay_words import count, exact_ns
from bankwidth.report.words import format_rate, short_energy, short_time
from bankwidth.results import Table

_NO_WINDOW: Final = "Give a window of the replay to see here what every channel and die did in it."
_NO_STAGES: Final = "No page was read."
_NO_ENERGY: Final = "The description of this drive has no energies."


def drive_page(summary: Summary, tables: Mapping[str, Table]) -> str:
    """The whole page as text; the tables are `latencies`, and perhaps a `timeline`."""
    timeline = tables.get("timeline")
    figures = {
        "latency": latency_figure(tables["latencies"]),
        "utilisation": utilisation_figure(summary),
    }
    if timeline is not None:
        figures["lanes"] = lane_figure(timeline)
    data = {"figures": {name: figure_data(figure) for name, figure in figures.items()}}
    return Template(asset("drive.html")).substitute(
        title=html.escape(title(summary)),
        headline=html.escape(headline(summary)),
        offered=html.escape(offered(summary)),
        bound=html.escape(f"Limited by: {bound_sentence(summary)}. {settling(summary)}".strip()),
        style=asset("report.css") + asset("replay.css") + asset("drive.css"),
        cards="".join(card(name, value) for name, value in key_figures(summary)),
        latencies=_latency_table(summary),
        resources=_resource_rows(summary),
        timeline=_timeline_section(summary, timeline),
        stages=_bars(_stage_rows(summary), _NO_STAGES),
        counts=_count_rows(summary),
        wear=html.escape(wear(summary)),
        energy=_bars(_energy_rows(summary), _NO_ENERGY),
        provenance=pair_rows(_provenance(summary)),
        data=script_json(short(data)),
        plotly=plotly_source(),
        script=asset("figures.js"),
    )


def _latency_table(summary: Summary) -> str:
    """A column per direction, which a phone can show; a row per figure."""
    sides = list(summary["latency"])
    heads = "".join(f"<th scope=col class=number>{SIDES[side]}</th>" for side in sides)
    rows = "".join(_row(name, cells) for name, cells in _latency_cells(summary, sides))
    return f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody>"


def _latency_cells(summary: Summary, sides: list[str]) -> Iterator[tuple[str, list[str]]]:
    for key, name in LATENCIES.items():
        yield name, [short_time(summary["latency"][side][key]) for side in sides]
    yield "throughput", [format_iops(summary[f"{side}_iops"]) for side in sides]
    rates = (summary[f"{side}_bandwidth_bytes_per_ns"] for side in sides)
    yield "bandwidth", [format_rate(rate) for rate in rates]


def _row(name: str, cells: list[str]) -> str:
    shown = "".join(f"<td class=number>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><th scope=row>{html.escape(name)}</th>{shown}</tr>"


def _resource_rows(summary: Summary) -> str:
    return "".join(
        bar_row(name, spread(least, most), mean, meaning)
        for name, mean, least, most, meaning in utilisations(summary)
    )


def _timeline_section(summary: Summary, timeline: Table | None) -> str:
    if timeline is None:
        return f"<p class=note>{_NO_WINDOW}</p>"
    return Template(asset("drive_lanes.html")).substitute(
        window=html.escape(window_title(summary)),
        legend="".join(_chip(*look(kind)) for kind in kinds_of(timeline)),
        drawn=html.escape(_drawn(timeline)),
    )


def _chip(name: str, colour: str) -> str:
    """An entry of the legend, which plotly would not break into lines on a phone."""
    return f'<li><span style="background:{colour}"></span>{html.escape(name)}</li>'


def _drawn(timeline: Table) -> str:
    """What is left out of the picture, if anything is."""
    shown, until_ns = shown_part(timeline)
    if len(shown) == len(timeline):
        return ""
    all_events, here = count(len(timeline)), count(len(shown))
    return (
        f"The window has {all_events} events, too many to draw: the first {here} are here, those "
        f"until {exact_ns(until_ns)}. timeline.csv has all."
    )


def _stage_rows(summary: Summary) -> str:
    return "".join(
        bar_row(name, short_time(time), share, meaning)
        for name, time, share, meaning in stages(summary)
    )


def _count_rows(summary: Summary) -> str:
    """All that is counted, with what it is; zeros are left out."""
    return "".join(
        f"<tr><th scope=row>{html.escape(name.replace('_', ' '))}</th>"
        f"<td class=number>{count(number)}</td>"
        f"<td class=meaning>{html.escape(COUNTS.get(name, ''))}</td></tr>"
        for name, number in summary["counts"].items()
        if number
    )


def _energy_rows(summary: Summary) -> str:
    return "".join(
        bar_row(name, short_energy(pj), part, "") for name, pj, part in energy_shares(summary)
    )


def _bars(rows: str, otherwise: str) -> str:
    if not rows:
        return f"<p class=note>{otherwise}</p>"
    return f'<table class="bars told"><tbody>{rows}</tbody></table>'


def _provenance(summary: Summary) -> dict[str, Any]:
    """Everything that another replay must share to give the same page."""
    options = {name.replace("_", " "): value for name, value in summary["options"].items()}
    return {"bankwidth": __version__, "device": summary["device"], **options}
