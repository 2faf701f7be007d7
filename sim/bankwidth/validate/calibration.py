"""What a calibration found: parameters before and after, and errors on both halves of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bankwidth.spec import FitParameter, MachineSpec

ALL: Final = "all"  # families together
# Figures of `comparison.error_figures` by family, by time ("before", "after").
Errors = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one parameter; `after` is in its canonical unit.

    `sensitivity_pct` is by how much the times change on average when it grows by a tenth. One that
    is not fitted has stayed as it was, because the rows do not tell it.
    """

    parameter: FitParameter
    after: float
    sensitivity_pct: float
    is_fitted: bool

    def to_json(self) -> dict[str, Any]:
        """Its name and values, in the unit of the file."""
        p = self.parameter
        values = {"before": p.value, "after": self.after, "low": p.low, "high": p.high}
        return {
            "parameter": p.name,
            "unit": p.unit,
            **{name: p.in_unit(value) for name, value in values.items()},
            "sensitivity_pct": self.sensitivity_pct,
            "is_fitted": self.is_fitted,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """Rows of the tables: of the half to fit `sampled` ones made the fit, `held_out` none."""

    all: int
    fit: int
    sampled: int

    @property
    def held_out(self) -> int:
        """Rows of the half that is never fitted to."""
        return self.all - self.fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A machine with fitted parameters, and how good it is.

    `cost` is the mean of |ln(ours / measured)| over the sampled rows, before and after. `errors`
    are those of the halves "fit" and "held_out"; among the families is "all".
    """

    machine: MachineSpec
    text: str  # of the machine's file, with the fitted values in it
    tables: tuple[Path, ...]
    seed: int
    rows: RowCounts
    evaluations: int
    cost: tuple[float, float]
    outcomes: tuple[Outcome, ...]
    errors: Mapping[str, Errors]

    def to_json(self) -> dict[str, Any]:
        """Plain data, less the text."""
        rows = self.rows
        return {
            "machine": self.machine.name,
            "tables": [str(path) for path in self.tables],
            "seed": self.seed,
            "rows": {"all": rows.all, "fit": rows.fit, "sampled": rows.sampled,
                     "held_out": rows.held_out},
            "evaluations": self.evaluations,
            "mean_abs_ln": {"before": self.cost[0], "after": self.cost[1]},
            "parameters": [outcome.to_json() for outcome in self.outcomes],
            "errors": self.errors,
        }  # fmt: skip
