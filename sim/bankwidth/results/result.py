"""What a run gives: one `Result` that holds its tables, its sums and where both came from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np

from bankwidth.errors import SimulationError
from bankwidth.results.table import Table, column, report_module
from bankwidth.units import UNITS, ps_to_ns

# What every operators, components and commands table holds; more columns may follow.
OPERATOR_COLUMNS: Final = (
    *("index", "name", "kind", "layer", "engine", "start_ns", "end_ns", "duration_ns", "time_ns"),
    *("bound", "lower_bound_ns", "flops", "read_bytes", "write_bytes", "energy_pj"),
)
COMPONENT_COLUMNS: Final = (
    *("name", "kind", "busy_ns", "idle_ns", "utilisation", "read_bytes", "write_bytes"),
    *("energy_dynamic_pj", "energy_static_pj", "energy_pj"),
)
COMMAND_COLUMNS: Final = ("component", "command", "count", "energy_pj")
TIME_PARTS: Final = (
    *("bound_ns", "launch_ns", "quantisation_ns", "row_miss_ns"),
    *("refresh_ns", "fill_ns", "wait_ns"),
)
# What was run, beside what made it (the provenance).
_RUN: Final = ("machine", "workload", "phase", "batch", "context", "tokens", "devices")
_SUMMED: Final = ("flops", "read_bytes", "write_bytes")
_SUM_TOLERANCE: Final = 1e-9  # of a sum of rounded floats; a lost operator is far above it


@dataclass(frozen=True, slots=True)
class Slice:
    """Something that a track did for a while, for the timeline.

    `track` is a lane, "gpu" or "hbm/channel 3" (a group and a lane in it).
    """

    track: str
    name: str
    start_ps: int
    dur_ps: int
    category: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counter:
    """A quantity over time, for the timeline: `values[i]` holds from `times_ps[i]` on."""

    track: str
    name: str
    unit: str
    times_ps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """Everything that a run gives. `verify()` checks that its tables agree.

    Where `devices` equal devices share the work, times, bytes and energies are one device's; the
    energy per token is that of all.
    """

    machine: str
    workload: str
    phase: str
    batch: int
    context: int
    tokens: float  # whole but for what a speculation expects
    latency_ps: int
    lower_bound_ns: float
    operators: Table
    components: Table
    commands: Table
    parts_ns: dict[str, float]  # sums of the operators' time parts; keys are their columns
    energy_by_component_pj: dict[str, float]
    provenance: dict[str, Any]
    slices: Sequence[Slice] = ()
    counters: tuple[Counter, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)  # more rows of the summary
    # {"peaks_tflops": {name: peak}, "bandwidth_bytes_per_ns": {name: peak}}
    roofs: dict[str, dict[str, float]] = field(default_factory=dict)
    devices: int = 1
    cost_dollars: float | None = None  # of all devices for the run; None where no price is known

    def __post_init__(self) -> None:
        _require("operators", self.operators, (*OPERATOR_COLUMNS, *self.parts_ns))
        _require("components", self.components, COMPONENT_COLUMNS)
        _require("commands", self.commands, COMMAND_COLUMNS)

    def __repr__(self) -> str:
        run = f"{self.machine}, {self.workload}, {self.phase}"
        return f"Result({run}: {self.latency_ns:.6g} ns, {self.energy_pj:.6g} pJ)"

    @property
    def title(self) -> str:
        """One line that says what was run."""
        one = f" (one of {self.devices} devices)" if self.devices > 1 else ""
        run = f"{self.workload} on {self.machine}{one}"
        notes = "".join(self._notes())
        return f"{run}, {self.phase}, batch {self.batch}, context {self.context}{notes}"

    def _notes(self) -> Iterator[str]:
        """What must be said beside the run's name."""
        if self.provenance.get("techniques"):
            yield f", with {self.provenance['techniques']}"
        if self.provenance.get("partial"):
            yield ", PARTIAL: operators of the recorded run are left out"

    @property
    def latency_ns(self) -> float:
        """Time from the first start to the last end."""
        return ps_to_ns(self.latency_ps)

    @property
    def split_ns(self) -> dict[str, float]:
        """What engines say of their compute, by its column: `split_build_ns`, ... Often nothing."""
        names = [name for name in self.operators if name.startswith("split_")]
        return {name: math.fsum(self.operators[name]) for name in names}

    @property
    def energy_pj(self) -> float:
        """Energy of the whole run: the exact sum over its components."""
        return math.fsum(self.energy_by_component_pj.values())

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens over latency; None for a run without tokens or without time."""
        return self.tokens * 1e12 / self.latency_ps if self.tokens and self.latency_ps else None

    @property
    def energy_per_token_pj(self) -> float | None:
        """Energy of all devices over tokens; None for a run without tokens."""
        return self.devices * self.energy_pj / self.tokens if self.tokens else None

    @property
    def tokens_per_joule(self) -> float | None:
        """Tokens over the energy of all devices; None for a run without tokens or energy."""
        return UNITS["energy"]["J"] / self.energy_per_token_pj if self.energy_per_token_pj else None

    @property
    def tokens_per_dollar(self) -> float | None:
        """Tokens over what the run cost; None without tokens, or without a price."""
        return self.tokens / self.cost_dollars if self.tokens and self.cost_dollars else None

    @property
    def dollars_per_million_tokens(self) -> float | None:
        """The reverse, of a million tokens."""
        return 1e6 / self.tokens_per_dollar if self.tokens_per_dollar else None

    @property
    def bound_ratio(self) -> float | None:
        """Latency over its lower bound; None where the bound is 0."""
        return self.latency_ns / self.lower_bound_ns if self.lower_bound_ns > 0 else None

    @cached_property
    def summary(self) -> Table:
        """The figures of the run: rows of metric, value, unit. What is unknown has no row."""
        values = {name: value for name, value in self._figures().items() if value is not None}
        units = [column(name).unit for name in values]
        numbers = np.array(list(values.values()), dtype=np.float64)
        return Table({"metric": list(values), "value": numbers, "unit": units})

    def _figures(self) -> dict[str, float | None]:
        power_mw = self.energy_pj / self.latency_ns if self.latency_ps else None
        sums = {name: float(self.operators[name].sum()) for name in _SUMMED}
        return {
            "latency_ns": self.latency_ns,
            "lower_bound_ns": self.lower_bound_ns,
            "bound_ratio": self.bound_ratio,
            "tokens": self.tokens,
            "tokens_per_s": self.tokens_per_s,
            "energy_pj": self.energy_pj,
            "energy_per_token_pj": self.energy_per_token_pj,
            "tokens_per_joule": self.tokens_per_joule,
            "power_mw": power_mw,
            "cost_dollars": self.cost_dollars,
            "tokens_per_dollar": self.tokens_per_dollar,
            "dollars_per_million_tokens": self.dollars_per_million_tokens,
            **sums,
            **self.metrics,
        }

    @cached_property
    def row(self) -> Table:
        """The run and its figures as a table of one row, to stand below others of its kind.

        A figure that is unknown is an empty cell.
        """
        run = {name: [getattr(self, name)] for name in _RUN}
        figures = {
            name: [math.nan if value is None else value]
            for name, value in self._figures().items()
            if name not in run
        }
        return Table(run | figures)

    def to_json(self) -> dict[str, Any]:
        """The run as plain Python values, ready for `json.dumps(..., allow_nan=False)`."""
        return {
            "latency_ns": self.latency_ns,
            "lower_bound_ns": self.lower_bound_ns,
            "tokens_per_s": self.tokens_per_s,
            "tokens_per_joule": self.tokens_per_joule,
            "tokens_per_dollar": self.tokens_per_dollar,
            "dollars_per_million_tokens": self.dollars_per_million_tokens,
            "energy_pj": self.energy_pj,
            "energy_by_component_pj": dict(self.energy_by_component_pj),
            "operators": self.operators.rows(),
            "components": self.components.rows(),
            "commands": self.commands.rows(),
            "summary": self.summary.rows(),
            "parts_ns": dict(self.parts_ns),
            "provenance": {name: getattr(self, name) for name in _RUN} | self.provenance,
        }

    def verify(self) -> None:
        """Raise SimulationError that names each sum over a table which misses its total."""
        broken = [
            f"{what} is {found!r}, need {expected!r}"
            for what, found, expected in self._sums()
            if not math.isclose(found, expected, rel_tol=_SUM_TOLERANCE, abs_tol=_SUM_TOLERANCE)
        ]
        if self.latency_ns < self.lower_bound_ns * (1 - _SUM_TOLERANCE):
            broken.append(f"latency {self.latency_ns} ns is below its bound {self.lower_bound_ns}")
        if broken:
            raise SimulationError(f"{self.title}: " + "; ".join(broken))

    def _sums(self) -> Iterator[tuple[str, float, float]]:
        yield "sum of operators time_ns", math.fsum(self.operators["time_ns"]), self.latency_ns
        yield "sum of parts_ns", math.fsum(self.parts_ns.values()), self.latency_ns
        for part, total_ns in self.parts_ns.items():
            yield f"sum of operators {part}", math.fsum(self.operators[part]), total_ns
        parts = [self.operators[part] for part in self.parts_ns]
        for row, (time_ns, *row_ns) in enumerate(
            zip(self.operators["time_ns"], *parts, strict=True)
        ):
            yield f"sum of the time parts of operator {row}", math.fsum(row_ns), float(time_ns)
        yield "sum of operators energy_pj", math.fsum(self.operators["energy_pj"]), self.energy_pj
        yield "sum of components energy_pj", math.fsum(self.components["energy_pj"]), self.energy_pj

    @property
    def plot(self) -> Any:
        """Figures: `.plot.roofline()`, `.energy()`, `.timeline()`, `.waterfall()` (plotly)."""
        return report_module("plots").Plots(self)

    def _repr_html_(self) -> str:
        return str(report_module("cards").result_card(self))

    def __rich__(self) -> Any:
        return report_module("console").render(self)


def _require(title: str, table: Table, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise SimulationError(f"the {title} table lacks {', '.join(missing)}")
