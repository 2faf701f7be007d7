"""What suites of designs print: a table of references, what does not hold, published figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

Case = Mapping[str, Any]
Group = Mapping[str, Any]
Suite = Mapping[str, Any]

MAX_SHOWN: Final = 10  # failing cases of a group; the others are counted
_PUBLISHED: Final = "published"


def print_design_validation(suite: Suite, console: Console) -> None:
    """Prints a suite, given as its JSON."""
    console.print(Text(f"{suite['suite']} against {suite['source']}", "bold"), soft_wrap=True)
    console.print(_summary(suite["groups"]))
    other = {(name, quantity) for name, quantity in suite.get("other", ())}
    for group, cases in groups_of(suite):
        for line in _lines(group, cases, other):
            console.print(line, soft_wrap=True)
    explained = suite.get("explained", 0)
    more = f"; {explained} published ones are other than ours and say why" if explained else ""
    is_good = suite["ok"] + explained == suite["n"]
    held = f"{suite['suite']}: {suite['ok']} of {suite['n']} figures hold{more}"
    console.print(Text(held, "bold green" if is_good else "bold red"), soft_wrap=True)


def groups_of(suite: Suite) -> Iterator[tuple[Group, Sequence[Case]]]:
    """Each group with its cases, which stand one group behind the other."""
    ends = list(accumulate(group["n"] for group in suite["groups"]))
    for group, end in zip(suite["groups"], ends, strict=True):
        yield group, suite["cases"][end - group["n"] : end]


def _summary(groups: Sequence[Group]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("figures of", "hold", "mean error", "largest"):
        table.add_column(title, justify="left" if title == "figures of" else "right")
    for group in groups:
        errors = (percent(group[key]) for key in ("mean_error_pct", "max_error_pct"))
        table.add_row(group["name"], f"{group['ok']} of {group['n']}", *errors)
    return table


def percent(value: float | None) -> str:
    """An error as text; a dash where there is none."""
    return "-" if value is None else f"{value:.3g} %"


def _lines(group: Group, cases: Sequence[Case], other: set[tuple[str, str]]) -> Iterator[Text]:
    """Published figures all, of a simulator's rows those that do not hold."""
    is_published = group["name"].endswith(_PUBLISHED)
    shown = [case for case in cases if is_published or not case["ok"]]
    if shown:
        yield Text(group["name"], "bold")
    for case in shown if is_published else shown[:MAX_SHOWN]:
        yield Text.assemble(_verdict(case, other), told(case))
        if case.get("note"):
            yield Text(f"        {case['note']}", "dim")
    if not is_published and len(shown) > MAX_SHOWN:
        yield Text(f"      and {len(shown) - MAX_SHOWN} more (--json has all)")


def _verdict(case: Case, other: set[tuple[str, str]]) -> tuple[str, str]:
    """In front of a figure; a published one may be known to be other than ours."""
    if case["ok"]:
        return "ok    ", "green"
    is_known = (case["id"], case["quantity"]) in other
    return ("other ", "yellow") if is_known else ("FAILS ", "bold red")


def told(case: Case) -> str:
    """A figure of the reference, ours, and the error or the band."""
    head = f"{case['id']}  {case['quantity']}: reference {figure(case['reference'])}, "
    return head + ", ".join([f"ours {figure(case['ours'])}", *_distance(case)])


def _distance(case: Case) -> Iterator[str]:
    if case["error_pct"] is not None:
        yield f"error {case['error_pct']:+.3g} %"
    if case.get("tolerance_pct"):
        yield f"tolerance {case['tolerance_pct']:.3g} %"


def figure(value: Any) -> str:
    """A number with six digits, a band as from-to, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return " to ".join(map(figure, value))
    return str(value)
