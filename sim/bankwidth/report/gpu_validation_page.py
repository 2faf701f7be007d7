"""report.html of `bankwidth validate gpu`: errors and scatter plots; it asks no network."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

from bankwidth import __version__
from bankwidth.report.files import check_target, write_files
from bankwidth.report.gpu_validation import (
    ERRORS,
    FAILS,
    SIZES,
    Case,
    Suite,
    errors,
    names,
    outcome,
    sizes,
    skipped_cells,
    worst_cells,
)
from bankwidth.report.gpu_validation_figures import Looks, Point, group_name, predicted, ratios
from bankwidth.report.page import (
    asset,
    card,
    figure_data,
    pair_rows,
    plotly_source,
    script_json,
    short,
)

FILES: Final = ("summary.json", "report.html")
Points = Mapping[str, Sequence[Point]]  # by the id of a case
_TITLE: Final = "GPU kernels: ours against measured"
_TEXTS: Final = frozenset({"device", "library", "group", "table", "table:line", "shape", "reason"})


def check_gpu_target(folder: str | Path, *, force: bool = False) -> Path:
    """Raise OutputError now where writing would be refused later."""
    return check_target(folder, force=force, files=FILES)


def write_gpu_validation(
    suite: Suite, points: Points, folder: str | Path, *, force: bool = False
) -> list[Path]:
    """Write summary.json and report.html, as `write_run` does; returns their paths."""
    path = check_gpu_target(folder, force=force)
    page = gpu_validation_page(suite, points).encode()
    return write_files(path, {"summary.json": dict(suite), "report.html": page})


def gpu_validation_page(suite: Suite, points: Points) -> str:
    """The whole page as text."""
    families = list(dict.fromkeys(case["family"] for case in suite["cases"]))
    figures = _figures(suite["cases"], points, families)
    return Template(asset("gpu_validation.html")).substitute(
        title=_TITLE,
        headline=html.escape(f"{outcome(suite)}; against {suite['source']}"),
        style=asset("report.css") + asset("gpu_validation.css"),
        cards="".join(card(name, value) for name, value in _key_figures(suite)),
        families="".join(_family_section(suite["cases"], family, families) for family in families),
        worst=_table(
            ("group", "table:line", "shape", "measured", "ours", "error"),
            map(worst_cells, suite.get("worst", ())),
        ),
        skipped=_table(("table", "reason", "rows"), map(skipped_cells, suite.get("skipped", ()))),
        provenance=pair_rows(_provenance(suite)),
        data=script_json(short({"figures": figures})),
        plotly=plotly_source(),
        script=asset("figures.js"),
    )


def _figures(cases: Sequence[Case], points: Points, families: Sequence[str]) -> dict[str, Any]:
    rows: Counter[tuple[str, str]] = Counter()
    for case in cases:
        rows[case["device"], case["library"]] += case["n"]
    looks = Looks(rows)
    figures = {}
    for number, family in enumerate(families):
        groups = {
            group_name(case["device"], case["library"]): points[case["id"]]
            for case in cases
            if case["family"] == family
        }
        figures[f"predicted{number}"] = figure_data(predicted(groups, looks))
        figures[f"ratios{number}"] = figure_data(ratios(groups, looks))
    return figures


def _key_figures(suite: Suite) -> list[tuple[str, str]]:
    """For each family its mean error over all rows of all devices and libraries."""
    by_family: dict[str, list[Case]] = {}
    for case in suite["cases"]:
        by_family.setdefault(case["family"], []).append(case)
    return [(family, _mean_error(cases)) for family, cases in by_family.items()]


def _mean_error(cases: Sequence[Case]) -> str:
    rows = sum(case["n"] for case in cases)
    return f"{sum(case['n'] * case['mape_pct'] for case in cases) / rows:.1f} %"


def _family_section(cases: Sequence[Case], family: str, families: Sequence[str]) -> str:
    number = families.index(family)
    found = [case for case in cases if case["family"] == family]
    rows = ([*names(case)[1:], *errors(case)] for case in found)
    by_size = ([*names(case)[1:], *sizes(case)] for case in found)
    return Template(asset("gpu_validation_family.html")).substitute(
        number=number,
        family=html.escape(family),
        errors=_table(("device", "library", *ERRORS), rows),
        sizes=_table(("device", "library", *SIZES), by_size),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts; those below a heading of numbers stand to the right."""
    sides = ["" if head in _TEXTS else " class=number" for head in heads]
    head = "".join(
        f"<th scope=col{side}>{html.escape(name)}</th>"
        for side, name in zip(sides, heads, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, sides)}</tr>" for row in rows)
    return f"<table class=data><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(
        f"<td{_failing(cell) or side}>{html.escape(cell)}</td>"
        for cell, side in zip(row, sides, strict=True)
    )


def _failing(cell: str) -> str:
    return ' class="number failing"' if cell == FAILS else ""


def _provenance(suite: Suite) -> dict[str, Any]:
    return {
        "bankwidth": __version__,
        "measured": suite["source"],
        "bars": ", ".join(
            dict.fromkeys(c["bar_source"] for c in suite["cases"] if c["bar_source"])
        ),
        "made by": "bankwidth validate gpu --out FOLDER",
    }
