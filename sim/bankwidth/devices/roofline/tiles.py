"""How many tiles a product becomes on cores that take whole ones.

From Park et al., ASPLOS 2024 (AttAcc), the model of a GPU in its simulator
(scale-snu/attacc_simulator at c600051): of the tiles that a core can hold, the one with the least
traffic between cache and cores, divided by the square of the share of cores that it keeps busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Cores with a buffer each; `tile_sides` are the rows or columns that a tile may have."""

    count: int
    buffer_bytes: int
    tile_sides: tuple[int, ...]
    tile_depth: int
    register_side: int  # of the square tiles that a core's registers hold

    def busy_share(self, blocks: int) -> float:
        """Of the cores, over the rounds that `blocks` equal pieces take; 1 where none idles."""
        rounds = -(-blocks // self.count)
        return blocks / (rounds * self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """What `batch` products become: pieces of work, and elements moved on their way."""

    blocks: int
    cache_elements: int  # between cache and cores
    core_elements: int  # between a core's buffer and its registers


@lru_cache(maxsize=4096)
def tiling_of(cores: Cores, m: int, n: int, k: int, batch: int, element_bytes: float) -> Tiling:
    """The tiles of `batch` products x[m, k] W[k, n]; the smallest sides where no tile fits."""
    sides = [
        (rows, columns)
        for rows in _sides(cores.tile_sides, m)
        for columns in _sides(cores.tile_sides, n)
        if _held_bytes(rows, columns, cores.tile_depth, element_bytes) <= cores.buffer_bytes
    ]
    smallest = (min(cores.tile_sides), min(cores.tile_sides))

    def cost(side: tuple[int, int]) -> float:
        moved = _moved(side, m, n, k)
        return moved / cores.busy_share(_blocks(side, m, n, batch)) ** 2

    side = min(sides, key=cost, default=smallest)
    registers = (cores.register_side, cores.register_side)
    return Tiling(
        blocks=_blocks(side, m, n, batch),
        cache_elements=batch * _moved(side, m, n, k),
        core_elements=batch * _moved(registers, m, n, k),
    )


def _sides(sides: Sequence[int], extent: int) -> list[int]:
    """None is longer than what it cuts."""
    return sorted({min(side, extent) for side in sides})


def _held_bytes(rows: int, columns: int, depth: int, element_bytes: float) -> float:
    return ((rows + columns) * depth + rows * columns) * element_bytes


def _moved(side: tuple[int, int], m: int, n: int, k: int) -> int:
    """Elements in and out: each operand once per tile of the other side."""
    rows, columns = side
    return -(-n // columns) * m * k + -(-m // rows) * n * k + m * n


def _blocks(side: tuple[int, int], m: int, n: int, batch: int) -> int:
    return -(-m // side[0]) * -(-n // side[1]) * batch
