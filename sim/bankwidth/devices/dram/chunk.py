"""Requests in pieces: a long trace needs no more memory than a short one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some requests, in the order in which they are offered."""

    words: NDArray[np.int64]  # byte address << 1 | is_write
    due_ck: NDArray[np.int64] | None = None  # first tick at which each may be offered; None: any

    def part(self, first: int, end: int) -> Chunk:
        """Requests `first` to `end - 1`."""
        due_ck = None if self.due_ck is None else self.due_ck[first:end]
        return Chunk(self.words[first:end], due_ck)


def words_of(address: NDArray[np.int64], is_write: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests as the engine takes them: byte address and direction in one word."""
    return (address.astype(np.int64) << 1) | is_write.astype(np.int64)
