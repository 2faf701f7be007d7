"""The loop over the rows of a plan."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpucap.machine import Machine
from gpucap.measure import Failed, Row, head, measure, now_utc
from gpucap.options import Options
from gpucap.plan import Planned
from gpucap.problems import DeviceFailure, note
from gpucap.results import ERROR_COLUMNS, ResultFile, errors_path, key_of

Measure = Callable[[Planned, Machine, Options], Row | Failed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`seconds` stops between rows; `shuffle` is the seed of a random order, so that a capture
    that is stopped holds a fair sample."""

    seconds: float | None = None
    shuffle: int | None = None
    retry_errors: bool = False


@dataclass(slots=True)
class Tally:
    measured: int = 0
    kept: int = 0
    not_run: int = 0
    failed: int = 0
    wrong: int = 0
    left: int = 0

    def text(self) -> str:
        counts = f"{self.measured} measured, {self.kept} kept from before, {self.not_run} not run"
        failures = f"{self.failed} failed, {self.wrong} wrong results"
        left = f"; {self.left} left: the same command goes on" if self.left else ""
        return f"{counts}, {failures}{left}"


def run_plan(
    plan: list[Planned],
    machine: Machine,
    options: Options,
    out: Path,
    limits: Limits,
    *,
    measure_row: Measure = measure,
) -> Tally:
    """Measures what is not in `out` yet. Rows without a time go to the file of errors beside it.

    Raises CaptureError for a file of another capture, DeviceFailure when the device is lost.
    """
    identity = {"device": machine.name, "library": machine.library}
    with (
        ResultFile(out, identity) as results,
        ResultFile(errors_path(out), identity, columns=ERROR_COLUMNS) as errors,
    ):
        todo, tally = _split(plan, machine, results, None if limits.retry_errors else errors)
        if limits.shuffle is not None:
            random.Random(limits.shuffle).shuffle(todo)
        end = None if limits.seconds is None else time.monotonic() + limits.seconds
        for index, planned in enumerate(todo):
            if end is not None and time.monotonic() > end:
                tally.left = len(todo) - index
                break
            _one(planned, machine, options, results, errors, tally, measure_row)
    return tally


def _split(
    plan: list[Planned], machine: Machine, results: ResultFile, errors: ResultFile | None
) -> tuple[list[Planned], Tally]:
    tally = Tally()
    todo = []
    for planned in plan:
        key = key_of(head(planned, machine))
        if planned.refusal is not None:
            tally.not_run += 1
        elif key in results.done or (errors is not None and key in errors.done):
            tally.kept += 1
        else:
            todo.append(planned)
    return todo, tally


def _one(
    planned: Planned,
    machine: Machine,
    options: Options,
    results: ResultFile,
    errors: ResultFile,
    tally: Tally,
    measure_row: Measure,
) -> None:
    try:
        row = measure_row(planned, machine, options)
    except DeviceFailure as error:
        errors.append(_error_row(planned, machine, str(error)))
        raise
    if isinstance(row, Failed):
        tally.failed += not row.is_wrong
        tally.wrong += row.is_wrong
        errors.append(_error_row(planned, machine, row.problem))
        note(
            f"line {planned.wanted.line}: {planned.shape.label()}: {' '.join(row.problem.split())}"
        )
        return
    results.append(row)
    tally.measured += 1


def _error_row(planned: Planned, machine: Machine, problem: str) -> Row:
    return {**head(planned, machine), "problem": problem, "time_utc": now_utc()}
