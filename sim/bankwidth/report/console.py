"""A run in the terminal: headline, operators, where the time goes, where the energy goes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType
from rich.constrain import Constrain
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report.energy_bars import component_shares
from bankwidth.report.groups import group_operators, top_groups
from bankwidth.report.words import (
    efficiency_figures,
    format_rate,
    format_share,
    headline,
    more_figures,
    part_meaning,
    part_name,
    short_energy,
    short_time,
    split_name,
)
from bankwidth.results import Result, Table
from bankwidth.units import format_bytes

_MOST_ROWS: Final = 15
_WIDEST: Final = 100
_BAR: Final = 18  # characters
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def print_result(result: Result, console: Console | None = None) -> None:
    """Print the run; fits 60 columns, shows more where there are 72 or 90, never uses over 100."""
    (console or Console()).print(render(result))


def render(result: Result) -> RenderableType:
    """The run as something that rich can print at any width."""
    return _Page(result)


class _Page:
    """Chooses the columns when the width is known."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width = min(options.max_width, _WIDEST)
        yield Constrain(Group(*_parts(self._result, width, options.ascii_only)), width)


def _parts(result: Result, width: int, ascii_only: bool) -> Iterator[RenderableType]:
    figures = efficiency_figures(result) | more_figures(result)
    more = ", ".join(f"{name} {value}" for name, value in figures.items())
    yield Text(result.title, style="bold")
    yield Text(headline(result), style="bold green")
    yield Text(more, style="dim")
    yield Text("")
    yield _operator_table(result, width)
    yield Text("")
    yield _part_table(result, width, ascii_only)
    yield Text("")
    if result.split_ns:
        yield _split_table(result, width, ascii_only)
        yield Text("")
    yield _energy_table(result, width, ascii_only)


# heading, text goes left, width of the terminal from which on the column is shown
_COLUMNS: Final = (
    ("operator", True, 0),
    ("n", False, 0),
    ("time", False, 0),
    ("share", False, 0),
    ("bound by", True, 0),
    ("bytes", False, 72),
    ("bandwidth", False, 90),
    ("energy", False, 72),
)


def _operator_table(result: Result, width: int) -> RichTable:
    groups = top_groups(group_operators(result), _MOST_ROWS)
    table = _bare_table("Operators, added up over layers", show_header=True)
    shown = [number for number, (*_, least) in enumerate(_COLUMNS) if width >= least]
    for number in shown:
        heading, is_text, _ = _COLUMNS[number]
        longest = 20 if is_text and width < 90 else 24 if is_text else None
        justify: JustifyMethod = "left" if is_text else "right"
        table.add_column(
            heading, justify=justify, no_wrap=True, overflow="ellipsis", max_width=longest
        )
    for row in groups.rows():
        cells = _operator_cells(row)
        table.add_row(*(cells[number] for number in shown))
    return table


def _bare_table(title: str, *, show_header: bool) -> RichTable:
    return RichTable(
        title=Text(title, style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        show_header=show_header,
    )


def _operator_cells(row: dict[str, Any]) -> list[Text]:
    """Cells as Text, so that a name is never read as markup."""
    cells = (
        row["name"],
        row["count"],
        short_time(row["time_ns"]),
        format_share(_number(row["share"])),
        row["bound"],
        format_bytes(row["bytes"]),
        format_rate(_number(row["bandwidth_bytes_per_ns"])),
        short_energy(row["energy_pj"]),
    )
    return [Text(str(cell)) for cell in cells]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _part_table(result: Result, width: int, plain: bool) -> RichTable:
    table = _bar_table("Where the time goes", width)
    for part, time_ns in sorted(result.parts_ns.items(), key=lambda part: -part[1]):
        share = time_ns / result.latency_ns if result.latency_ns else math.nan
        texts = (part_name(part), short_time(time_ns), part_meaning(part))
        _add_bar_row(table, share, texts, plain)
    return table


def _split_table(result: Result, width: int, plain: bool) -> RichTable:
    table = _bar_table("What the arrays did, beside each other", width)
    total_ns = math.fsum(result.split_ns.values())
    for name, time_ns in sorted(result.split_ns.items(), key=lambda split: -split[1]):
        texts = (split_name(name), short_time(time_ns), part_meaning(name))
        _add_bar_row(table, time_ns / total_ns if total_ns else math.nan, texts, plain)
    return table


def _energy_table(result: Result, width: int, plain: bool) -> RichTable:
    table = _bar_table(f"Where the energy goes, {short_energy(result.energy_pj)}", width)
    for name, energy_pj, share in component_shares(result):
        _add_bar_row(table, share, (name, short_energy(energy_pj), ""), plain)
    return table


def _bar_table(title: str, width: int) -> RichTable:
    table = _bare_table(title, show_header=False)
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=14, max_width=22)
    table.add_column(justify="right", no_wrap=True, min_width=9)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, min_width=_BAR)
    if width >= 90:
        table.add_column(style="dim", no_wrap=True, overflow="ellipsis")
    return table


def _add_bar_row(table: RichTable, share: float, texts: tuple[str, str, str], plain: bool) -> None:
    name, amount, meaning = texts
    cells = [Text(name), Text(amount), Text(format_share(share)), Text(bar(share, plain), "cyan")]
    table.add_row(*[*cells, Text(meaning)][: len(table.columns)])


def bar(share: float, plain: bool = False) -> str:
    """A bar of up to 18 characters, in eighths of one, or of # where only ASCII can be shown."""
    eighths = 0 if math.isnan(share) else round(8 * _BAR * min(1.0, max(0.0, share)))
    if plain:
        return "#" * (eighths // 8)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def rich_table(table: Table, most_rows: int) -> RenderableType:
    """Any table with units in its heads; the first rows, and how many there are."""
    drawn = RichTable(box=None, pad_edge=False)
    for name, values in table.items():
        unit = f" [{table.unit(name)}]" if table.unit(name) else ""
        drawn.add_column(
            Text(name + unit), justify="left" if values.dtype.kind in "UO" else "right"
        )
    shown = [values[:most_rows].tolist() for _, values in table.items()]
    for row in zip(*shown, strict=True):
        drawn.add_row(*(Text(_cell(value)) for value in row))
    if len(table) <= most_rows:
        return drawn
    return Group(drawn, Text(f"{most_rows} of {len(table)} rows", style="dim"))


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
