"""A drive's replay in the terminal: headline, latencies, utilisation, stages, counts, energy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report.console_page import Row, bar_table, print_page
from bankwidth.report.drive_words import (
    LATENCIES,
    SIDES,
    Summary,
    bound_sentence,
    energy_per_bit,
    energy_shares,
    headline,
    offered,
    settling,
    spread,
    stages,
    title,
    utilisations,
    wear,
)
from bankwidth.report.replay_words import count
from bankwidth.report.words import format_rate, short_energy, short_time


def print_drive(summary: Summary, console: Console | None = None) -> None:
    """Print the summary; fits 60 columns and never uses more than 100."""
    print_page(partial(_parts, summary), console)


def _parts(summary: Summary, ascii_only: bool) -> Iterator[RenderableType]:
    yield Text(title(summary), style="bold")
    yield Text(headline(summary), style="bold green")
    yield Text(offered(summary), style="dim")
    yield _labelled("Limited by", bound_sentence(summary))
    if after := settling(summary):
        yield Text(after, style="dim")
    yield Text("")
    yield _latencies(summary)
    for heading, rows in _tables(summary):
        yield Text("")
        yield bar_table(heading, rows, ascii_only)
    yield Text("")
    yield _labelled("Counts", _counts(summary))
    if worn := wear(summary):
        yield _labelled("Wear", worn)


def _labelled(name: str, text: str) -> Text:
    """On one line, or as many lines as it takes."""
    return Text(f"{name} ", style="bold").append(text, style="not bold")


def _latencies(summary: Summary) -> RichTable:
    """A column per direction, which fits the narrowest terminal; a row per figure."""
    table = RichTable(
        title=Text("Latency", style="bold"), title_justify="left", box=None, pad_edge=False
    )
    table.add_column("", min_width=17)
    for side in summary["latency"]:
        table.add_column(SIDES[side], justify="right", no_wrap=True, min_width=10)
    found = list(summary["latency"].values())
    for key, name in LATENCIES.items():
        table.add_row(name, *(short_time(each[key]) for each in found))
    table.add_row("IOPS", *(f"{summary[f'{side}_iops']:,.0f}" for side in summary["latency"]))
    rates = (summary[f"{side}_bandwidth_bytes_per_ns"] for side in summary["latency"])
    table.add_row("bandwidth", *map(format_rate, rates))
    return table


def _tables(summary: Summary) -> Iterator[tuple[str, list[Row]]]:
    used = utilisations(summary)
    yield "How busy, on average", [(name, spread(*ends), mean) for name, mean, *ends, _ in used]
    if parts := [(name, short_time(time), share) for name, time, share, _ in stages(summary)]:
        yield "Where the time of a page read goes, on average", parts
    if energy := [(name, short_energy(pj), share) for name, pj, share in energy_shares(summary)]:
        total = filter(None, (short_energy(summary["energy_pj"]), energy_per_bit(summary)))
        yield f"Where the energy goes, {', '.join(total)}", energy


def _counts(summary: Summary) -> str:
    done = [f"{name.replace('_', ' ')} {count(n)}" for name, n in summary["counts"].items() if n]
    return ", ".join(done) or "none"
