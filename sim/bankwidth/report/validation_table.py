"""What `validate` prints: a line per run, below it what does not hold, and at the end the count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from bankwidth.report.design_validation import print_design_validation
from bankwidth.report.gpu_validation import print_gpu_validation

Case = Mapping[str, Any]
Suite = Mapping[str, Any]


def print_validation(data: Suite | Sequence[Suite], console: Console) -> None:
    """Prints one suite or several, given as their JSON."""
    for suite in [data] if isinstance(data, Mapping) else data:
        _PRINTERS.get(suite["suite"], _print_runs)(suite, console)


def _print_runs(suite: Suite, console: Console) -> None:
    """A line per run, below it what does not hold."""
    console.print(Text(f"{suite['suite']} against {suite['source']}", "bold"), soft_wrap=True)
    for line in _lines(suite["cases"]):
        console.print(line, soft_wrap=True)
    console.print(_outcome(suite), soft_wrap=True)


# Suites whose cases are no runs that hold or fail figure by figure.
_PRINTERS: Final[Mapping[str, Callable[[Suite, Console], None]]] = {
    "gpu": print_gpu_validation,
    "pim": print_design_validation,
    "flash": print_design_validation,
    "sram-lut": print_design_validation,
}


def _lines(cases: Sequence[Case]) -> Iterator[Text]:
    """Lines are Text, so that a name is never read as markup."""
    widest = max((len(case["id"]) for case in cases), default=0)
    for identity, group in groupby(cases, key=lambda case: case["id"]):
        of_run = list(group)
        failed = [case for case in of_run if not case["ok"]]
        if failed:
            yield Text.assemble(("FAILS ", "bold red"), identity)
            yield from (Text(f"        {_compared(case)}") for case in failed)
        else:
            yield Text.assemble(("ok    ", "green"), f"{identity:{widest}}  {_held(of_run)}")


def _held(cases: Sequence[Case]) -> str:
    """The first figure of a run where all hold, and how many more there are."""
    more = f", and {len(cases) - 1} more" if len(cases) > 1 else ""
    return _compared(cases[0]) + more


def _compared(case: Case) -> str:
    """A figure of the reference, ours, error and tolerance."""
    if case["error_pct"] == 0:
        return f"{case['quantity']} {_shown(case['reference'])}"
    reference, ours = _figures(case["reference"], case["ours"])
    parts = [f"{case['quantity']}: reference {reference}", f"ours {ours}"]
    if case["error_pct"] is not None:
        parts.append(f"error {case['error_pct']:+.3g} %")
    tolerance = f"{case['tolerance_pct']:.3g} %" if case["tolerance_pct"] else "none"
    return ", ".join([*parts, f"tolerance {tolerance}"])


def _figures(reference: Any, ours: Any) -> tuple[str, str]:
    """Both as text; of counts by name only those that differ."""
    if not isinstance(reference, Mapping) or not isinstance(ours, Mapping):
        return _shown(reference), _shown(ours)
    names = [name for name in {**reference, **ours} if reference.get(name, 0) != ours.get(name, 0)]
    return _counts(names, reference), _counts(names, ours)


def _counts(names: Sequence[str], counts: Mapping[str, int]) -> str:
    return " ".join(f"{name} {counts.get(name, 0)}" for name in names)


def _shown(figure: Any) -> str:
    if isinstance(figure, Mapping):
        return _counts(list(figure), figure)
    return f"{figure:.6g}" if isinstance(figure, float) else str(figure)


def _outcome(suite: Suite) -> Text:
    """How many runs hold in all their figures, and how many figures."""
    runs = {case["id"] for case in suite["cases"]}
    failed = {case["id"] for case in suite["cases"] if not case["ok"]}
    held = f"{len(runs) - len(failed)} of {len(runs)} runs hold"
    text = f"{suite['suite']}: {held}, {suite['ok']} of {suite['n']} figures"
    return Text(text, "bold red" if failed else "bold green")
