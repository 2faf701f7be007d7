"""One measured table: every row beside ours, put together by family, machine and library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import MappingError, SpecError, TraceError
from bankwidth.operators import Operator, TableRow, read_table
from bankwidth.operators.table import NotOperators
from bankwidth.validate.calibration_rows import in_fit_half, shape_key
from bankwidth.validate.comparison import check_measured
from bankwidth.validate.gpu_captures import (
    DECIDING,
    arch_of,
    host_overhead_s,
    library_of,
    machine_of,
    operator_time,
)
from bankwidth.validate.gpu_families import family_of
from bankwidth.validate.ops import PROGRESS_ROWS
from bankwidth.validate.predict import OperatorTime

SHOWN: Final = 300  # points of a table and group that are drawn, evenly spread over their times
SPLIT_SEED: Final = 0  # of the halves of shapes, as the shipped machines were calibrated with
WORST: Final = 25  # of them, the rows that are furthest off
Tick = Callable[[int], None]  # told how many rows of the table are done


class Key(NamedTuple):
    """What errors are added up by."""

    family: str
    machine: str
    library: str


class Point(NamedTuple):
    """A measured row and ours."""

    table: str
    line: int
    operator: str
    shape: str
    measured_s: float
    ours_s: float
    bound: str

    @property
    def error_pct(self) -> float:
        """Ours against measured."""
        return 100.0 * (self.ours_s / self.measured_s - 1.0)


@dataclass(frozen=True, slots=True)
class Part:
    """All rows of one key in one table, and some of them whole."""

    key: Key
    measured_s: NDArray[np.float64]
    ours_s: NDArray[np.float64]
    is_unseen: NDArray[np.bool_]  # not of the half of shapes that calibrations may fit to
    points: Sequence[Point]


class Ran(NamedTuple):
    """A measured row, ours, and what it is counted under."""

    key: Key
    row: TableRow
    time: OperatorTime
    measured_s: float
    ours_s: float  # with what the host added, where that was measured too


class Skipped(NamedTuple):
    """Rows that were left out, and why."""

    table: str
    rows: int
    reason: str


@dataclass(slots=True)
class Evaluated:
    """What became of a table; `rows` are those with ours, for sums over several tables."""

    parts: list[Part] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rows: list[Ran] = field(default_factory=list)


class _NotRun(NamedTuple):
    reason: str


@dataclass(frozen=True, slots=True)
class Reader:
    """How tables are read: on which machine, and how strictly.

    Where strict, all that is unknown is an error, and so is a table of which no row can be run. A
    row that is in order but that the machine has no kernel for is left out and said in any case.
    """

    arch: str | None = None  # None: as the rows' devices say
    is_strict: bool = True

    def evaluate(self, path: Path, tick: Tick) -> Evaluated:
        """Runs every row. Raises TraceError with `file:line` for what is wrong in the table."""
        unknown: dict[str, list[int]] = {}
        try:
            rows = read_table(path, None if self.is_strict else unknown)
        except NotOperators as error:
            if self.is_strict:
                raise
            return Evaluated(skipped=[Skipped(table_name(path), 0, _after_place(error, path))])
        measured_s = check_measured(rows, path) if rows or not unknown else []
        found = _Run(self, path).evaluate(rows, measured_s, tick)
        if self.is_strict and not found.rows:
            raise TraceError(f"{path}:{rows[0].line}: {found.skipped[0].reason}")
        found.skipped += [
            Skipped(table_name(path), len(lines), f"operator {name!r} is not known")
            for name, lines in unknown.items()
        ]
        return found


class _Run:
    """The rows of one table, run one after another; equal shapes are run once."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self._path = path
        self._settings: dict[tuple[str | None, ...], tuple[str, str] | _NotRun] = {}
        self._known: dict[tuple[str, str, Operator], OperatorTime | _NotRun] = {}
        self._left_out: dict[str, list[str]] = {}  # what: the reason, once for each row
        self._ran: list[Ran] = []

    def evaluate(
        self, rows: Sequence[TableRow], measured_s: Sequence[float], tick: Tick
    ) -> Evaluated:
        for done, (row, time_s) in enumerate(zip(rows, measured_s, strict=True)):
            self._take(row, time_s)
            if done % PROGRESS_ROWS == 0:
                tick(done)
        name = table_name(self._path)
        left_out = [Skipped(name, len(why), why[0]) for why in self._left_out.values()]
        return Evaluated(parts=parts_of(self._ran, name), skipped=left_out, rows=self._ran)

    def _take(self, row: TableRow, measured_s: float) -> None:
        setting = self._setting(row)
        if isinstance(setting, _NotRun):
            self._left_out.setdefault(setting.reason, []).append(setting.reason)
            return
        time = self._time(*setting, row)
        if isinstance(time, _NotRun):
            first = f"{time.reason} (first: line {row.line})"
            self._left_out.setdefault(f"{setting} {row.operator.name}", []).append(first)
            return
        arch, library = setting
        key = Key(family_of(row.operator), machine_of(arch, library).name, library)
        ours_s = time.latency_s + host_overhead_s(library, row.operator.name)
        self._ran.append(Ran(key, row, time, measured_s, ours_s))

    def _setting(self, row: TableRow) -> tuple[str, str] | _NotRun:
        """Machine and library of a row."""
        deciding = tuple(row.row.get(name) for name in DECIDING)
        if deciding not in self._settings:
            self._settings[deciding] = self._new_setting(row)
        return self._settings[deciding]

    def _new_setting(self, row: TableRow) -> tuple[str, str] | _NotRun:
        where = f"{self._path}:{row.line}"
        library = library_of(row.row, self._path)
        try:
            arch = self._reader.arch or arch_of(row.row, where)
            machine_of(arch, library)
        except SpecError as error:
            if self._reader.is_strict:
                raise TraceError(f"{where}: {error}") from error
            return _NotRun(_no_machine(row))
        except TraceError:
            if self._reader.is_strict:
                raise
            return _NotRun(_no_machine(row))
        return arch, library

    def _time(self, arch: str, library: str, row: TableRow) -> OperatorTime | _NotRun:
        key = (arch, library, row.operator)
        if key not in self._known:
            self._known[key] = self._new_time(arch, library, row)
        return self._known[key]

    def _new_time(self, arch: str, library: str, row: TableRow) -> OperatorTime | _NotRun:
        try:
            return operator_time(arch, library, row.operator)
        except MappingError as error:
            return _NotRun(str(error))


def parts_of(rows: Sequence[Ran], table: str) -> list[Part]:
    """The rows of a table by key."""
    by_key: dict[Key, list[Ran]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    return [_part(key, found, table) for key, found in by_key.items()]


def _part(key: Key, rows: Sequence[Ran], table: str) -> Part:
    measured_s = np.array([row.measured_s for row in rows])
    ours_s = np.array([row.ours_s for row in rows])
    points = [_point(rows[index], table) for index in chosen(measured_s, ours_s)]
    return Part(key, measured_s, ours_s, _unseen(rows), points)


def _unseen(rows: Sequence[Ran]) -> NDArray[np.bool_]:
    shapes = {row.row.operator for row in rows}
    unseen = {op: not in_fit_half(shape_key(op), SPLIT_SEED) for op in shapes}
    return np.array([unseen[row.row.operator] for row in rows])


def _point(ran: Ran, table: str) -> Point:
    op = ran.row.operator
    return Point(
        table=table,
        line=ran.row.line,
        operator=op.name,
        shape=shape_of(op),
        measured_s=ran.measured_s,
        ours_s=ran.ours_s,
        bound=ran.time.bound,
    )


def chosen(measured_s: NDArray[np.float64], ours_s: NDArray[np.float64]) -> list[int]:
    """Rows to draw: evenly spread in the order of measured time, and the worst of all."""
    order = np.argsort(measured_s, kind="stable")
    spread = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    worst = np.argsort(-np.abs(ours_s / measured_s - 1.0), kind="stable")[:WORST]
    return sorted({*spread.tolist(), *worst.tolist()})


def shape_of(op: Operator) -> str:
    """`m=64 n=4096 k=4096 batch=1 bf16`."""
    sizes = [f"{name}={getattr(op, name)}" for name in op.size_fields]
    return " ".join([*sizes, *_dtypes(op)])


def _dtypes(op: Operator) -> Iterator[str]:
    yield from dict.fromkeys(str(getattr(op, name)) for name in op.dtype_fields[:1])


def table_name(path: Path) -> str:
    """Folder and name of a file, as it is shown."""
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def _after_place(error: Exception, path: Path) -> str:
    """A message less the place that it starts with."""
    return str(error).removeprefix(f"{path}:1: ")


def _no_machine(row: TableRow) -> str:
    device = row.row.get("device")
    return f"no machine describes the device {device!r}" if device else "no column device"


def merged(parts: Sequence[Part]) -> Mapping[Key, list[Part]]:
    """Parts by key, in the order in which keys are first met."""
    by_key: dict[Key, list[Part]] = {}
    for part in parts:
        by_key.setdefault(part.key, []).append(part)
    return by_key
