"""report.html of a request-level run: latencies, the machine over time, bounds, room, energy."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from string import Template
from typing import Any, Final

from bankwidth import __version__
from bankwidth.report import serving_words as words
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
from bankwidth.report.serving_figures import histogram_figure, latency_figure, timeline_figure
from bankwidth.report.serving_words import Summary
from bankwidth.results import Table

_LISTED: Final = 20  # rejected requests on the page; requests.csv has all


def serving_page(summary: Summary, tables: Mapping[str, Table]) -> str:
    """The whole page as text; the tables are `requests` and `iterations`."""
    figures = {
        "latency": latency_figure(tables["requests"], summary),
        "histogram": histogram_figure(tables["requests"]),
        "timeline": timeline_figure(tables["iterations"], summary),
    }
    data = {"figures": {name: figure_data(figure) for name, figure in figures.items()}}
    return Template(asset("serving.html")).substitute(
        title=html.escape(words.title(summary)),
        headline=html.escape(words.headline(summary)),
        offered=html.escape(f"{words.offered(summary)}. {words.policy(summary)}."),
        warnings="".join(f"<p class=warning>{html.escape(w)}</p>" for w in words.warnings(summary)),
        style=asset("report.css") + asset("replay.css"),
        cards="".join(card(name, value) for name, value in words.key_figures(summary)),
        latencies=_latency_table(summary),
        promised=html.escape(words.promised(summary)),
        bounds=_by_machine(summary, _bound_rows),
        kv=_by_machine(summary, words.kv_rows),
        iterations=_by_machine(summary, words.iteration_rows),
        tokens=html.escape(words.token_words(summary)),
        rejected=_rejected(summary),
        energy=pair_rows(dict(_energy(summary))),
        provenance=pair_rows(_provenance(summary)),
        data=script_json(short(data)),
        plotly=plotly_source(),
        script=asset("figures.js"),
    )


def _latency_table(summary: Summary) -> str:
    heads = "".join(f"<th scope=col class=number>{n}</th>" for n in words.STATISTICS.values())
    rows = "".join(
        f"<tr><th scope=row>{html.escape(name)}</th>"
        + "".join(f"<td class=number>{html.escape(cell)}</td>" for cell in cells)
        + f"<td class=meaning>{html.escape(meaning)}</td></tr>"
        for name, cells, meaning in words.latency_rows(summary)
    )
    return f"<thead><tr><td></td>{heads}<td></td></tr></thead><tbody>{rows}</tbody>"


def _bound_rows(machine: Summary) -> list[tuple[str, str, float, str]]:
    return [(name, time, share, "") for name, time, share in words.bound_rows(machine)]


def _by_machine(
    summary: Summary, rows_of: Callable[[Summary], list[tuple[str, str, float, str]]]
) -> str:
    """A table of bars per machine, with its name where there are several."""
    machines, texts = summary["machines"], []
    for name, machine in machines.items():
        rows = "".join(bar_row(*row) for row in rows_of(machine))
        head = f"<h3>{html.escape(name)}</h3>" if len(machines) > 1 else ""
        texts.append(f'{head}<table class="bars told"><tbody>{rows}</tbody></table>')
    return "".join(texts)


def _rejected(summary: Summary) -> str:
    """Requests that could not be served, with the reason; nothing where there are none."""
    found = summary["rejected"]
    if not found:
        return "<p class=note>None.</p>"
    heads = "<thead><tr><th>request</th><th>prompt</th><th>output</th><th>reason</th></tr></thead>"
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>"
        for row in found[:_LISTED]
    )
    more = len(found) - _LISTED
    note = f"<p class=note>{more} more are in requests.csv.</p>" if more > 0 else ""
    return f"<table class=data>{heads}<tbody>{rows}</tbody></table>{note}"


def _energy(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "all", words.long_energy(summary["energy_pj"])
    if summary["energy_per_token_pj"]:
        yield "per output token", words.long_energy(summary["energy_per_token_pj"])
    for name, machine in summary["machines"].items():
        of = f", {name}" if len(summary["machines"]) > 1 else ""
        yield f"iterations{of}", words.long_energy(machine["energy_pj"] - machine["energy_idle_pj"])
        yield f"standing idle{of}", words.long_energy(machine["energy_idle_pj"])


def _provenance(summary: Summary) -> dict[str, Any]:
    """Everything that another run must share to give the same page."""
    options = {name.replace("_", " "): value for name, value in summary["options"].items()}
    prices = {
        f"prices, {name}": words.pricing_words(machine)
        for name, machine in summary["machines"].items()
    }
    asked = {f"requests, {name.replace('_', ' ')}": v for name, v in summary["offered"].items()}
    own = {name.replace("_", " "): value for name, value in summary["provenance"].items()}
    return {"bankwidth": __version__, **own, **asked, **prices, **options}
