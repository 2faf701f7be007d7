"""The addresses that MQSim's request generator makes, so that its random runs can be had again.

MQSim draws from MRG32k3a (L'Ecuyer, "Good parameters and implementations for combined multiple
recursive random number generators", Operations Research 47(1), 1999), moved ahead by a number of
steps that comes from the seed. It multiplies the matrices of that move in signed 64-bit integers,
which overflow: where its stream starts is therefore not where the arithmetic of the paper says, and
the overflow is done here as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SECTOR_BYTES: Final = 512
# Settings of the reference runs that their table does not hold. Seed, working set and spare share
# are MQSim's own (workload.xml, ssdconfig.xml); blocks and pages are those with which runs at
# random addresses come out as in the table, to the nanosecond: no other pair does.
SEED: Final = 798
WORKING_SET: Final = 0.5
OVER_PROVISIONING: Final = 0.07
BLOCKS_PER_PLANE: Final = 256
PAGES_PER_BLOCK: Final = 256

# MRG32k3a: two recurrences over their last three values, oldest first.
State = tuple[int, ...]
Matrix = tuple[State, ...]
MODULI: Final = (4294967087, 4294944443)
LAST_ROWS: Final = ((-810728, 1403580, 0), (-1370589, 0, 527612))
NORM: Final = 2.328306549295728e-10
STREAMS: Final = 200  # seeds that share a number of steps, and differ in how often it is doubled


class Recurrence(NamedTuple):
    """One half of the generator: x[n] of its last three values."""

    modulus: int
    row: State

    def next(self, state: State) -> int:
        """The value after those three."""
        return sum(a * x for a, x in zip(self.row, state, strict=True)) % self.modulus

    def moved(self, seed: int) -> State:
        """Three ones, moved ahead (seed / 200 + 1) * 2^(seed % 200) steps as MQSim does it."""
        matrix: Matrix = (0, 1, 0), (0, 0, 1), tuple(a % self.modulus for a in self.row)
        for _ in range(seed % STREAMS):
            matrix = _product(matrix, matrix, self.modulus)
        state: State = (1, 1, 1)
        steps = seed // STREAMS + 1
        while steps:
            if steps & 1:
                state = _moved(matrix, state, self.modulus)
            matrix = _product(matrix, matrix, self.modulus)
            steps >>= 1
        return state


def uniform(seed: int) -> Iterator[float]:
    """Numbers in (0, 1] of MQSim's generator."""
    first, second = (Recurrence(m, row) for m, row in zip(MODULI, LAST_ROWS, strict=True))
    one, two = first.moved(seed), second.moved(seed)
    while True:
        one = (*one[1:], first.next(one))
        two = (*two[1:], second.next(two))
        difference = one[2] - two[2]
        yield (float(difference + MODULI[0] * (difference < 0)) + 1) * NORM


def last_sector(planes: int, page_bytes: int) -> int:
    """The last sector that requests may touch, of a drive with so many planes over all."""
    pages = BLOCKS_PER_PLANE * PAGES_PER_BLOCK
    of_plane = int(pages * (page_bytes // SECTOR_BYTES) * (1.0 - OVER_PROVISIONING))
    return int((planes * of_plane - 1) * WORKING_SET)


def random_offsets(count: int, size_bytes: int, page_bytes: int, planes: int) -> NDArray[np.int64]:
    """Byte offsets of `count` requests at random pages (RANDOM_UNIFORM)."""
    last, sectors = last_sector(planes, page_bytes), size_bytes // SECTOR_BYTES
    draws = uniform(SEED + 1)  # the seed itself is that of the requests' types
    starts = (int(float(last + 1) * next(draws)) for _ in range(count))
    inside = (start if start + sectors <= last else 0 for start in starts)
    return _aligned(list(inside), page_bytes)


def streaming_offsets(
    count: int, size_bytes: int, page_bytes: int, planes: int
) -> NDArray[np.int64]:
    """Byte offsets of `count` requests one after the other (STREAMING), back to 0 at the end."""
    last, sectors = last_sector(planes, page_bytes), size_bytes // SECTOR_BYTES
    start = int(float(last + 1) * next(uniform(SEED + 1)))
    start -= start % (page_bytes // SECTOR_BYTES)
    starts = []
    for _ in range(count):
        starts.append(start if start + sectors <= last else 0)
        start = start + sectors if start + sectors <= last else 0
    return _aligned(starts, page_bytes)


def _aligned(sectors: list[int], page_bytes: int) -> NDArray[np.int64]:
    offsets = np.array(sectors, np.int64) * SECTOR_BYTES
    return offsets - offsets % page_bytes


def _product(one: Matrix, two: Matrix, modulus: int) -> Matrix:
    columns = tuple(zip(*two, strict=True))
    return tuple(tuple(_dot(row, column, modulus) for column in columns) for row in one)


def _moved(matrix: Matrix, state: State, modulus: int) -> State:
    return tuple(_dot(row, state, modulus) for row in matrix)


def _dot(row: State, column: State, modulus: int) -> int:
    """Sum of products in 64-bit integers that overflow, and a remainder with the sum's sign."""
    total = 0
    for a, b in zip(row, column, strict=True):
        total = _remainder(_wrapped(_wrapped(a * b) + total), modulus)
    return total


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _remainder(value: int, modulus: int) -> int:
    return abs(value) % modulus * (-1 if value < 0 else 1)
