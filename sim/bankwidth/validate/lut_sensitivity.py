"""How far each assumed parameter moves the headlines of SAIL: one at a time, halved and doubled.

A parameter is one value of a machine, or several that go together, by their YAML keys. Each is set
to half and to twice its value, or to the alternatives that are named; all else stays. The gains are
taken where they are largest (`lut_sail.best`).

    python -m bankwidth.validate.lut_sensitivity TABLE.csv      # writes the table
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bankwidth.errors import UserError
from bankwidth.results import Table
from bankwidth.spec import MachineSpec
from bankwidth.spec.fit import KeyPath
from bankwidth.spec.values import broken_rules, value_at, with_values
from bankwidth.validate.lut_sail import SAIL, Chosen, Point, gains, machines

HALF, TWICE = 0.5, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What is varied: values at `paths` of a machine, scaled together or set to alternatives."""

    name: str
    machine: str
    paths: Sequence[KeyPath]
    tries: Sequence[Any] = ()  # in place of half and twice; the value itself is left out

    def values(self, machine: MachineSpec) -> list[Any]:
        """Those at the paths."""
        return [value_at(machine, path) for path in self.paths]

    def alternatives(self, machine: MachineSpec) -> list[tuple[str, MachineSpec]]:
        """Machines with other values, by what was set."""
        start = self.values(machine)
        if self.tries:
            changed = {
                str(value): [value] * len(start) for value in self.tries if value != start[0]
            }
        else:
            changed = {
                label: [value * factor for value in start]
                for label, factor in (("half", HALF), ("twice", TWICE))
            }
        return [
            (label, with_values(machine, dict(zip(self.paths, values, strict=True))))
            for label, values in changed.items()
        ]


def engine(key: str, *more: str) -> KeyPath:
    """Path of a value of SAIL's compute SRAM."""
    return ("engines", "csram", key, *more)


def cpu(key: str, *more: str) -> KeyPath:
    """Path of a value of a CPU."""
    return ("engines", "cpu", key, *more)


# fmt: off
PARAMETERS: Final = (
    Parameter(name="slices", machine=SAIL, paths=[engine("slices")]),
)
# fmt: on


def sensitivity(
    points: Mapping[str, Point],
    parameters: Iterable[Parameter] = PARAMETERS,
    chosen: Chosen | None = None,
) -> Table:
    """A row for each parameter and change: the gains, and their change in percent.

    `points` says where each gain is taken. The parameters that move the first gain most come first.
    A change that breaks a rule of the machine, or does not fit, leaves its gains empty.
    """
    start = chosen or machines()
    base = _gains_at(points, start)
    rows = []
    for parameter in parameters:
        for label, machine in parameter.alternatives(start[parameter.machine]):
            found = _gains_at(points, {**start, parameter.machine: machine}, parameter)
            rows.append(_row(parameter, label, found, base))
    moved = _moved(rows, next(iter(points)))
    rows.sort(key=lambda row: -moved[row["parameter"]])
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def _gains_at(
    points: Mapping[str, Point], chosen: Chosen, parameter: Parameter | None = None
) -> dict[str, float]:
    if parameter is not None and broken_rules(chosen[parameter.machine], parameter.paths):
        return dict.fromkeys(points, math.nan)
    try:
        return {figure: gains(point, chosen)[figure] for figure, point in points.items()}
    except UserError:
        return dict.fromkeys(points, math.nan)


def _row(
    parameter: Parameter, label: str, found: Mapping[str, float], base: Mapping[str, float]
) -> dict[str, Any]:
    pct = {f"{name}_pct": 100.0 * (value / base[name] - 1.0) for name, value in found.items()}
    return {"machine": parameter.machine, "parameter": parameter.name, "change": label,
            **found, **pct}  # fmt: skip


def _moved(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, float]:
    """The largest change of a gain that each parameter brings, as a factor."""
    moved: dict[str, float] = {}
    for row in rows:
        ratio = 1.0 + row[f"{figure}_pct"] / 100.0
        size = 0.0 if math.isnan(ratio) else abs(math.log(ratio))
        moved[row["parameter"]] = max(size, moved.get(row["parameter"], 0.0))
    return moved
