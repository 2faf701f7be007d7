"""report.html: one page with everything in it, plotly included; it never asks the network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, Final

from bankwidth.report.cards import key_figures
from bankwidth.report.energy_bars import component_shares
from bankwidth.report.groups import group_operators
from bankwidth.report.plots import Plots
from bankwidth.report.theme import Figure
from bankwidth.report.timeline import plain_number
from bankwidth.report.words import (
    format_share,
    headline,
    part_meaning,
    part_name,
    short_energy,
    short_time,
    show,
)
from bankwidth.results import Result, Table, column

MAX_ROWS: Final = 1000  # above it only the operators added up over layers are in the page
MAX_BARS: Final = 600
_DIGITS: Final = 6  # significant digits of numbers in the page; the CSV files hold all of them
_OPERATOR_COLUMNS: Final = (
    *("index", "name", "layer", "time_ns", "bound", "kind", "engine", "start_ns", "duration_ns"),
    *("lower_bound_ns", "flops", "read_bytes", "write_bytes", "energy_pj"),
)
_GROUP_COLUMNS: Final = (
    *("name", "count", "time_ns", "share", "bound", "kind", "engine", "duration_ns"),
    *("lower_bound_ns", "flops", "bytes", "bandwidth_bytes_per_ns", "energy_pj"),
)


def report_page(result: Result) -> str:
    """The whole page as text."""
    return Template(_asset("report.html")).substitute(
        title=html.escape(result.title),
        headline=html.escape(headline(result)),
        style=_asset("report.css"),
        cards="".join(_card(name, value) for name, value in key_figures(result)),
        parts=_part_rows(result),
        energies=_energy_rows(result),
        components=_component_table(result.components),
        provenance=_provenance_rows(result),
        data=_script_json(_page_data(result)),
        plotly=_plotly_source(),
        script=_asset("report.js"),
    )


@cache
def _asset(name: str) -> str:
    return files("bankwidth.report").joinpath("assets", name).read_text(encoding="utf-8")


def _plotly_source() -> str:
    """The text of plotly.js, from the plotly package."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source


def _page_data(result: Result) -> dict[str, Any]:
    plots = Plots(result)
    figures = {
        "waterfall": plots.waterfall(),
        "roofline": plots.roofline(),
        "energy": plots.energy(),
        "timeline": plots.timeline(MAX_BARS),
    }
    tables = {"grouped": _table_data(group_operators(result), (*_GROUP_COLUMNS, *result.parts_ns))}
    if len(result.operators) <= MAX_ROWS:
        tables["every"] = _table_data(result.operators, _OPERATOR_COLUMNS)
    return {
        "figures": {name: _figure_data(figure) for name, figure in figures.items()},
        "tables": tables,
        "operators": len(result.operators),
    }


def _figure_data(figure: Figure) -> dict[str, Any]:
    """Traces and layout; the page brings the background and the colour of the text."""
    spec = figure.to_plotly_json()
    layout = {name: value for name, value in spec["layout"].items() if name != "template"}
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    return {"data": spec["data"], "layout": layout | clear}


def _table_data(table: Table, names: Iterable[str]) -> list[dict[str, Any]]:
    rows = table.rows()
    return [_column_data(table, name, [row[name] for row in rows]) for name in names]


def _column_data(table: Table, name: str, values: list[Any]) -> dict[str, Any]:
    """A column; texts, which repeat from layer to layer, as numbers of `words`."""
    data = {"name": name, "unit": table.unit(name), "meaning": column(name).meaning}
    if table[name].dtype.kind not in "UO":
        return data | {"values": values}
    numbers = {word: number for number, word in enumerate(dict.fromkeys(values))}
    return data | {"words": list(numbers), "values": [numbers[value] for value in values]}


def _short(value: Any) -> Any:
    """The same value with floats cut to six digits, so that the page stays small."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value


def _script_json(data: dict[str, Any]) -> str:
    """JSON that no text inside it can end: `<` is written as an escape."""
    packed = json.dumps(_short(data), separators=(",", ":"), allow_nan=False, default=plain_number)
    return packed.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _card(name: str, value: str) -> str:
    return f"<div class=card><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"


def _part_rows(result: Result) -> str:
    parts = sorted(result.parts_ns.items(), key=lambda part: -part[1])
    latency_ns = result.latency_ns
    return "".join(
        _bar_row(
            part_name(part),
            short_time(ns),
            ns / latency_ns if latency_ns else 0,
            part_meaning(part),
        )
        for part, ns in parts
    )


def _energy_rows(result: Result) -> str:
    return "".join(
        _bar_row(name, short_energy(pj), share, "") for name, pj, share in component_shares(result)
    )


def _bar_row(name: str, amount: str, share: float, meaning: str) -> str:
    width = f"{100 * share:.2f}" if share == share else "0"
    last = f"<td class=meaning>{html.escape(meaning)}</td>" if meaning else ""
    return (
        f"<tr><th scope=row>{html.escape(name)}</th><td class=number>{html.escape(amount)}</td>"
        f"<td class=number>{format_share(share)}</td>"
        f'<td class=bar aria-hidden=true><span style="width:{width}%"></span></td>{last}</tr>'
    )


def _component_table(components: Table) -> str:
    heads = "".join(_component_head(components, name) for name in components)
    body = "".join(_component_row(components, row) for row in components.rows())
    return f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"


def _component_head(components: Table, name: str) -> str:
    stem = html.escape(name.removesuffix("_ns").removesuffix("_pj").replace("_", " "))
    side = "" if components[name].dtype.kind in "UO" else " class=number"
    return f'<th scope=col{side} title="{html.escape(column(name).meaning)}">{stem}</th>'


def _component_row(components: Table, row: dict[str, Any]) -> str:
    return "<tr>" + "".join(_cell(row[name], components.unit(name)) for name in row) + "</tr>"


def _cell(value: Any, unit: str) -> str:
    if value is None or isinstance(value, str):
        return f"<td>{html.escape(value or '')}</td>"
    return f"<td class=number>{html.escape(show(value, unit))}</td>"


def _provenance_rows(result: Result) -> str:
    provenance = result.to_json()["provenance"]
    return "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{html.escape(_origin(value))}</td></tr>"
        for name, value in provenance.items()
    )


def _origin(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=plain_number)
