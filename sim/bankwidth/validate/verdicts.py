"""What a validation suite found: one case per figure, and how many of them hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        }


def _counted(figure: Figure) -> Figure:
    """Of counts by name, those that are not 0: a name may be left out."""
    if isinstance(figure, Mapping):
        return {name: count for name, count in figure.items() if count}
    return figure


def _plain(figure: Figure) -> Any:
    return dict(figure) if isinstance(figure, Mapping) else figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All cases of one suite."""

    suite: str
    source: str  # file of the reference figures
    cases: Sequence[Case]

    @property
    def num_ok(self) -> int:
        """How many cases hold."""
        return sum(case.ok for case in self.cases)

    @property
    def ok(self) -> bool:
        """Whether all cases hold."""
        return self.num_ok == len(self.cases)

    def to_json(self) -> dict[str, Any]:
        """`{"suite", "n", "ok", "source", "cases": [...]}`; `n` and `ok` count cases."""
        return {
            "suite": self.suite,
            "n": len(self.cases),
            "ok": self.num_ok,
            "source": self.source,
            "cases": [case.to_json() for case in self.cases],
        }


def verdicts_to_json(verdicts: Sequence[Verdict]) -> dict[str, Any] | list[dict[str, Any]]:
    """One suite as an object, several as a list of them."""
    data = [verdict.to_json() for verdict in verdicts]
    return data[0] if len(data) == 1 else data
