"""The measured time in an operator table: one column, whose name ends in its unit.

`latency_s`, `latency_ms`, `latency_us` or `latency_ns` (or `time_us` and so on). Two such columns
are refused, for nobody can say which one is meant; so is a `latency` without a unit. A column
`unit`, `latency_unit` or `time_unit` may repeat the unit and must then agree in every row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bankwidth.errors import TraceError
from bankwidth.operators.row import Row
from bankwidth.units import UNITS

_COLUMN: Final = re.compile(r"(latency|time)_(s|ms|us|ns)")
_NO_UNIT: Final = ("latency", "time")
_UNIT_COLUMNS: Final = ("unit", "latency_unit", "time_unit")
_NS_IN_S: Final = 1e9
# Words for a unit in a unit column.
_SPELT: Final = {
    **{"sec": "s", "second": "s", "seconds": "s", "millisecond": "ms", "milliseconds": "ms"},
    **{"\u00b5s": "us", "\u03bcs": "us", "microsecond": "us", "microseconds": "us"},
    **{"nanosecond": "ns", "nanoseconds": "ns"},
}


def is_latency(name: str) -> bool:
    """Whether a column holds the measured time."""
    return _COLUMN.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class LatencyColumn:
    """Which column holds the measured time, and in what unit."""

    name: str
    unit: str
    unit_columns: tuple[str, ...]

    def seconds(self, row: Mapping[str, str], where: str) -> float | None:
        """The time of a row, None for an empty cell. Raises TraceError starting with `where`."""
        text = row[self.name]
        if not text:
            return None
        for column in self.unit_columns:
            self._check_unit(row[column], column, where)
        try:
            value = float(text)
        except ValueError:
            value = Row(row, where).number(self.name)
        if not 0.0 < value < float("inf"):
            number = "a finite number above 0"
            raise TraceError(f"{where}: {self.name} must be {number}, got {text}")
        return value if self.unit == "s" else value * UNITS["time"][self.unit] / _NS_IN_S

    def _check_unit(self, found: str, column: str, where: str) -> None:
        word = found.strip().lower()
        if word and _SPELT.get(word, word) != self.unit:
            raise TraceError(
                f"{where}: mixed units: column {column} says {found.strip()!r}, but the time is in "
                f"{self.name}, that is in {self.unit}"
            )


def latency_column(header: Sequence[str], where: str) -> LatencyColumn | None:
    """The column of the measured time, None where there is none.

    Raises TraceError, starting with `where`, for two of them, and for one without a unit.
    """
    found = [name for name in header if is_latency(name)]
    if len(found) > 1:
        raise TraceError(f"{where}: mixed units: {len(found)} columns hold a time "
                         f"({', '.join(found)}): keep one")  # fmt: skip
    if not found:
        _refuse_no_unit(header, where)
        return None
    units = tuple(name for name in _UNIT_COLUMNS if name in header)
    return LatencyColumn(found[0], found[0].rpartition("_")[2], units)


def _refuse_no_unit(header: Sequence[str], where: str) -> None:
    for name in _NO_UNIT:
        if name in header:
            names = ", ".join(f"{name}_{unit}" for unit in ("s", "ms", "us", "ns"))
            raise TraceError(f"{where}: column {name!r} has no unit: name it one of {names}")
