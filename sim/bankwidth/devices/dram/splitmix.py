"""The splitmix64 generator by place: any piece of its sequence at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MASK_64: Final = (1 << 64) - 1


def splitmix64(seed: int, i: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Numbers of the splitmix64 generator by their place in its sequence, from 0."""
    step = (i.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = step + np.uint64(seed & MASK_64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
