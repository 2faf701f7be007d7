"""A replay in the terminal: headline, where the bandwidth goes, rows, commands, energy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.console import Console, RenderableType
from rich.text import Text

from bankwidth.report.bandwidth import ACHIEVED, PEAK, loss_name, losses
from bankwidth.report.console_page import Row, bar_table, print_page
from bankwidth.report.replay_words import (
    Summary,
    count,
    energy_per_bit,
    energy_shares,
    headline,
    row_outcomes,
    share,
    skipped,
    title,
    window_of,
    window_title,
)
from bankwidth.report.words import format_rate, short_energy


def print_replay(summary: Summary, console: Console | None = None) -> None:
    """Print the summary; fits 60 columns and never uses more than 100."""
    print_page(partial(_parts, summary), console)


def _parts(summary: Summary, ascii_only: bool) -> Iterator[RenderableType]:
    yield Text(title(summary), style="bold")
    yield Text(headline(summary), style="bold green")
    yield Text(_requests(summary), style="dim")
    for heading, rows in _tables(summary):
        yield Text("")
        yield bar_table(heading, rows, ascii_only)
    yield Text("")
    yield _commands(summary)
    if skipped(summary):
        yield Text(skipped(summary), style="dim")


def _requests(summary: Summary) -> str:
    figures = ("reads", "writes", "forwarded", "coalesced")
    return ", ".join(f"{name} {count(summary[name])}" for name in figures)


def _tables(summary: Summary) -> Iterator[tuple[str, list[Row]]]:
    yield "Where the bandwidth goes", _bandwidth(summary)
    if window := window_of(summary):
        yield f"Where it goes from {window_title(window)}", _bandwidth(window)
    outcomes = row_outcomes(summary)
    yield "What requests found", [(name, count(number), part) for name, number, part, _ in outcomes]
    parts = [(name, short_energy(pj), part) for name, pj, part in energy_shares(summary)]
    if parts:
        total = ", ".join(
            filter(None, (short_energy(summary["energy_pj"]), energy_per_bit(summary)))
        )
        yield f"Where the energy goes, {total}", parts


def _bandwidth(summary: Summary) -> list[Row]:
    """Peak, what was lost of it (zeros are left out), and what is left: of all, or of a window."""
    peak, achieved = summary["peak_bytes_per_ns"], summary["bandwidth_bytes_per_ns"]
    lost = [(loss_name(loss), size) for loss, size in losses(summary) if size]
    rows = [(PEAK, peak), *lost, (ACHIEVED, achieved)]
    return [(name, format_rate(size), share(size, peak)) for name, size in rows]


def _commands(summary: Summary) -> Text:
    """All on one line, or as many lines as it takes."""
    issued = [f"{name} {count(number)}" for name, number in summary["counts"].items() if number]
    text = Text("Commands ", style="bold")
    return text.append(", ".join(issued) or "none", style="not bold")
