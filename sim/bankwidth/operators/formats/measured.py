"""Measured times of an imported trace as an operator table that `bankwidth compare` reads.

One row per operator of a block, with the median over the block's iterations and how many there
were. Operators that such a table has no row for, or would read as another one, are left out.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from bankwidth.errors import TraceError
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.formats.base import Imported, Measured
from bankwidth.operators.formats.csv_ops import cells, table_name
from bankwidth.operators.table import OPERATOR_NAMES, operator_from_row
from bankwidth.operators.textfile import check_free, write_text

LATENCY: Final = "latency_ns"


class _Timed(NamedTuple):
    """An operator of a block, and what each of its executions took."""

    block: str
    operator: Operator
    times: list[Measured]


def write_measured(imported: Imported, path: str | Path, *, force: bool = False) -> tuple[str, ...]:
    """Write the table, gzipped if its name ends in `.gz`; the sentences say what is not in it.

    Raises TraceError when nothing was measured, OutputError for a file that exists (without
    `force`) or cannot be written.
    """
    path = Path(path)
    check_free(path, force=force)
    text, lost = measured_table(imported)
    write_text(path, text)
    return lost


def measured_table(imported: Imported) -> tuple[str, tuple[str, ...]]:
    """The table as text, and in sentences what is not in it."""
    if not imported.measured:
        raise TraceError(f"{imported.trace.model}: the imported file has no measured times")
    rows: list[dict[str, str]] = []
    left_out: Counter[str] = Counter()
    for timed in _timed(imported):
        reason = _why_not(timed)
        if reason:
            left_out[reason] += len(timed.times)
        else:
            rows.append(_row(timed))
    if not rows:
        raise TraceError(f"{imported.trace.model}: no measured operator has a row in a table")
    lost = tuple(f"{count} executions of {what}" for what, count in left_out.items())
    return _csv(rows), lost


def _timed(imported: Imported) -> Iterator[_Timed]:
    at = 0
    for block in imported.trace.blocks:
        size = len(block.operators)
        for place, operator in enumerate(block.operators):
            times = imported.measured[at + place : at + size * block.repeat : size]
            yield _Timed(block.name, operator, list(times))
        at += size * block.repeat


def _why_not(timed: _Timed) -> str | None:
    name = table_name(timed.operator)
    if name not in OPERATOR_NAMES:
        return f"{name} are not in the table: it has no row for them"
    if _median_ns(timed.times) <= 0:
        return f"{name} are not in the table: no kernel ran for them alone"
    plain = replace(timed.operator, name=name, layer=OUTSIDE, deps=())
    if _read_back({"operator": name} | cells(timed.operator)) != plain:
        return f"{name} are not in the table: it cannot say all of their sizes"
    return None


def _read_back(row: dict[str, str]) -> Operator | None:
    try:
        return operator_from_row(row, "row")
    except TraceError:
        return None


def _row(timed: _Timed) -> dict[str, str]:
    kernels = timed.times[0].kernels
    return {
        "operator": table_name(timed.operator),
        "name": f"{timed.block}.{timed.operator.name}",
        "count": str(len(timed.times)),
        LATENCY: f"{_median_ns(timed.times):.1f}",
        "kernel": "; ".join(dict.fromkeys(kernels)),
        **cells(timed.operator),
    }


def _median_ns(times: Sequence[Measured]) -> float:
    return float(statistics.median(each.measured_ns for each in times))


def _csv(rows: Sequence[dict[str, str]]) -> str:
    out = io.StringIO()
    header = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(out, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
