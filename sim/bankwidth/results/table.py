"""Tidy tables: columns of equal length whose names carry their units.

The registry says what each column means. Drawing is the report room's, which sits above and is
looked up by name only when a rendering is asked for.
"""

from __future__ import annotations

import csv
import html
import importlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bankwidth.errors import OutputError, SimulationError, UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


class Column(NamedTuple):
    """Unit ("" for text and indices, "1" for a ratio) and meaning of a column."""

    unit: str
    meaning: str


# fmt: off
COLUMNS: Final[dict[str, Column]] = {
    "index":               Column("",     "number of the operator in the run"),
    "name":                Column("",     "name, the same in every layer"),
    "kind":                Column("",     "kind of operator or component"),
    "layer":               Column("",     "layer of the model, -1 outside the layers"),
    "engine":              Column("",     "engine that runs the operator"),
    "component":           Column("",     "engine, memory or link"),
    "command":             Column("",     "command of a device"),
    "count":               Column("",     "how many"),
    "start_ns":            Column("ns",   "start"),
    "end_ns":              Column("ns",   "end"),
    "duration_ns":         Column("ns",   "end less start; operators may overlap"),
    "time_ns":             Column("ns",   "share of the run's latency; sums to it"),
    "bound":               Column("",     "the resource that sets the lower bound"),
    "lower_bound_ns":      Column("ns",   "bytes over peak or FLOPs over peak, the larger"),
    "bound_ns":            Column("ns",   "time at the bounding resource's peak"),
    "launch_ns":           Column("ns",   "launching kernels or commands"),
    "quantisation_ns":     Column("ns",   "units idle, tiles do not divide evenly"),
    "row_miss_ns":         Column("ns",   "opening and closing memory rows"),
    "refresh_ns":          Column("ns",   "memory held by refresh"),
    "fill_ns":             Column("ns",   "filling and draining, not overlapped"),
    "wait_ns":             Column("ns",   "waiting for operators, links, memories"),
    "split_build_ns":      Column("ns",   "arrays building tables"),
    "split_lookup_ns":     Column("ns",   "arrays adding what is looked up, or products"),
    "split_stream_ns":     Column("ns",   "arrays waiting for weights, or taking them in"),
    "split_reduce_ns":     Column("ns",   "arrays adding up each other's sums"),
    "split_convert_ns":    Column("ns",   "arrays changing between integers and floats"),
    "split_read_ns":       Column("ns",   "results on their way out of the arrays"),
    "split_clear_ns":      Column("ns",   "arrays clearing their sums"),
    "flops":               Column("FLOP", "floating point operations"),
    "read_bytes":          Column("B",    "bytes read from memories"),
    "write_bytes":         Column("B",    "bytes written to memories"),
    "energy_pj":           Column("pJ",   "energy, dynamic and static"),
    "energy_dynamic_pj":   Column("pJ",   "energy of what was done"),
    "energy_static_pj":    Column("pJ",   "static power times time"),
    "busy_ns":             Column("ns",   "time with work"),
    "idle_ns":             Column("ns",   "time without work"),
    "utilisation":         Column("1",    "busy time over the run's latency"),
    "metric":              Column("",     "what is measured"),
    "value":               Column("",     "the number, in the row's unit"),
    "unit":                Column("",     "unit of the row's value"),
    "latency_ns":          Column("ns",   "from first start to last end"),
    "bound_ratio":         Column("1",    "latency over its lower bound"),
    "tokens":              Column("",     "tokens that the run produced or read"),
    "tokens_per_s":        Column("1/s",  "tokens over latency"),
    "energy_per_token_pj": Column("pJ",   "energy over tokens"),
    "power_mw":            Column("mW",   "energy over latency"),
    "tokens_per_joule":    Column("1/J",  "tokens over energy"),
    "tokens_per_dollar":   Column("1/USD", "tokens over what the machine costs for the run"),
    "dollars_per_million_tokens": Column("USD", "what a million tokens cost"),
    "cost_dollars":        Column("USD",  "what the machine costs for the run"),
    "core_area_mm2":       Column("mm2",  "cores that look products up, without buffers"),
    "row_hit_rate":        Column("1",    "memory requests that found their row open"),
    "share":               Column("1",    "part of the run's latency"),
    "bytes":               Column("B",    "bytes read and written"),
    "bandwidth_bytes_per_ns": Column("B/ns", "bytes over duration"),
}
# fmt: on
_FAMILIES: Final = (
    (re.compile(r"bytes_(.+)"), "B", "bytes read from and written to {}"),
    (re.compile(r"energy_(.+)_pj"), "pJ", "energy spent in {}"),
    (re.compile(r"(.+)_per_s"), "1/s", "{} per second"),
    (re.compile(r"(.+)_bytes_per_ns"), "B/ns", "{}"),
    (re.compile(r"(.+)_ns"), "ns", "{}"),
    (re.compile(r"(.+)_pj"), "pJ", "{}"),
    (re.compile(r"(.+)_mw"), "mW", "{}"),
    (re.compile(r"(.+)_bytes"), "B", "{}"),
    (re.compile(r"(.+)_pct"), "%", "{}"),
    (re.compile(r"(.+)_rate"), "1", "{} rate"),
    (re.compile(r"(.+)_tflops"), "TFLOPS", "{}"),
    (re.compile(r"(.+)_s"), "s", "{}"),
)
_SHOWN_ROWS: Final = 20


def column(name: str) -> Column:
    """Unit and meaning of a column: from the registry, or from the form of its name."""
    if name in COLUMNS:
        return COLUMNS[name]
    for form, unit, meaning in _FAMILIES:
        if match := form.fullmatch(name):
            return Column(unit, meaning.format(match.group(1).replace("_", " ")))
    return Column("", name.replace("_", " "))


class Table:
    """Columns of equal length that cannot be changed; `table["time_ns"]` is a numpy array.

    `len` counts rows, iteration gives column names. Absent numbers are NaN, absent texts None.
    """

    __slots__ = ("_columns", "_units")

    def __init__(
        self,
        columns: Mapping[str, ArrayLike | Sequence[Any]],
        units: Mapping[str, str] | None = None,
    ) -> None:
        """Copy the columns. Units come from the registry, save those given here."""
        self._columns = {name: _frozen_column(name, values) for name, values in columns.items()}
        self._units = {name: column(name).unit for name in columns} | dict(units or {})
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise SimulationError(f"columns of different lengths: {lengths}")

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self._columns[name]
        except KeyError:
            hint = did_you_mean(name, self._columns)
            known = ", ".join(self._columns)
            raise KeyError(f"no column {name!r}{hint or ';'} columns: {known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return list(self) == list(other) and self.rows() == other.rows()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self._columns, self._units)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {', '.join(self)})"

    def keys(self) -> tuple[str, ...]:
        """Names of the columns, in order; with `[]` this makes `dict(table)` work."""
        return tuple(self._columns)

    def items(self) -> tuple[tuple[str, NDArray[Any]], ...]:
        """(name, column) pairs."""
        return tuple(self._columns.items())

    def unit(self, name: str) -> str:
        """Unit of a column, "" where it has none."""
        self[name]
        return self._units[name]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Table:
        """The rows of these indices, or where this mask is true."""
        return Table({name: values[rows] for name, values in self.items()}, self._units)

    def rows(self) -> list[dict[str, Any]]:
        """One dict a row, of plain Python values; absent is None."""
        columns = [_plain(values) for values in self._columns.values()]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_pandas(self) -> pd.DataFrame:
        """A pandas frame with the same columns. Raises UserError where pandas is not installed."""
        try:
            import pandas as pd
        except ImportError:
            raise UserError(
                "to_pandas() needs pandas, which is not installed: "
                "pip install 'bankwidth[pandas]' (or pip install pandas)"
            ) from None
        return pd.DataFrame({name: values.copy() for name, values in self.items()})

    def to_csv_text(self) -> str:
        """The table as CSV: a header of column names, absent values empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(zip(*(_plain(values) for _, values in self.items()), strict=True))
        return text.getvalue()

    def to_csv(self, path: str | Path) -> None:
        """Write the table as CSV. Raises OutputError when the file cannot be written."""
        try:
            Path(path).write_text(self.to_csv_text(), encoding="utf-8", newline="\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(self._title(name))}</th>" for name in self)
        rows = self.take(np.arange(min(len(self), _SHOWN_ROWS))).rows()
        body = "".join(_html_row(row.values()) for row in rows)
        note = f"<p>{len(rows)} of {len(self)} rows</p>" if len(rows) < len(self) else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def __rich__(self) -> Any:
        return report_module("console").rich_table(self, _SHOWN_ROWS)

    def _title(self, name: str) -> str:
        return f"{name} [{self._units[name]}]" if self._units[name] else name


def _frozen_column(name: str, values: ArrayLike | Sequence[Any]) -> NDArray[Any]:
    array = np.array(values)
    if array.ndim != 1:
        raise SimulationError(f"column {name} has {array.ndim} dimensions, need 1")
    if array.dtype.kind == "O":
        array = _mixed_column(name, array)
    if array.dtype.kind not in "biufUO":
        raise SimulationError(f"column {name} holds {array.dtype}, need numbers or text")
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise SimulationError(f"column {name} is infinite in row {int(np.argmax(np.isinf(array)))}")
    array.setflags(write=False)
    return array


def _mixed_column(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers with None become floats with NaN; texts with None stay as they are."""
    present = [value for value in array if value is not None]
    if all(isinstance(value, str) for value in present):
        return array
    if all(isinstance(value, int | float | np.number) for value in present):
        return np.array([math.nan if value is None else value for value in array], dtype=np.float64)
    raise SimulationError(f"column {name} mixes {sorted({type(v).__name__ for v in present})}")


def _plain(values: NDArray[Any]) -> list[Any]:
    plain: list[Any] = values.tolist()
    if values.dtype.kind == "f":
        return [None if math.isnan(value) else value for value in plain]
    return plain


def _html_row(values: Any) -> str:
    cells = (f"{v:.6g}" if isinstance(v, float) else "" if v is None else str(v) for v in values)
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def report_module(module: str) -> Any:
    """A module of the report room: above this floor, so bound by name and only when asked for."""
    return importlib.import_module(f"bankwidth.report.{module}")
