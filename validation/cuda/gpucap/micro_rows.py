"""Reading what the microbenchmarks print: `benchmark,variant,x,x_unit,value,unit`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from gpucap.problems import CaptureError
from gpucap.textfile import read_text

HEADER: Final = ["benchmark", "variant", "x", "x_unit", "value", "unit"]
NEEDED: Final = ("device", "launch", "bandwidth", "latency", "vector", "tensor", "clock")
OPTIONAL: Final = ("cublas",)


class MicroRow(NamedTuple):
    benchmark: str
    variant: str
    x: float
    x_unit: str
    value: float
    unit: str


class Micro:
    """All rows of a folder of microbenchmarks."""

    def __init__(self, rows: list[MicroRow], about: str) -> None:
        self._rows = rows
        self.about = about  # device, driver and runtime, as the programs printed them

    def rows(self, benchmark: str, variant: str, unit: str | None = None) -> list[MicroRow]:
        return [
            row
            for row in self._rows
            if (row.benchmark, row.variant) == (benchmark, variant) and unit in (None, row.unit)
        ]

    def value(self, benchmark: str, variant: str) -> float:
        """The only value. Raises CaptureError where there is none."""
        found = self.rows(benchmark, variant)
        if not found:
            raise CaptureError(f"no row {benchmark},{variant}: were all microbenchmarks run?")
        return found[0].value

    def middle(self, benchmark: str, variant: str) -> float | None:
        values = [row.value for row in self.rows(benchmark, variant)]
        return median(values) if values else None


def read_micro(folder: Path) -> Micro:
    """Every CSV of `make run`. Raises CaptureError for missing files and, with `file:line`, for
    rows that are none."""
    missing = [name for name in NEEDED if not (folder / f"{name}.csv").is_file()]
    if missing:
        names = ", ".join(f"{name}.csv" for name in missing)
        raise CaptureError(
            f"{folder}: no {names}: make -C validation/cuda/microbench run OUT={folder}"
        )
    present = [name for name in OPTIONAL if (folder / f"{name}.csv").is_file()]
    rows: list[MicroRow] = []
    for name in (*NEEDED, *present):
        rows += _rows(folder / f"{name}.csv")
    return Micro(rows, _about(folder / "device.csv"))


def _about(path: Path) -> str:
    first = read_text(path).split("\n", 1)[0]
    return first.removeprefix("# ") if first.startswith("# ") else "unknown device"


def _rows(path: Path) -> Iterator[MicroRow]:
    lines = [(n, line) for n, line in enumerate(read_text(path).splitlines(), 1) if line[:1] != "#"]
    if not lines or lines[0][1].split(",") != HEADER:
        raise CaptureError(f"{path}:1: not a microbenchmark: columns must be {','.join(HEADER)}")
    for number, cells in zip(
        (n for n, _ in lines[1:]), csv.reader([x for _, x in lines[1:]]), strict=True
    ):
        yield _row(cells, f"{path}:{number}")


def _row(cells: list[str], where: str) -> MicroRow:
    if len(cells) != len(HEADER):
        raise CaptureError(f"{where}: {len(cells)} cells, not {len(HEADER)}: cut off?")
    benchmark, variant, x, x_unit, value, unit = cells
    try:
        return MicroRow(benchmark, variant, float(x), x_unit, float(value), unit)
    except ValueError as error:
        raise CaptureError(f"{where}: x and value must be numbers, got {x!r}, {value!r}") from error
