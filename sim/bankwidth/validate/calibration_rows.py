"""Measured rows for a calibration: read from tables, split in two halves by shape, sampled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators import Operator, TableRow, read_table
from bankwidth.operators.codec import encode
from bankwidth.validate.comparison import check_measured
from bankwidth.validate.gpu_captures import library_of
from bankwidth.validate.gpu_families import family_of

LEAST_ROWS: Final = 20
_NS_IN_S: Final = 1e9
_NO_SHAPE: Final = ("name", "layer", "deps")  # of an operator: where it stands, not what it does
_HALF: Final = 1 << 63  # of the numbers that eight bytes of a hash give

Floats = NDArray[np.float64]
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRows:
    """Rows of all tables; `shape_of` a row is its place in `operators`, one for each shape.

    A shape measured with two libraries is there twice; both belong to the same half.
    """

    operators: tuple[Operator, ...]
    libraries: tuple[str, ...]  # that ran each of them
    shape_of: Numbers
    measured_ns: Floats
    families: NDArray[np.str_]
    where: tuple[str, ...]  # file and line
    is_fit: NDArray[np.bool_]  # the half that parameters may be fitted to

    def __len__(self) -> int:
        return len(self.shape_of)


def read_measured(
    paths: Sequence[Path], *, seed: int = 0, device: str | None = None
) -> MeasuredRows:
    """The rows of some tables (of one device), split by the seed.

    Raises TraceError for rows that are wrong, not measured, of several devices, or too few.
    """
    rows = [(path, row) for path in paths for row in _of_table(path)]
    rows = [(path, row) for path, row in rows if device in (None, _device(row))]
    _check_devices(rows, paths, device)
    if len(rows) < LEAST_ROWS:
        names = ", ".join(map(str, paths))
        raise TraceError(f"{names}: {len(rows)} rows, a calibration needs at least {LEAST_ROWS}")
    measured = _numbered(rows, seed)
    _check_halves(measured, paths)
    return measured


def _of_table(path: Path) -> list[TableRow]:
    rows = read_table(path)
    check_measured(rows, path)
    return rows


def _device(row: TableRow) -> str:
    return row.row.get("device", "").strip()


def _check_devices(
    rows: Iterable[tuple[Path, TableRow]], paths: Sequence[Path], device: str | None
) -> None:
    """One machine is calibrated on one device."""
    files = ", ".join(map(str, paths))
    if device is None:
        found = sorted({_device(row) for _, row in rows})
        if len(found) > 1:
            names = ", ".join(map(repr, found))
            raise TraceError(
                f"{files}: rows of {len(found)} devices ({names}): choose with --device"
            )
    elif not rows:
        known = sorted({_device(row) for path in paths for row in _of_table(path)})
        names, hint = ", ".join(map(repr, known)), did_you_mean(device, known)
        raise TraceError(f"{files}: no rows of device {device!r}{hint} (known: {names})")


def _numbered(rows: Sequence[tuple[Path, TableRow]], seed: int) -> MeasuredRows:
    keys = {op: shape_key(op) for op in dict.fromkeys(row.operator for _, row in rows)}
    halves = {key: in_fit_half(key, seed) for key in keys.values()}
    families = {op: family_of(op) for op in keys}
    ran = [(library_of(row.row, path), keys[row.operator]) for path, row in rows]
    operators: dict[tuple[str, str], Operator] = {}
    for shape, (_, row) in zip(ran, rows, strict=True):
        operators.setdefault(shape, row.operator)
    place = {shape: index for index, shape in enumerate(operators)}
    return MeasuredRows(
        operators=tuple(operators.values()),
        libraries=tuple(library for library, _ in operators),
        shape_of=np.array([place[shape] for shape in ran], dtype=np.intp),
        measured_ns=np.array([(row.latency_s or 0.0) * _NS_IN_S for _, row in rows]),
        families=np.array([families[row.operator] for _, row in rows]),
        where=tuple(f"{path}:{row.line}" for path, row in rows),
        is_fit=np.array([halves[keys[row.operator]] for _, row in rows]),
    )


def shape_key(op: Operator) -> str:
    """What an operator does, whatever its name: equal for equal shapes."""
    return f"{op.kind} {json.dumps(encode(op, _NO_SHAPE), sort_keys=True)}"


def in_fit_half(key: str, seed: int) -> bool:
    """Whether a shape belongs to the half to fit. It depends on nothing but shape and seed."""
    digest = hashlib.sha256(f"{seed} {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < _HALF


def _check_halves(rows: MeasuredRows, paths: Sequence[Path]) -> None:
    if rows.is_fit.all() or not rows.is_fit.any():
        names = ", ".join(map(str, paths))
        shapes = len(rows.operators)
        raise TraceError(
            f"{names}: {len(rows)} rows of only {shapes} shapes: none is left for one of the halves"
        )


def sample(rows: MeasuredRows, count: int, seed: int) -> Numbers:
    """At most `count` rows of the half to fit, in rising order.

    Every family of every library gets an equal share, as far as it has rows; within one the rows
    are taken evenly from the smallest to the largest amount of work.
    """
    rng = np.random.default_rng(seed)
    work = [_work(op) for op in rows.operators]
    libraries = np.array(rows.libraries)[rows.shape_of]
    kinds = zip(rows.families.tolist(), libraries.tolist(), strict=True)
    kind_of = np.array([" ".join(kind) for kind in kinds])
    groups = [
        np.flatnonzero(rows.is_fit & (kind_of == kind))
        for kind in sorted(set(kind_of[rows.is_fit].tolist()))
    ]
    chosen = []
    for group, share in _shares(groups, count):
        order = sorted(group.tolist(), key=lambda row: (work[rows.shape_of[row]], rows.where[row]))
        steps = (np.arange(share) + rng.random()) * len(order) / share
        chosen += [order[int(step)] for step in steps]
    return np.sort(np.array(chosen, dtype=np.intp))


def _work(op: Operator) -> tuple[int, int, str]:
    return op.flops, op.read_bytes + op.write_bytes, shape_key(op)


def _shares(groups: Sequence[Numbers], count: int) -> Iterator[tuple[Numbers, int]]:
    """Groups with how many of each to take; the smallest first, they leave the rest to others."""
    left = count
    for done, group in enumerate(sorted(groups, key=len)):
        share = min(len(group), max(1, left // (len(groups) - done)))
        left -= share
        yield group, share
