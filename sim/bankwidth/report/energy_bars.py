"""Energy: stacked bars, one per group of operators, one colour per component."""

from __future__ import annotations

import math
from typing import Any, Final

from bankwidth.report.groups import group_operators, top_groups
from bankwidth.report.theme import Figure, colours, style
from bankwidth.report.words import best_unit, plain, short_energy
from bankwidth.results import Result, Table

_NOT_COMPONENTS: Final = ("energy_dynamic_pj", "energy_static_pj", "energy_per_token_pj")
_MOST_BARS: Final = 12


def energy_bars(result: Result) -> Figure:
    """Where the energy of each group of operators went, the largest on top.

    A table without `energy_<component>_pj` columns gives bars of one colour.
    """
    import plotly.graph_objects as go

    groups = _largest(group_operators(result))
    columns = energy_columns(groups)
    scale_pj, unit = best_unit(max(groups["energy_pj"].tolist(), default=0.0), "energy")
    names = [plain(name) for name in groups["name"].tolist()]
    colour = colours(list(columns))
    figure = go.Figure()
    for component, name in columns.items():
        figure.add_bar(
            orientation="h",
            y=names,
            x=(groups[name] / scale_pj).tolist(),
            name=plain(component),
            marker={"color": colour[component]},
            hovertext=[_hover(row, component, name) for row in groups.rows()],
            hoverinfo="text",
        )
    style(figure, "Energy by operator and component", f"energy ({unit})", "", barmode="stack")
    figure.update_layout(height=150 + 28 * len(groups), bargap=0.25)
    return figure.update_yaxes(autorange="reversed", type="category")


def energy_columns(groups: Table) -> dict[str, str]:
    """Component -> column of its energy, for those with any; else the total as one component."""
    columns = {
        name.removeprefix("energy_").removesuffix("_pj"): name
        for name in groups
        if name.startswith("energy_") and name.endswith("_pj") and name not in _NOT_COMPONENTS
    }
    used = {
        part: name for part, name in columns.items() if name != "energy_pj" and _any(groups, name)
    }
    return used or {"all components": "energy_pj"}


def _any(groups: Table, name: str) -> bool:
    return bool((groups[name] > 0).any())


def _largest(groups: Table) -> Table:
    return top_groups(groups.take((-groups["energy_pj"]).argsort(kind="stable")), _MOST_BARS)


def _hover(row: dict[str, Any], component: str, column: str) -> str:
    part_pj, whole_pj = row[column] or 0.0, row["energy_pj"]
    share = f", {100 * part_pj / whole_pj:.1f} % of its energy" if whole_pj else ""
    return (
        f"<b>{plain(row['name'])}</b>, {row['count']} times: {short_energy(whole_pj)}<br>"
        f"{plain(component)}: {short_energy(part_pj)}{share}"
    )


def component_shares(result: Result) -> list[tuple[str, float, float]]:
    """(component, energy in pJ, share of the total), the largest first."""
    total_pj = result.energy_pj
    parts = sorted(result.energy_by_component_pj.items(), key=lambda part: -part[1])
    return [(name, pj, pj / total_pj if total_pj else math.nan) for name, pj in parts]
