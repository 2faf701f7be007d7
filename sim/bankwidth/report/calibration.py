"""What `calibrate` prints: parameters before and after, and errors on both halves of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

_HALVES: Final = ("fit", "held_out")
_ERROR_HEADINGS: Final = ("rows to fit", "before", "after", "held-out rows", "before", "after")
_ALL: Final = "all"


def print_calibration(data: Mapping[str, Any], console: Console) -> None:
    """Prints a calibration given as its JSON."""
    console.print(Text(_headline(data), "bold"), soft_wrap=True)
    console.print(_parameters(data["parameters"]))
    for line in _unmoved(data["parameters"]):
        console.print(line, soft_wrap=True)
    console.print(_errors(data["errors"]))
    console.print(_outcome(data), soft_wrap=True)


def _headline(data: Mapping[str, Any]) -> str:
    rows = data["rows"]
    return (
        f"{data['machine']}: fitted to {rows['sampled']} of {rows['fit']} rows, "
        f"{rows['held_out']} held out (seed {data['seed']}, {data['evaluations']} evaluations)"
    )


def _parameters(outcomes: list[Mapping[str, Any]]) -> Table:
    around = _common([found["parameter"] for found in outcomes])
    first = f"parameter of {around.removesuffix('.')}" if around else "parameter"
    table = _table(first, "unit", "before", "after", "bounds", "sensitivity")
    for found in outcomes:
        after = _number(found["after"]) if found["is_fitted"] else "as before"
        bounds = f"{_number(found['low'])} to {_number(found['high'])}"
        name = found["parameter"].removeprefix(around)
        cells = (name, found["unit"], _number(found["before"]), after, bounds)
        table.add_row(*map(Text, cells), Text(_percent(found["sensitivity_pct"])))
    table.caption = "sensitivity: mean change of the times when the value grows by a tenth"
    table.caption_justify = "left"
    return table


def _common(names: list[str]) -> str:
    """What all names begin with, whole keys only, with the dot behind it."""
    groups = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda keys: len(set(keys)) == 1, zip(*groups, strict=False))
    return "".join(f"{keys[0]}." for keys in shared)


def _unmoved(outcomes: list[Mapping[str, Any]]) -> Iterator[Text]:
    """Parameters left as they were, and those that stopped at a bound."""
    same = [found["parameter"] for found in outcomes if not found["is_fitted"]]
    if same:
        yield Text(f"the rows do not tell {', '.join(same)}: left as before", "yellow")
    for found in outcomes:
        if found["is_fitted"] and found["after"] in (found["low"], found["high"]):
            yield Text(f"{found['parameter']} is at a bound: are the bounds too narrow?", "yellow")


def _errors(errors: Mapping[str, Any]) -> Table:
    table = _table("mean error", *_ERROR_HEADINGS)
    families = [name for name in _families(errors) if name != _ALL]
    for family in [*families, _ALL]:
        cells = [Text(family, "bold" if family == _ALL else "")]
        for half in _HALVES:
            before, after = (errors[half][time].get(family) for time in ("before", "after"))
            cells.append(Text(str(before["n"]) if before else ""))
            cells += [Text(_percent(x["mape_pct"]) if x else "") for x in (before, after)]
        table.add_row(*cells)
    return table


def _families(errors: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for half in _HALVES for name in errors[half]["after"]))


def _outcome(data: Mapping[str, Any]) -> Text:
    held_out = data["errors"]["held_out"]
    before, after = (held_out[time][_ALL]["mape_pct"] for time in ("before", "after"))
    text = f"held-out rows: {_percent(before)} before, {_percent(after)} after"
    if after > before:
        return Text(f"{text}: worse than before, do not use it", "bold red")
    return Text(text, "bold green")


def _table(first: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(Text(first), overflow="fold")
    for heading in headings:
        table.add_column(Text(heading), justify="left" if heading == "unit" else "right")
    return table


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3g} %"
