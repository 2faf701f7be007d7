"""Operators added up over layers: what people read first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.results import Result, Table

_TEXTS: Final = ("name", "kind", "engine", "bound")
_NOT_ADDED: Final = (*_TEXTS, "index", "layer", "start_ns", "end_ns")
OTHER: Final = "other"


def group_operators(result: Result, by: Sequence[str] = ("name", "kind", "engine")) -> Table:
    """One row per distinct `by`, the longest first: count, sums, share, main bound, bandwidth."""
    operators = result.operators
    groups = _group_rows([operators[name] for name in by])
    columns: dict[str, Any] = {name: [operators[name][rows[0]] for rows in groups] for name in by}
    columns["count"] = [len(rows) for rows in groups]
    for name, values in operators.items():
        if name not in _NOT_ADDED and name not in by and values.dtype.kind in "iuf":
            columns[name] = [_add(values[rows]) for rows in groups]
    if "bound" not in by:
        columns["bound"] = [_main_bound(operators, rows) for rows in groups]
    return _longest_first(Table(columns | _ratios(result, columns)))


def top_groups(groups: Table, number: int) -> Table:
    """The first `number` rows, and one row named "other (n)" for the rest where there is one."""
    if len(groups) <= number + 1:
        return groups
    rest = np.arange(number, len(groups))
    columns: dict[str, Any] = {}
    for name, values in groups.items():
        columns[name] = [*values[:number].tolist(), _rest_of(name, groups, rest)]
    return Table(columns)


def _rest_of(name: str, groups: Table, rest: NDArray[np.intp]) -> Any:
    if name == "name":
        return f"{OTHER} ({len(rest)})"
    if name == "bandwidth_bytes_per_ns":
        duration_ns = math.fsum(groups["duration_ns"][rest])
        return math.fsum(groups["bytes"][rest]) / duration_ns if duration_ns else math.nan
    values = groups[name][rest]
    return _add(values) if values.dtype.kind in "iuf" else ""


def _group_rows(keys: list[NDArray[Any]]) -> list[NDArray[np.intp]]:
    """Row numbers of each distinct key, groups in order of first appearance."""
    rows: dict[tuple[Any, ...], list[int]] = {}
    for row, key in enumerate(zip(*(key.tolist() for key in keys), strict=True)):
        rows.setdefault(key, []).append(row)
    return [np.array(numbers, dtype=np.intp) for numbers in rows.values()]


def _add(values: NDArray[Any]) -> int | float:
    add: Callable[[Any], Any] = math.fsum if values.dtype.kind == "f" else sum
    total: int | float = add(values.tolist())
    return total


def _main_bound(operators: Table, rows: NDArray[np.intp]) -> str:
    """The bound with the most time in these rows."""
    time_ns: dict[str, float] = {}
    bounds, times_ns = operators["bound"][rows].tolist(), operators["time_ns"][rows].tolist()
    for bound, one_ns in zip(bounds, times_ns, strict=True):
        time_ns[bound] = time_ns.get(bound, 0.0) + one_ns
    return max(time_ns, key=lambda bound: time_ns[bound])


def _ratios(result: Result, sums: dict[str, Any]) -> dict[str, list[float]]:
    moved = [
        read + write for read, write in zip(sums["read_bytes"], sums["write_bytes"], strict=True)
    ]
    latency_ns = result.latency_ns
    return {
        "share": [t / latency_ns if latency_ns else math.nan for t in sums["time_ns"]],
        "bytes": moved,
        "bandwidth_bytes_per_ns": [
            size / duration_ns if duration_ns else math.nan
            for size, duration_ns in zip(moved, sums["duration_ns"], strict=True)
        ],
    }


def _longest_first(groups: Table) -> Table:
    return groups.take(np.argsort(-groups["time_ns"], kind="stable"))
