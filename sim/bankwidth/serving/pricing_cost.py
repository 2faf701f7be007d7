"""What an iteration, or a part of one, takes: a vector that can be added and mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bankwidth.results import Result

LAUNCH: Final = "launch"


@dataclass(frozen=True, slots=True)
class Cost:
    """Time and energy of one device, time by what limits it, and time that was interpolated."""

    latency_ps: float
    energy_pj: float
    bound_ps: Mapping[str, float] = field(default_factory=dict)
    interpolated_ps: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.latency_ps + other.latency_ps,
            self.energy_pj + other.energy_pj,
            _sum(self.bound_ps, 1.0, other.bound_ps, 1.0),
            self.interpolated_ps + other.interpolated_ps,
        )

    def times(self, count: float) -> Cost:
        """So many of it."""
        return Cost(
            self.latency_ps * count,
            self.energy_pj * count,
            {name: part * count for name, part in self.bound_ps.items()},
            self.interpolated_ps * count,
        )


NOTHING: Final = Cost(0.0, 0.0)


def mixed(first: Cost, second: Cost, share: float) -> Cost:
    """On the straight line from `first` (share 0) to `second` (share 1)."""
    if share <= 0.0:
        return first
    if share >= 1.0:
        return second
    rest = 1.0 - share
    latency_ps = rest * first.latency_ps + share * second.latency_ps
    return Cost(
        latency_ps,
        rest * first.energy_pj + share * second.energy_pj,
        _sum(first.bound_ps, rest, second.bound_ps, share),
        latency_ps,
    )


def _sum(
    one: Mapping[str, float], times: float, other: Mapping[str, float], others: float
) -> dict[str, float]:
    total = {name: times * part for name, part in one.items()}
    for name, part in other.items():
        total[name] = total.get(name, 0.0) + others * part
    return total


def cost_of(result: Result, weights: Sequence[float]) -> Cost:
    """The sum over a result's operators, the i-th one counted `weights[i]` times."""
    table = result.operators
    latency_ps = energy_pj = 0.0
    bound_ps: dict[str, float] = {}
    rows = zip(table["time_ns"], table["energy_pj"], table["bound"], weights, strict=True)
    for time_ns, spent_pj, bound, weight in rows:
        time_ps = 1000.0 * float(time_ns) * weight
        latency_ps += time_ps
        energy_pj += float(spent_pj) * weight
        name = _resource(str(bound))
        bound_ps[name] = bound_ps.get(name, 0.0) + time_ps
    return Cost(latency_ps, energy_pj, bound_ps)


def _resource(bound: str) -> str:
    """Engines' launches are one resource; `gpu compute`, `hbm bandwidth` are their own."""
    return LAUNCH if bound.endswith(" launch") else bound
