"""What pages of a replay in the terminal share: their width, and tables with bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.constrain import Constrain
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report.console import bar
from bankwidth.report.words import format_share

_WIDEST: Final = 100
_BAR: Final = 18  # characters
Row = tuple[str, str, float]  # name, amount, share
Parts = Callable[[bool], Iterable[RenderableType]]  # of a page, with nothing but ASCII or not


def print_page(parts: Parts, console: Console | None = None) -> None:
    """Print a page; it fits 60 columns and never uses more than 100."""
    (console or Console()).print(_Page(parts))


class _Page:
    """Knows only when it is drawn how wide it may be, and whether there is more than ASCII."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        parts = self._parts(options.ascii_only)
        yield Constrain(Group(*parts), min(options.max_width, _WIDEST))


def bar_table(heading: str, rows: Iterable[Row], ascii_only: bool) -> RichTable:
    """Names, amounts and shares, these as bars too."""
    table = RichTable(
        title=Text(heading, style="bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        show_header=False,
    )
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=17, max_width=22)
    table.add_column(justify="right", no_wrap=True, min_width=10)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, min_width=_BAR)
    for name, amount, part in rows:
        shown = Text(bar(part, ascii_only), "cyan")
        table.add_row(Text(name), Text(amount), Text(format_share(part)), shown)
    return table
