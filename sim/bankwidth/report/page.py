"""What pages share: assets, figures and numbers as JSON, cards and rows; all text is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from bankwidth.report.theme import Figure
from bankwidth.report.timeline import plain_number
from bankwidth.report.words import format_share, show

_DIGITS: Final = 6  # significant digits of numbers in a page; the CSV files hold all of them


@cache
def asset(name: str) -> str:
    """Text of a file of the assets folder."""
    return files("bankwidth.report").joinpath("assets", name).read_text(encoding="utf-8")


def plotly_source() -> str:
    """The text of plotly.js, from the plotly package."""
    from plotly.offline import get_plotlyjs

    source: str = get_plotlyjs()
    return source


def figure_data(figure: Figure) -> dict[str, Any]:
    """Traces and layout; the page brings the background and the colour of the text."""
    spec = figure.to_plotly_json()
    layout = {name: value for name, value in spec["layout"].items() if name != "template"}
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    return {"data": spec["data"], "layout": layout | clear}


def short(value: Any) -> Any:
    """The same value with floats cut to six digits, so that the page stays small."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: short(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [short(item) for item in value]
    return value


def script_json(data: Mapping[str, Any]) -> str:
    """JSON that no text inside it can end: `<` is written as an escape."""
    packed = json.dumps(data, separators=(",", ":"), allow_nan=False, default=plain_number)
    return packed.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def card(name: str, value: str) -> str:
    """A key figure."""
    return f"<div class=card><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"


def bar_row(name: str, amount: str, share: float, meaning: str) -> str:
    """Name, amount, share as a number and as a bar, and a few words."""
    width = f"{100 * share:.2f}" if share == share else "0"
    last = f"<td class=meaning>{html.escape(meaning)}</td>" if meaning else ""
    return (
        f"<tr><th scope=row>{html.escape(name)}</th><td class=number>{html.escape(amount)}</td>"
        f"<td class=number>{format_share(share)}</td>"
        f'<td class=bar aria-hidden=true><span style="width:{width}%"></span></td>{last}</tr>'
    )


def cell(value: Any, unit: str) -> str:
    """A cell of a table: text, or a number with its unit."""
    if value is None or isinstance(value, str):
        return f"<td>{html.escape(value or '')}</td>"
    return f"<td class=number>{html.escape(show(value, unit))}</td>"


def pair_rows(pairs: Mapping[str, Any]) -> str:
    """Rows of names and values, such as where a run came from."""
    return "".join(
        f"<tr><th scope=row>{html.escape(name)}</th><td>{html.escape(_text(value))}</td></tr>"
        for name, value in pairs.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items()) or "none"
    return value if isinstance(value, str) else json.dumps(value, default=plain_number)
