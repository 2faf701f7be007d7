"""Simulated against measured operator times: error per family, and the worst rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import TraceError
from bankwidth.operators import read_table
from bankwidth.results import Table
from bankwidth.spec import MachineSpec
from bankwidth.system.run import Progress
from bankwidth.validate.ops import run_ops


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
    """Simulate every measured row. Raises TraceError for rows without a measured latency."""
    table = run_ops(machine, path, progress=progress)
    if len(table) == 0:
        raise TraceError(f"{path}: no rows")
    measured_s = np.asarray(table["measured_s"], dtype=np.float64)
    if np.isnan(measured_s).any():
        line = int(table["line"][int(np.isnan(measured_s).argmax())])
        raise TraceError(f"{path}:{line}: no latency_s: a comparison needs it in every row")
    ours_s = np.asarray(table["latency_s"], dtype=np.float64)
    names = table["operator"]
    families = {
        str(name): error_figures(ours_s[names == name], measured_s[names == name])
        for name in dict.fromkeys(names.tolist())
    }
    order = np.argsort(-np.abs(ours_s / measured_s - 1.0), kind="stable")[: max(0, worst)]
    return Comparison(families=families, worst=_worst(path, table, order), rows=table)


def _worst(path: Path | str, table: Table, order: NDArray[np.intp]) -> list[dict[str, Any]]:
    """The rows of the input with both times, the error, and what bounds ours."""
    rows = {row.line: row.row for row in read_table(path)}
    found = []
    for index in order.tolist():
        line = int(table["line"][index])
        ours_s, measured_s = float(table["latency_s"][index]), float(table["measured_s"][index])
        found.append(
            {
                "line": line,
                **{k: v for k, v in rows[line].items() if k != "latency_s"},
                "measured_s": measured_s,
                "ours_s": ours_s,
                "error_pct": 100.0 * (ours_s / measured_s - 1.0),
                "bound": str(table["bound"][index]),
            }
        )
    return found
