"""Other things that the command line prints: tables, comparisons, what is shipped, traces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report.words import show
from bankwidth.results import Table
from bankwidth.units import format_bytes

_MOST_ROWS: Final = 50
_WIDEST: Final = 100
_FIGURES: Final = {
    "n": "rows",
    "mape_pct": "mean error",
    "median_ape_pct": "median error",
    "p90_ape_pct": "9 of 10 below",
    "bias_pct": "bias",
}
_OUTCOME: Final = ("line", "operator", "measured_s", "ours_s", "error_pct", "bound")


def print_table(table: Table, console: Console, most_rows: int = _MOST_ROWS) -> None:
    """A table for people: units beside the numbers; columns without any value are left out."""
    names = [name for name, values in table.items() if not _is_empty(values.tolist())]
    drawn = _listing("")
    for name in names:
        is_text = table[name].dtype.kind in "UO"
        _add_column(drawn, _heading(name), is_text)
    for row in table.take(np.arange(min(len(table), most_rows))).rows():
        drawn.add_row(*(_cell(row[name], table.unit(name)) for name in names))
    _print(console, drawn)
    if len(table) > most_rows:
        _print(console, Text(f"{most_rows} of {len(table)} rows; --json gives all", style="dim"))


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """Errors per operator family, then the worst rows with their shapes."""
    families = _listing("Error against measured, by operator")
    _add_column(families, "operator", is_text=True)
    for heading in _FIGURES.values():
        _add_column(families, heading, is_text=False)
    for name, figures in comparison["families"].items():
        cells = [_cell(figures[key], "%" if key.endswith("_pct") else "") for key in _FIGURES]
        families.add_row(Text(str(name)), *cells)
    _print(console, families)
    if comparison["worst"]:
        _print(console, Text(""))
        _print(console, _worst_table(comparison["worst"]))


def _worst_table(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    table = _listing("Worst rows")
    for heading in ("line", "operator", "measured", "ours", "error", "bound by", "row"):
        _add_column(table, heading, is_text=heading in ("operator", "bound by", "row"))
    for row in rows:
        rest = {key: value for key, value in row.items() if key not in _OUTCOME and value != ""}
        table.add_row(
            _cell(row["line"], ""),
            _cell(row.get("operator"), ""),
            _cell(row["measured_s"], "s"),
            _cell(row["ours_s"], "s"),
            _cell(row["error_pct"], "%"),
            _cell(row["bound"], ""),
            Text(" ".join(f"{key}={value}" for key, value in rest.items()), style="dim"),
        )
    return table


def print_presets(presets: Mapping[str, Sequence[Mapping[str, str]]], console: Console) -> None:
    """Names and titles of what is shipped, group by group; titles give way, names are typed."""
    for number, (group, entries) in enumerate(presets.items()):
        table = _listing(group)
        _add_column(table, "name", is_text=True)
        table.columns[0].min_width = max((len(entry["name"]) for entry in entries), default=0)
        _add_column(table, "title", is_text=True)
        for entry in entries:
            table.add_row(Text(entry["name"]), Text(entry.get("title", ""), style="dim"))
        _print(console, Text("") if number else None, table)


def print_trace(trace: Mapping[str, Any], console: Console) -> None:
    """What a trace runs, what it needs, and its operators block by block."""
    run = f"{trace['model']}, {trace['phase']}, batch {trace['batch']}, context {trace['context']}"
    needs = ", ".join(
        f"{what} {format_bytes(trace[f'{key}_bytes'])}"
        for what, key in (("weights", "weight"), ("KV cache", "kv"), ("activations", "activation"),
                          ("kept further away", "far"))
        if key != "far" or trace["far_bytes"]
    )  # fmt: skip
    _print(console, Text(run, style="bold"), Text(needs, style="dim"))
    _print(console, *(Text(line, style="dim") for line in _notes(trace["meta"])), Text(""))
    table = _listing("Operators")
    for heading in ("block", "times", "operator", "kind", "FLOPs", "read", "written"):
        _add_column(table, heading, is_text=heading in ("block", "operator", "kind"))
    for op in trace["operators"]:
        texts = (op["block"], op["repeat"], op["name"], op["kind"])
        numbers = ((op["flops"], "FLOP"), (op["read_bytes"], "B"), (op["write_bytes"], "B"))
        table.add_row(*(_cell(text, "") for text in texts), *(_cell(*n) for n in numbers))
    _print(console, table)


def _notes(meta: Mapping[str, Any]) -> Iterator[str]:
    """What of a trace's `meta` changes how it is to be read."""
    if meta.get("techniques"):
        yield f"with {meta['techniques']}"
    if meta.get("partial"):
        yield f"PARTIAL: left out are {meta.get('left_out', 'operators of the recorded run')}"


def _listing(title: str) -> RichTable:
    heading = Text(title, style="bold") if title else None
    return RichTable(title=heading, title_justify="left", box=None, pad_edge=False)


def _add_column(table: RichTable, heading: str, is_text: bool) -> None:
    side: JustifyMethod = "left" if is_text else "right"
    table.add_column(heading, justify=side, no_wrap=True, overflow="ellipsis")


def _print(console: Console, *parts: RichTable | Text | None) -> None:
    for part in parts:
        if isinstance(part, RichTable):
            _keep_numbers_whole(part)
        if part is not None:
            console.print(part, width=min(console.width, _WIDEST))


def _keep_numbers_whole(table: RichTable) -> None:
    """Where the terminal is narrow texts give way, numbers do not."""
    for column in table.columns:
        if column.justify == "right":
            widths = [len(str(cell)) for cell in (column.header, *column.cells)]
            column.min_width = max(widths)


def _heading(name: str) -> str:
    for suffix in ("_ns", "_pj", "_s"):
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def _is_empty(values: Iterable[Any]) -> bool:
    return all(value is None or value != value for value in values)


def _cell(value: Any, unit: str) -> Text:
    """Text, so that it is never read as markup."""
    if value is None:
        return Text("")
    if isinstance(value, str) or not unit:
        return Text(str(value))
    return Text(show(value, unit))
