"""GPUs against measured kernels: the error of each family, machine and library."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import SpecError
from bankwidth.kernel_cache import prepare
from bankwidth.operators.textfile import read_text
from bankwidth.spec.files import ROOT
from bankwidth.system.run import Progress
from bankwidth.validate.comparison import error_figures
from bankwidth.validate.gpu_captures import DEFAULT_LIBRARY, machine_of
from bankwidth.validate.gpu_families import CALIBRATED, FAMILIES, SIZE_CLASSES, bar_of
from bankwidth.validate.gpu_layers import LAYER_COLUMNS, DecodeLayers, evaluate_layers, step_of
from bankwidth.validate.gpu_tables import (
    Evaluated,
    Key,
    Part,
    Point,
    Reader,
    Skipped,
    merged,
)
from bankwidth.validate.verdicts import ErrorCase, Verdict

# The project's own captures, and tables of others where they are at hand.
CAPTURES: Final = ROOT / "traces" / "gpu"
MEASURED: Final = ROOT.parent / "shared" / "measured"
WORST: Final = 20
Times = NDArray[np.float64]


def run_gpu(
    reference: Path | Sequence[Path] | None = None,
    progress: Progress | None = None,
    *,
    arch: str | None = None,
    measured: Path | None = None,
    worst: int = WORST,
) -> Verdict:
    """Runs every row of measured tables, by default of all that are at hand.

    `arch` is the machine for all rows, else each row's device says it; `measured` a folder of
    tables instead of the usual one. What cannot be run in a folder's tables is left out and said;
    in a file of `reference` it is an error. `progress` counts rows.

    Raises TraceError with `file:line` for a wrong table, SpecError for a machine or folder that
    is not there.
    """
    references = [reference] if isinstance(reference, Path) else list(reference or ())
    tables = references or own_tables(measured)
    if arch is not None:
        machine_of(arch, DEFAULT_LIBRARY)  # a wrong name is said before any row is read
    prepare()
    suite = _Suite(Reader(arch, is_strict=bool(references)), progress)
    for table in _counted(tables, suite):
        suite.take(table)
    return suite.verdict(_source(references, tables), worst)


def own_tables(measured: Path | None = None) -> list[Path]:
    """Tables of the project's captures, then of the folder of measured tables."""
    folder = measured or MEASURED
    if measured is not None and not folder.is_dir():
        raise SpecError(f"{measured}: no such folder of measured tables")
    found = [path for root in (CAPTURES, folder) for path in _tables_below(root)]
    if measured is not None and not found:
        raise SpecError(f"{measured}: holds no measured tables (.csv, .csv.gz)")
    return found


def _tables_below(folder: Path) -> list[Path]:
    """All but the files in which a capture notes what it could not measure."""
    found = [*folder.rglob("*.csv"), *folder.rglob("*.csv.gz")]
    return sorted(path for path in found if ".errors." not in path.name)


def _source(references: Sequence[Path], tables: Sequence[Path]) -> str:
    if references:
        return ", ".join(str(path) for path in references)
    return f"{len(tables)} measured tables" if tables else "no measured table: none is at hand"


def _counted(tables: Sequence[Path], suite: _Suite) -> Iterator[Path]:
    """The tables one by one, the lines of all of them being known."""
    lines = [read_text(path, name_line=True).count("\n") for path in tables]
    for table, done in zip(tables, np.cumsum([0, *lines]).tolist(), strict=False):
        suite.at(done, sum(lines))
        yield table


class _Suite:
    """Takes table after table, then judges."""

    def __init__(self, reader: Reader, progress: Progress | None) -> None:
        self._reader = reader
        self._progress = progress
        self._done = self._total = 0
        self._parts: list[Part] = []
        self._skipped: list[Skipped] = []
        self._layers = DecodeLayers()

    def at(self, done: int, total: int) -> None:
        """Where the next table begins."""
        self._done, self._total = done, total

    def take(self, path: Path) -> None:
        """Runs one table."""
        found = self._evaluate(path)
        self._parts += [*found.parts, *step_of(found.rows, path)]
        self._skipped += found.skipped
        self._layers.take(found.rows, path)

    def _evaluate(self, path: Path) -> Evaluated:
        layer_rows = _layer_rows(path)
        if layer_rows:
            return evaluate_layers(layer_rows, path, self._reader.arch)
        return self._reader.evaluate(path, self._tick())

    def _tick(self) -> Callable[[int], None]:
        def tick(done: int) -> None:
            if self._progress is not None:
                self._progress(self._done + done, self._total)

        return tick

    def verdict(self, source: str, worst: int) -> Verdict:
        """Cases in the order of families, then of machine and library."""
        groups = merged([*self._parts, *self._layers.parts()])
        ordered = sorted(groups.items(), key=lambda group: _order(group[0]))
        points = {case_id(key): _points(parts) for key, parts in ordered}
        return Verdict(
            suite="gpu",
            source=source,
            cases=[_case(key, parts) for key, parts in ordered],
            details={
                "worst": _worst(points, worst),
                "skipped": [skipped._asdict() for skipped in self._skipped],
            },
            points=points,
        )


def _layer_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of a table of whole layers; none of a table of any other kind."""
    lines = read_text(path, name_line=True).splitlines()
    if not LAYER_COLUMNS <= set(",".join(lines[:1]).split(",")):
        return []
    reader = csv.DictReader(lines)
    return [(reader.line_num, row) for row in reader]


def case_id(key: Key) -> str:
    """`gemm bf16, h200, trtllm`."""
    return ", ".join(key)


def _order(key: Key) -> tuple[int, Key]:
    known = key.family in FAMILIES
    return FAMILIES.index(key.family) if known else len(FAMILIES), key


def _case(key: Key, parts: Sequence[Part]) -> ErrorCase:
    measured_s = np.concatenate([part.measured_s for part in parts])
    ours_s = np.concatenate([part.ours_s for part in parts])
    bar = bar_of(*key)
    sizes = {
        size.name: error_figures(ours_s[within], measured_s[within])
        for size in SIZE_CLASSES
        if (within := (measured_s >= size.least_s) & (measured_s < size.below_s)).any()
    }
    return ErrorCase(
        id=case_id(key),
        family=key.family,
        device=key.machine,
        library=key.library,
        figures=error_figures(ours_s, measured_s),
        unseen=_unseen(key, parts, ours_s, measured_s),
        by_size=sizes,
        bar_pct=bar.mape_pct if bar else None,
        bar_source=bar.source if bar else "",
    )


def _unseen(
    key: Key, parts: Sequence[Part], ours_s: Times, measured_s: Times
) -> dict[str, float] | None:
    """Errors of the shapes that a calibration leaves out; None where nothing was calibrated."""
    is_unseen = np.concatenate([part.is_unseen for part in parts])
    if key.machine not in CALIBRATED or not is_unseen.any():
        return None
    return error_figures(ours_s[is_unseen], measured_s[is_unseen])


def _points(parts: Sequence[Part]) -> list[Point]:
    return [point for part in parts for point in part.points]


def _worst(points: dict[str, list[Point]], worst: int) -> list[dict[str, Any]]:
    """The rows that are furthest off, each with its group."""
    every = [(point, group) for group, found in points.items() for point in found]
    every.sort(key=lambda item: -abs(item[0].error_pct))
    return [
        {"group": group, **point._asdict(), "error_pct": point.error_pct}
        for point, group in every[:worst]
    ]
