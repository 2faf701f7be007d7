"""Simulated against measured operator times: error per family, and the worst rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import MappingError, TraceError
from bankwidth.operators import TableRow, read_table
from bankwidth.operators.latency import is_latency
from bankwidth.results import Table
from bankwidth.spec import MachineSpec
from bankwidth.system.run import Progress
from bankwidth.validate.gpu_captures import library_of, predictor_of
from bankwidth.validate.ops import PROGRESS_ROWS
from bankwidth.validate.predict import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`families` by operator name as in the table; `worst` rows first; `rows` has all of them."""

    families: Mapping[str, Mapping[str, float]]
    worst: list[dict[str, Any]]
    rows: Table

    def to_json(self) -> dict[str, Any]:
        """`{"families": {NAME: {"n", "mape_pct", ...}}, "worst": [...]}`."""
        return {"families": {k: dict(v) for k, v in self.families.items()}, "worst": self.worst}


def error_figures(ours_s: NDArray[np.float64], measured_s: NDArray[np.float64]) -> dict[str, float]:
    """Mean, median and 90th percentile of the absolute error, and the mean signed error, in %."""
    error_pct = 100.0 * (ours_s - measured_s) / measured_s
    absolute = np.abs(error_pct)
    return {
        "n": len(error_pct),
        "mape_pct": float(absolute.mean()),
        "median_ape_pct": float(np.median(absolute)),
        "bias_pct": float(error_pct.mean()),
        "p90_ape_pct": float(np.percentile(absolute, 90)),
    }


def compare(
    machine: MachineSpec,
    path: Path | str,
    *,
    worst: int = 10,
    progress: Progress | None = None,
) -> Comparison:
    """Simulate every measured row with the kernel library that it was measured with.

    Raises TraceError for rows without a measured latency.
    """
    rows = read_table(path)
    measured_s = np.array(check_measured(rows, path))
    table = _timed(machine, rows, path, progress)
    ours_s = np.asarray(table["latency_s"], dtype=np.float64)
    names = table["operator"]
    families = {
        str(name): error_figures(ours_s[names == name], measured_s[names == name])
        for name in dict.fromkeys(names.tolist())
    }
    order = np.argsort(-np.abs(ours_s / measured_s - 1.0), kind="stable")[: max(0, worst)]
    return Comparison(families=families, worst=_worst(rows, table, order), rows=table)


def _timed(
    machine: MachineSpec, rows: Sequence[TableRow], path: Path | str, progress: Progress | None
) -> Table:
    predictors: dict[str, Predictor] = {}
    times = []
    for done, row in enumerate(rows):
        library = library_of(row.row, Path(path))
        if library not in predictors:
            predictors[library] = predictor_of(machine, library)
        try:
            times.append(predictors[library].time(row.operator))
        except MappingError as error:
            raise TraceError(f"{path}:{row.line}: {error}") from error
        if progress is not None and done % PROGRESS_ROWS == 0:
            progress(done, len(rows))
    return Table(
        {
            "line": [row.line for row in rows],
            "operator": [row.operator.name for row in rows],
            "kind": [row.operator.kind for row in rows],
            "latency_s": [time.latency_s for time in times],
            "lower_bound_s": [time.lower_bound_s for time in times],
            "bound": [time.bound for time in times],
            "measured_s": [row.latency_s for row in rows],
        }
    )


def check_measured(rows: Sequence[TableRow], path: Path | str) -> list[float]:
    """Measured time of each row. Raises TraceError where one is missing, or there are no rows."""
    if not rows:
        raise TraceError(f"{path}:1: no rows below the header")
    absent = [row.line for row in rows if row.latency_s is None]
    if absent:
        others = f" (and in {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise TraceError(
            f"{path}:{absent[0]}: no latency{others}: a comparison needs one in every row, "
            "in a column latency_s, latency_ms, latency_us or latency_ns"
        )
    return [row.latency_s for row in rows if row.latency_s is not None]


def _worst(rows: Sequence[TableRow], table: Table, order: NDArray[np.intp]) -> list[dict[str, Any]]:
    """The rows of the input with both times, the error, and what bounds ours."""
    found = []
    for index in order.tolist():
        ours_s, measured_s = float(table["latency_s"][index]), float(table["measured_s"][index])
        found.append(
            {
                "line": rows[index].line,
                **{k: v for k, v in rows[index].row.items() if not is_latency(k)},
                "measured_s": measured_s,
                "ours_s": ours_s,
                "error_pct": 100.0 * (ours_s / measured_s - 1.0),
                "bound": str(table["bound"][index]),
            }
        )
    return found
