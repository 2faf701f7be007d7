"""The figures of a result, each one call: `result.plot.roofline()`."""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.report.energy_bars import energy_bars
from bankwidth.report.roofline import roofline
from bankwidth.report.theme import Figure
from bankwidth.report.timeline_bars import MAX_BARS, timeline_bars
from bankwidth.report.waterfall import waterfall
from bankwidth.results import Result


@dataclass(frozen=True, slots=True)
class Plots:
    """Plotly figures of one result; plotly is imported when the first is made."""

    result: Result

    def roofline(self) -> Figure:
        """Operators under the machine's roofs."""
        return roofline(self.result)

    def waterfall(self) -> Figure:
        """From the lower bound, part by part, to the latency."""
        return waterfall(self.result)

    def energy(self) -> Figure:
        """Energy of each group of operators, by component."""
        return energy_bars(self.result)

    def timeline(self, max_bars: int = MAX_BARS) -> Figure:
        """What each track did when."""
        return timeline_bars(self.result, max_bars)
