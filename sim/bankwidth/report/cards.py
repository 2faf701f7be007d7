"""Key figures as small cards: on top of the report page, and what a notebook shows for a result."""

from __future__ import annotations

import html
from typing import Any, Final

from bankwidth.report.groups import group_operators, top_groups
from bankwidth.report.words import (
    efficiency_figures,
    format_share,
    more_figures,
    short_energy,
    short_time,
)
from bankwidth.results import Result
from bankwidth.units import format_bytes

_TOP_OPERATORS: Final = 5
# Notebooks bring their own light and dark colours, so these styles only set shape.
_CARD_STYLE: Final = (
    "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:6px 12px;min-width:7em"
)


def key_figures(result: Result) -> list[tuple[str, str]]:
    """(name, value with unit), the most asked for first."""
    figures = [
        ("latency", short_time(result.latency_ns)),
        ("lower bound", short_time(result.lower_bound_ns)),
    ]
    if result.bound_ratio is not None:
        figures.append(("latency over bound", f"{result.bound_ratio:.2f} x"))
    if result.tokens_per_s is not None:
        figures.append(("tokens per second", f"{result.tokens_per_s:.4g}"))
    if result.energy_per_token_pj is not None:
        figures.append(("energy per token", short_energy(result.energy_per_token_pj)))
    figures.append(("energy", short_energy(result.energy_pj)))
    return [*figures, *efficiency_figures(result).items(), *more_figures(result).items()]


def result_card(result: Result) -> str:
    """HTML for a notebook: what was run, key figures, the operators that take most time."""
    cards = "".join(_notebook_card(name, value) for name, value in key_figures(result))
    groups = top_groups(group_operators(result), _TOP_OPERATORS)
    heads = "".join(f"<th>{h}</th>" for h in ("operator", "n", "time", "share", "bound by"))
    rows = "".join(_operator_row(row) for row in groups.rows())
    return (
        f"<div><strong>{html.escape(result.title)}</strong>"
        f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin:8px 0">{cards}</div>'
        f"<table><thead><tr>{heads}<th>bytes</th><th>energy</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _notebook_card(name: str, value: str) -> str:
    return (
        f'<div style="{_CARD_STYLE}">'
        f'<div style="font-size:80%;opacity:.8">{html.escape(name)}</div>'
        f'<div style="font-size:120%">{html.escape(value)}</div></div>'
    )


def _operator_row(row: dict[str, Any]) -> str:
    cells = (
        row["name"],
        str(row["count"]),
        short_time(row["time_ns"]),
        format_share(row["share"] or 0.0),
        row["bound"],
        format_bytes(row["bytes"]),
        short_energy(row["energy_pj"]),
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
