"""What a validation suite found: one case per figure, and how many of them hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Figure = int | float | str | Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A figure of a reference beside ours; exact where `tolerance_pct` is 0."""

    id: str  # what was run
    quantity: str
    reference: Figure
    ours: Figure
    tolerance_pct: float = 0.0
    source: str = ""  # of the reference figure
    note: str = ""  # what was assumed, or the reason found where we differ

    @property
    def error_pct(self) -> float | None:
        """Ours against the reference; 0 where they are equal, None where no number says it."""
        ours, reference = _counted(self.ours), _counted(self.reference)
        if ours == reference:
            return 0.0
        if not isinstance(ours, int | float) or not isinstance(reference, int | float):
            return None
        return 100.0 * (ours - reference) / abs(reference) if reference else None

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error_pct is not None and abs(self.error_pct) <= self.tolerance_pct

    def to_json(self) -> dict[str, Any]:
        """Its fields, the error and whether it holds."""
        return {
            "id": self.id,
            "quantity": self.quantity,
            "reference": _plain(self.reference),
            "ours": _plain(self.ours),
            "error_pct": self.error_pct,
            "tolerance_pct": self.tolerance_pct,
            "ok": self.ok,
            **{key: said for key in ("source", "note") if (said := getattr(self, key))},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Ours beside a published range, in which it should lie."""

    id: str
    quantity: str
    low: float
    high: float
    ours: float
    source: str = ""
    note: str = ""
    tolerance_pct: float = 0.0

    @property
    def reference(self) -> str:
        """The range in words."""
        return f"{self.low:g} to {self.high:g}"

    @property
    def error_pct(self) -> float:
        """How far ours lies outside, of the nearer end; 0 inside."""
        nearest = min(max(self.ours, self.low), self.high)
        return 100.0 * (self.ours - nearest) / abs(nearest) if self.ours != nearest else 0.0

    @property
    def ok(self) -> bool:
        """Whether ours lies in the range."""
        return self.low <= self.ours <= self.high

    def to_json(self) -> dict[str, Any]:
        """As of a `Case`, the range in words."""
        said = {key: text for key in ("source", "note") if (text := getattr(self, key))}
        keys = ("id", "quantity", "reference", "ours", "error_pct", "tolerance_pct", "ok")
        return {key: getattr(self, key) for key in keys} | said


def _counted(figure: Figure) -> Figure:
    """Of counts by name, those that are not 0: a name may be left out."""
    if isinstance(figure, Mapping):
        return {name: count for name, count in figure.items() if count}
    return figure


def _plain(figure: Figure) -> Any:
    return dict(figure) if isinstance(figure, Mapping) else figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """Our error against many measured times, and how large it may be; no bar, no verdict."""

    id: str
    family: str
    device: str
    library: str
    figures: Mapping[str, float]  # those of `error_figures`
    by_size: Mapping[str, Mapping[str, float]]  # the same by size class
    unseen: Mapping[str, float] | None = None  # the same of what no parameter was fitted to
    bar_pct: float | None = None  # of the mean absolute error
    bar_source: str = ""

    @property
    def ok(self) -> bool:
        """Whether the mean absolute error is within the bar."""
        return self.bar_pct is None or self.figures["mape_pct"] <= self.bar_pct

    def to_json(self) -> dict[str, Any]:
        """As of a `Case`: the bar is both reference and tolerance, the error is ours."""
        mape_pct = self.figures["mape_pct"]
        return {
            "id": self.id,
            "quantity": "mape_pct",
            "reference": self.bar_pct,
            "ours": mape_pct,
            "error_pct": mape_pct,
            "tolerance_pct": self.bar_pct,
            "ok": self.ok,
            "family": self.family,
            "device": self.device,
            "library": self.library,
            **self.figures,
            "unseen": dict(self.unseen) if self.unseen else None,
            "by_size": {name: dict(figures) for name, figures in self.by_size.items()},
            "bar_source": self.bar_source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All cases of one suite."""

    suite: str
    source: str  # file of the reference figures
    cases: Sequence[Case | Band | ErrorCase]
    details: Mapping[str, Any] = field(default_factory=dict)  # more to tell, as plain values
    points: Mapping[str, Any] = field(default_factory=dict)  # by case, what figures draw
    num_explained: int = 0  # cases that do not hold, of figures that others published, with why

    @property
    def num_ok(self) -> int:
        """How many cases hold."""
        return sum(case.ok for case in self.cases)

    @property
    def ok(self) -> bool:
        """Whether all cases hold but those that are explained."""
        return self.num_ok + self.num_explained == len(self.cases)

    def to_json(self) -> dict[str, Any]:
        """`{"suite", "n", "ok", "source", "cases": [...]}`; `n` and `ok` count cases.

        A suite's details follow. The points are not in it.
        """
        return {
            "suite": self.suite,
            "n": len(self.cases),
            "ok": self.num_ok,
            **({"explained": self.num_explained} if self.num_explained else {}),
            "source": self.source,
            "cases": [case.to_json() for case in self.cases],
            **self.details,
        }


def verdicts_to_json(verdicts: Sequence[Verdict]) -> dict[str, Any] | list[dict[str, Any]]:
    """One suite as an object, several as a list of them."""
    data = [verdict.to_json() for verdict in verdicts]
    return data[0] if len(data) == 1 else data
