"""Pools of rows: those that are free name one another."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def mark_free(rows: NDArray[np.int64], column: int, first: int, is_free: NDArray[np.bool_]) -> None:
    """Mark every row of the chain of free ones that begins at `first`."""
    while first != -1:
        is_free[first] = True
        first = rows[first, column]
