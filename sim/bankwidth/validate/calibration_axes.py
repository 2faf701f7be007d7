"""Where a parameter is between its bounds: 0 at the lower, 1 at the upper one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from bankwidth.spec import FitParameter

_WIDE: Final = 4.0  # bounds of a larger ratio are divided by ratio, not by difference


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of one parameter, in its canonical unit."""

    parameter: FitParameter

    @property
    def is_log(self) -> bool:
        """Whether equal steps are equal ratios."""
        low, high = self.parameter.low, self.parameter.high
        return low > 0 and high >= _WIDE * low

    def value(self, position: float) -> float:
        """The value at a position; whole where the parameter is."""
        low, high = self.parameter.low, self.parameter.high
        if position <= 0 or position >= 1:
            return low if position <= 0 else high  # exactly
        start, end = self._scaled(low), self._scaled(high)
        value = start + (end - start) * position
        value = math.exp(value) if self.is_log else value
        return min(high, max(low, float(round(value) if self.parameter.is_whole else value)))

    def position(self, value: float) -> float:
        """The position of a value."""
        start, end = self._scaled(self.parameter.low), self._scaled(self.parameter.high)
        return (self._scaled(value) - start) / (end - start)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_log else value
