"""A request-level run in the terminal: throughput, latencies, promises, bounds, room."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report import serving_words as words
from bankwidth.report.console_page import Row, bar_table, print_page
from bankwidth.report.replay_words import count
from bankwidth.report.serving_words import Summary


def print_serving(summary: Summary, console: Console | None = None) -> None:
    """Print the summary; fits 60 columns and never uses more than 100."""
    print_page(partial(_parts, summary), console)


def _parts(summary: Summary, ascii_only: bool) -> Iterator[RenderableType]:
    yield Text(words.title(summary), style="bold")
    yield Text(words.headline(summary), style="bold green")
    for warning in words.warnings(summary):
        yield Text(warning, style="bold red")
    yield Text(words.offered(summary), style="dim")
    yield Text(words.policy(summary), style="dim")
    yield Text("")
    yield _latencies(summary)
    if promised := words.promised(summary):
        yield _labelled("Promised", promised)
    for heading, rows in _tables(summary):
        yield Text("")
        yield bar_table(heading, rows, ascii_only)
    yield Text("")
    yield _labelled("Tokens", words.token_words(summary))
    yield _labelled("Preemptions", count(summary["preemptions"]))


def _labelled(name: str, text: str) -> Text:
    return Text(f"{name} ", style="bold").append(text, style="not bold")


def _latencies(summary: Summary) -> RichTable:
    """A row per time of a request, a column per statistic."""
    table = RichTable(
        title=Text("Latency", style="bold"), title_justify="left", box=None, pad_edge=False
    )
    table.add_column("", min_width=11)
    for name in words.STATISTICS.values():
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    for name, values, _ in words.latency_rows(summary):
        table.add_row(name, *values)
    return table


def _tables(summary: Summary) -> Iterator[tuple[str, list[Row]]]:
    machines = summary["machines"]
    for name, machine in machines.items():
        of = f" of {name}" if len(machines) > 1 else ""
        yield f"Where the time{of} goes", words.bound_rows(machine)
        number = count(machine["kv"]["blocks"])
        heading = f"Keys and values{of}: {number} blocks of {machine['kv']['block_tokens']} tokens"
        yield heading, [(row, size, share) for row, size, share, _ in words.kv_rows(machine)]
        total = count(machine["iterations"]["total"])
        mean = f"{machine['iterations']['mean_decode_sequences']:.3g}"
        heading = f"Iterations{of}: {total}, {mean} sequences decode at once on average"
        yield heading, [(row, text, share) for row, text, share, _ in words.iteration_rows(machine)]
