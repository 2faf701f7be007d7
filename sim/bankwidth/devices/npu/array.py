"""Clocks of a matrix product on one array of multipliers.

Tiles follow one another without a gap: while one is computed, the operands of the next are taken
in and the results of the one before leave. Only the first tile's fill and the last one's drain are
to be seen, rows + columns - 2 clocks of skew in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """Rows x columns of elements that multiply and add `macs` times a clock, along k."""

    rows: int
    columns: int
    macs: int


def output_stationary_ck(array: Array, m: int, n: int, k: int) -> int:
    """Rows of x lie along the rows, outputs along the columns, k streams by."""
    tiles = _ceil(m, array.rows) * _ceil(n, array.columns)
    skew = min(m, array.rows) + min(n, array.columns) - 2
    return tiles * _ceil(k, array.macs) + skew


def weight_stationary_ck(array: Array, m: int, n: int, k: int) -> int:
    """k lies along the rows, outputs along the columns, rows of x stream by.

    A tile of weights takes a clock per row to load, behind the tile before it; the first one's is
    waited for. So a tile takes at least that long, however few rows of x there are. It is the law
    of ONNXim's pipelined array (SystolicWS.cc at a1e8629) without its buffer's latency.
    """
    tiles = _ceil(n, array.columns) * _ceil(k, array.rows * array.macs)
    skew = array.rows + array.columns - 2
    return array.rows + (tiles - 1) * max(m, array.rows) + m + skew


DATAFLOWS: Final[dict[str, Callable[[Array, int, int, int], int]]] = {
    "output_stationary": output_stationary_ck,
    "weight_stationary": weight_stationary_ck,
}


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
