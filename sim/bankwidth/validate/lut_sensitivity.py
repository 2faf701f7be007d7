"""How far each assumed parameter moves the headlines of SAIL: one at a time, halved and doubled.

A parameter is a value of a machine, or several that go together, by their YAML keys; where SAIL and
its CPU share it, of both. It is set to half and to twice its value, or to the alternatives that are
named; all else stays. The gains are taken where they are largest (`lut_sail.best_points`).

    python -m bankwidth.validate.lut_sensitivity TABLE.csv      # writes the table
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bankwidth.errors import UserError
from bankwidth.results import Table
from bankwidth.spec import MachineSpec
from bankwidth.spec.fit import KeyPath
from bankwidth.spec.sram_lut_mapping import PatternSpec
from bankwidth.spec.values import broken_rules, value_at, with_values
from bankwidth.validate.lut_sail import CPU, GPU, SAIL, Chosen, Point, best_points, gains, machines

TABLE_THREADS: Final = 64  # as the machines are shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What is varied: values at `paths` of the machines, scaled together or set to alternatives.

    Those of a machine that has no such path stay.
    """

    name: str
    machines: Sequence[str] = ()
    paths: Sequence[KeyPath] = ()
    field: str = ""  # of the point, in place of machines and paths
    tries: Sequence[Any] = ()  # in place of half and twice; the value itself is left out

    def alternatives(self, chosen: Chosen) -> Iterator[tuple[str, Chosen]]:
        """The machines with other values, by what was set."""
        if self.field:
            yield from ((str(tried), chosen) for tried in self.tries)
            return
        if not self.tries:
            for label, factor in (("half", 0.5), ("twice", 2.0)):
                yield label, self._changed(chosen, lambda value, by=factor: value * by)
            return
        now = value_at(chosen[self.machines[0]], self.paths[0])
        for tried in self.tries:
            if tried != now:
                label = "off" if tried is NO_PATTERNS else str(tried)
                yield label, self._changed(chosen, lambda _, to=tried: to)

    def moved(self, points: Mapping[str, Point], label: str) -> Mapping[str, Point]:
        """The points with another value of the field, if it is one of theirs."""
        if not self.field:
            return points
        changed: dict[str, Any] = {self.field: int(label)}
        return {name: replace(point, **changed) for name, point in points.items()}

    def is_broken(self, chosen: Chosen) -> bool:
        """Whether values break a rule of their machine."""
        return any(broken_rules(chosen[name], self._paths(chosen[name])) for name in self.machines)

    def _changed(self, chosen: Chosen, change: Any) -> Chosen:
        changed = dict(chosen)
        for name in self.machines:
            paths = self._paths(chosen[name])
            values = {path: change(value_at(chosen[name], path)) for path in paths}
            changed[name] = with_values(chosen[name], values)
        return changed

    def _paths(self, machine: MachineSpec) -> list[KeyPath]:
        return [path for path in self.paths if _has(machine, path)]


def _has(machine: MachineSpec, path: KeyPath) -> bool:
    try:
        value_at(machine, path)
    except (KeyError, IndexError, StopIteration, TypeError):
        return False
    return True


# ---- what is assumed

BOTH: Final = (SAIL, CPU)
NO_PATTERNS: Final = PatternSpec(zeros=False, runs=False, needed_entries=False)


def lut(*keys: str) -> KeyPath:
    """Path of a value of SAIL's compute SRAM."""
    return ("engines", "lut", *keys)


def cpu(*keys: str) -> KeyPath:
    """Path of a value of the CPU."""
    return ("engines", "cpu", *keys)


def option(*keys: str) -> KeyPath:
    """Path of a choice of how products lie in the arrays."""
    return ("mapping", "sram_lut", *keys)


def _law(name: str) -> list[KeyPath]:
    return [lut("laws", name, part) for part in ("product", "linear", "constant")]


def _kernels(part: str) -> list[KeyPath]:
    """Instructions of a part of all of llama.cpp's kernels for stored weights."""
    classes = ("load", "store", "alu", "shift", "scalar", "dot", "multiply", "convert", "fma")
    formats = ("q2_k", "q3_k", "q4_0", "q5_0", "q6_k", "q8_0")
    return [
        cpu("libraries", "llama.cpp", "products", name, part, kind)
        for name in formats
        for kind in classes
    ]


RATES: Final = [cpu("rates", name) for name in (
    "load", "store", "scalar", "alu", "shift", "lookup", "dot", "multiply", "fma", "convert"
)]  # fmt: skip
MEMORY: Final = [("memories", "ddr4", "channels"), *(("links", i, "bandwidth") for i in (0, 1))]
# fmt: off
PARAMETERS: Final = (
    Parameter(name="slices", machines=[SAIL], paths=[lut("slices")]),
    Parameter(name="arrays of a slice", machines=[SAIL], paths=[lut("arrays_per_bank")]),
    Parameter(name="clock of the arrays", machines=[SAIL], paths=[lut("clock")]),
    Parameter(name="rows of an array", machines=[SAIL], paths=[lut("array", "rows")]),
    Parameter(name="cycles of sums and look-ups", machines=[SAIL],
              paths=[*_law("add"), *_law("accumulate")]),
    Parameter(name="cycles of moves, logic, access", machines=[SAIL],
              paths=[*_law("move"), *_law("logic"), *_law("access"), *_law("lane_shift")]),
    Parameter(name="bus of a slice", machines=[SAIL], paths=[lut("slice_bus")]),
    Parameter(name="port of a bank", machines=[SAIL], paths=[lut("bank_port")]),
    Parameter(name="staging of a slice", machines=[SAIL], paths=[lut("staging")]),
    Parameter(name="buffers of weights", machines=[SAIL], paths=[lut("array", "weight_buffers")],
              tries=(1, 2)),
    Parameter(name="issue and switch", machines=[SAIL], paths=[lut("issue"), lut("switch")]),
    Parameter(name="group (N_BW)", machines=[SAIL], paths=[option("group")], tries=(1, 2, 3, 4, 5)),
    Parameter(name="bits of activations", machines=[SAIL], paths=[option("activation_width")],
              tries=(4, 6, 8, 16)),
    Parameter(name="bits of accumulators", machines=[SAIL], paths=[option("accumulator_width")],
              tries=(None, 32)),
    Parameter(name="algorithm", machines=[SAIL], paths=[option("algorithm")],
              tries=("weight_tables", "activation_tables", "multiply")),
    Parameter(name="type conversion", machines=[SAIL], paths=[option("convert")],
              tries=("arrays", "host")),
    Parameter(name="repeated patterns", machines=[SAIL], paths=[option("pattern")],
              tries=(NO_PATTERNS,)),
    Parameter(name="channels of DRAM", machines=BOTH, paths=MEMORY),
    Parameter(name="threads of the host and the CPU", field="threads", tries=(16, 32)),
    Parameter(name="context", field="context", tries=(128, 256, 1024, 2048)),
    Parameter(name="instructions a clock", machines=BOTH,
              paths=[*RATES, cpu("pipes"), cpu("ports"), cpu("issue")]),
    Parameter(name="kernels of llama.cpp", machines=BOTH, paths=[cpu("library")],
              tries=("llama.cpp", "llama.cpp-without-dot")),
    Parameter(name="unpacking weights on the CPU", machines=[CPU], paths=_kernels("unpack")),
    Parameter(name="multiplying on the CPU", machines=[CPU], paths=_kernels("multiply")),
    Parameter(name="joining threads", machines=BOTH,
              paths=[cpu("libraries", "llama.cpp", name) for name in ("region", "thread")]),
    Parameter(name="price of SAIL", machines=[SAIL], paths=[("price", "dollars_per_hour")]),
    Parameter(name="price of the CPU and SAIL", machines=BOTH,
              paths=[("price", "dollars_per_hour")]),
    Parameter(name="price of the V100", machines=[GPU], paths=[("price", "dollars_per_hour")]),
)
# fmt: on


def sensitivity(
    points: Mapping[str, Point],
    parameters: Iterable[Parameter] = PARAMETERS,
    chosen: Chosen | None = None,
) -> Table:
    """A row for each parameter and change: the gains, and their change in percent.

    `points` says where each gain is taken. The parameters that move the first gain most come first.
    A change that breaks a rule of a machine, or does not fit, leaves its gains empty.
    """
    start = chosen or machines()
    base = _gains_at(points, start)
    rows = []
    for parameter in parameters:
        for label, changed in parameter.alternatives(start):
            there = parameter.moved(points, label)
            found = _gains_at(there, changed, is_broken=parameter.is_broken(changed))
            rows.append(_row(parameter, label, found, base))
    moved = _moved(rows, next(iter(points)))
    rows.sort(key=lambda row: -moved[row["parameter"]])
    return Table({name: [row[name] for row in rows] for name in rows[0]})


def _gains_at(
    points: Mapping[str, Point], chosen: Chosen, *, is_broken: bool = False
) -> dict[str, float]:
    if is_broken:
        return dict.fromkeys(points, math.nan)
    try:
        return {figure: gains(point, chosen)[figure] for figure, point in points.items()}
    except UserError:
        return dict.fromkeys(points, math.nan)


def _row(
    parameter: Parameter, label: str, found: Mapping[str, float], base: Mapping[str, float]
) -> dict[str, Any]:
    pct = {f"{name}_pct": 100.0 * (value / base[name] - 1.0) for name, value in found.items()}
    figures = {name: float(f"{value:.4g}") for name, value in {**found, **pct}.items()}
    where = " and ".join(parameter.machines) or "all"
    return {"parameter": parameter.name, "machine": where, "change": label, **figures}


def _moved(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[str, float]:
    """The largest change of a gain that each parameter brings, as a factor."""
    moved: dict[str, float] = {}
    for row in rows:
        ratio = 1.0 + row[f"{figure}_pct"] / 100.0
        size = 0.0 if math.isnan(ratio) else abs(math.log(ratio))
        moved[row["parameter"]] = max(size, moved.get(row["parameter"], 0.0))
    return moved


def main() -> None:
    """Writes the table to the file that is named."""
    (path,) = sys.argv[1:]
    sensitivity(best_points(TABLE_THREADS)).to_csv(Path(path))


if __name__ == "__main__":
    main()
