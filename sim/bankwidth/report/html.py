"""report.html: one page with everything in it, plotly included; it never asks the network."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from string import Template
from typing import Any, Final

from bankwidth.report.cards import key_figures
from bankwidth.report.energy_bars import component_shares
from bankwidth.report.groups import group_operators
from bankwidth.report.page import (
    asset,
    bar_row,
    card,
    cell,
    figure_data,
    pair_rows,
    plotly_source,
    script_json,
    short,
)
from bankwidth.report.plots import Plots
from bankwidth.report.words import (
    headline,
    part_meaning,
    part_name,
    short_energy,
    short_time,
    split_name,
)
from bankwidth.results import Result, Table, column

MAX_ROWS: Final = 1000  # above it only the operators added up over layers are in the page
MAX_BARS: Final = 600
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
    return Template(asset("report.html")).substitute(
        title=html.escape(result.title),
        headline=html.escape(headline(result)),
        style=asset("report.css"),
        cards="".join(card(name, value) for name, value in key_figures(result)),
        parts=_part_rows(result),
        splits=_splits(result),
        energies=_energy_rows(result),
        components=_component_table(result.components),
        provenance=pair_rows(result.to_json()["provenance"]),
        data=script_json(short(_page_data(result))),
        plotly=plotly_source(),
        script=asset("figures.js") + asset("report.js"),
    )


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
        "figures": {name: figure_data(figure) for name, figure in figures.items()},
        "tables": tables,
        "operators": len(result.operators),
    }


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


def _part_rows(result: Result) -> str:
    parts = sorted(result.parts_ns.items(), key=lambda part: -part[1])
    latency_ns = result.latency_ns
    return "".join(
        bar_row(
            part_name(part),
            short_time(ns),
            ns / latency_ns if latency_ns else 0,
            part_meaning(part),
        )
        for part, ns in parts
    )


def _splits(result: Result) -> str:
    """What the arrays of compute SRAM did, as a table of its own; nothing for other machines."""
    split, total_ns = result.split_ns, math.fsum(result.split_ns.values())
    if not total_ns:
        return ""
    rows = "".join(
        bar_row(split_name(name), short_time(ns), ns / total_ns, part_meaning(name))
        for name, ns in sorted(split.items(), key=lambda part: -part[1])
    )
    label = "What the arrays did"
    return (
        f'<h3>{label}</h3>\n<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="bars"><tbody>{rows}</tbody></table></div>\n'
    )


def _energy_rows(result: Result) -> str:
    return "".join(
        bar_row(name, short_energy(pj), share, "") for name, pj, share in component_shares(result)
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
    return "<tr>" + "".join(cell(row[name], components.unit(name)) for name in row) + "</tr>"
