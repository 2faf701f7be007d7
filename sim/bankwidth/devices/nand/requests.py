"""Requests to a drive: where, how much, which way, and perhaps when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_REQUESTS: Final = 100_000_000  # all of them are held in memory


@dataclass(frozen=True, slots=True)
class Requests:
    """Arrays of equal length, in the order in which the requests are offered."""

    offset_bytes: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    is_write: NDArray[np.bool_]
    arrival_ps: NDArray[np.int64] | None = None  # None: each as soon as the queue has room

    def __len__(self) -> int:
        return len(self.offset_bytes)

    def first(self, number: int) -> Requests:
        """The first of them."""
        arrival_ps = None if self.arrival_ps is None else self.arrival_ps[:number]
        parts = (self.offset_bytes[:number], self.size_bytes[:number], self.is_write[:number])
        return Requests(*parts, arrival_ps)
