"""Errors against measured GPU kernels: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from bankwidth.report.words import short_time

Suite = Mapping[str, Any]  # the JSON of `bankwidth validate gpu --json`
Case = Mapping[str, Any]
_WIDEST: Final = 120
_NS_IN_S: Final = 1e-9
FAILS: Final = "no"
SIZES: Final = ("< 10 us", "10-100 us", "0.1-1 ms", "> 1 ms")
# Headings of what `errors` gives, and the width of a terminal from which on the column is shown.
_LEAST_WIDTHS: Final = {
    "mean error": 0,
    "bar": 0,
    "holds": 0,
    "unseen half": 86,
    "rows": 0,
    "median": 94,
    "bias": 104,
    "9 of 10 below": 118,
}
ERRORS: Final = tuple(_LEAST_WIDTHS)
_COUNTED_WIDTH: Final = 96  # from here on sizes are shown with their rows
_NAMES: Final = ("family", "device", "library")
_FOLDED: Final = frozenset({"table", "reason"})  # give way in a narrow terminal


def outcome(suite: Suite) -> str:
    """How many bars hold, over how many rows."""
    judged = [case for case in suite["cases"] if case["tolerance_pct"] is not None]
    held = sum(case["ok"] for case in judged)
    without = len(suite["cases"]) - len(judged)
    rows = sum(case["n"] for case in suite["cases"])
    return (
        f"{held} of {len(judged)} bars hold; {without} groups have no bar; {rows:,} rows and layers"
    )


def print_gpu_validation(suite: Suite, console: Console) -> None:
    """Errors by family, device and library; by size; the worst rows; what was left out."""
    _print(console, Text(f"gpu against {suite['source']}", "bold"))
    if suite["cases"]:
        _print(console, _errors(suite["cases"], console.width), Text(""))
        _print(console, _by_size(suite["cases"], console.width), Text(""))
    if suite.get("worst"):
        _print(console, *_worst(suite["worst"]), Text(""))
    if suite.get("skipped"):
        _print(console, _skipped(suite["skipped"]), Text(""))
    failed = suite["ok"] < suite["n"]
    _print(console, Text(f"gpu: {outcome(suite)}", "bold red" if failed else "bold green"))


def _errors(cases: Sequence[Case], width: int) -> RichTable:
    shown = [number for number, name in enumerate(ERRORS) if width >= _LEAST_WIDTHS[name]]
    headings = [ERRORS[number] for number in shown]
    table = _table("Error against measured", _NAMES, headings)
    for case in cases:
        cells = errors(case)
        chosen = [cells[number] for number in shown]
        table.add_row(*_plain([*names(case), *chosen]), style="" if case["ok"] else "red")
    return table


def _by_size(cases: Sequence[Case], width: int) -> RichTable:
    with_rows = width >= _COUNTED_WIDTH
    title = f"Mean error by measured time{' (rows)' if with_rows else ''}"
    table = _table(title, _NAMES, SIZES)
    for case in cases:
        table.add_row(*_plain([*names(case), *sizes(case, with_rows=with_rows)]))
    return table


def _worst(rows: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Two lines for each row: how far off it is, and where it stands."""
    lines = [Text("Worst rows", "bold")]
    for row in rows:
        group, where, shape, measured, ours, error = worst_cells(row)
        lines.append(Text(f"{error:>8}  {group}: measured {measured}, ours {ours}"))
        lines.append(Text(f"{'':8}  {shape}, {where}", "dim"))
    return lines


def _skipped(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    table = _table("Left out", ("table", "reason"), ("rows",))
    for row in rows:
        table.add_row(*_plain(skipped_cells(row)))
    return table


def _verdict(case: Case) -> str:
    """Whether the bar holds; nothing where there is none."""
    if case["tolerance_pct"] is None:
        return ""
    return "yes" if case["ok"] else FAILS


def names(case: Case) -> list[str]:
    """What the case is of."""
    return [case[name] for name in _NAMES]


def errors(case: Case) -> list[str]:
    """Cells below the headings of errors."""
    unseen = case.get("unseen")
    bar_pct = case["tolerance_pct"]
    return [
        _percent(case["mape_pct"]),
        "none" if bar_pct is None else f"{bar_pct:g} %",
        _verdict(case),
        _percent(unseen["mape_pct"]) if unseen else "",
        f"{case['n']:,}",
        _percent(case["median_ape_pct"]),
        f"{case['bias_pct']:+.1f} %",
        _percent(case["p90_ape_pct"]),
    ]


def sizes(case: Case, *, with_rows: bool = True) -> list[str]:
    """Mean error in each size class, nothing where it has no rows."""
    found = [case["by_size"].get(size) for size in SIZES]
    return [_sized(at, with_rows) if at else "" for at in found]


def _sized(figures: Mapping[str, Any], with_rows: bool) -> str:
    rows = f" ({figures['n']:,})" if with_rows else ""
    return f"{_percent(figures['mape_pct'])}{rows}"


def worst_cells(row: Mapping[str, Any]) -> list[str]:
    """A row that is far off."""
    return [
        row["group"],
        f"{row['table']}:{row['line']}",
        row["shape"],
        time_of(row["measured_s"]),
        time_of(row["ours_s"]),
        f"{row['error_pct']:+.0f} %",
    ]


def skipped_cells(row: Mapping[str, Any]) -> list[str]:
    """Rows that were left out; a table that is none of operators has none."""
    return [row["table"], row["reason"], f"{row['rows']:,}" if row["rows"] else "all"]


def time_of(time_s: float) -> str:
    """`12.3 us` and the like."""
    return short_time(time_s / _NS_IN_S)


def _percent(percent: float) -> str:
    return f"{percent:.1f} %"


def _plain(cells: Sequence[str]) -> list[Text]:
    """Cells as Text, so that a name is never read as markup."""
    return [Text(cell) for cell in cells]


def _table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> RichTable:
    table = RichTable(
        title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False
    )
    sides: tuple[tuple[Sequence[str], JustifyMethod], ...] = ((texts, "left"), (numbers, "right"))
    for headings, side in sides:
        for heading in headings:
            is_whole = heading not in _FOLDED
            table.add_column(heading, justify=side, no_wrap=is_whole, overflow="fold")
    return table


def _print(console: Console, *parts: RichTable | Text) -> None:
    for part in parts:
        is_line = isinstance(part, Text)
        console.print(part, width=min(console.width, _WIDEST), soft_wrap=is_line)


# ---- Markdown


def gpu_markdown(suite: Suite) -> str:
    """The same tables for a README, less the worst rows."""
    blocks = [
        f"{outcome(suite)}.",
        _markdown((*_NAMES, *ERRORS), ([*names(case), *errors(case)] for case in suite["cases"])),
        "Mean error by measured time, and how many rows:",
        _markdown((*_NAMES, *SIZES), ([*names(case), *sizes(case)] for case in suite["cases"])),
        "Left out:",
        _markdown(("table", "reason", "rows"), map(skipped_cells, suite.get("skipped", ()))),
    ]
    return "\n\n".join(blocks) + "\n"


def _markdown(headings: Sequence[str], rows: Any) -> str:
    lines = [list(headings), ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
