"""A product x W in AttAcc's banks, one row of x after the other: feed-forward co-processing.

From Park et al. (ASPLOS 2024) only that the units take a part of the feed-forward products. Stated
here: W is cut into blocks of one output per unit (16 units of a channel hold different outputs, 4
different parts of k) by as much of k as half a unit's buffer holds. Blocks are dealt out evenly to
the channels, those of one part of k next to each other. While the units multiply, the other half
of the buffers is filled with the next part of x; results leave during the next blocks, and the
buffer die adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bankwidth.devices.pim.attacc_placement import placement_of
from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.mapping.dealing import ceil_div

LEVEL: Final = "bank"  # the only placement of units with a mapping of products
MOST_RESULTS: Final = 16  # of a unit, before they leave: the scores of attention leave so
PLACE: Final = placement_of(LEVEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductShape:
    """m rows of x, n outputs, k inputs; a column has `lanes` elements, a unit `buffer_columns`."""

    m: int
    n: int
    k: int
    lanes: int
    buffer_columns: int

    @property
    def parts(self) -> int:
        """Parts of k, each half a buffer."""
        return ceil_div(self._columns, self.buffer_columns // 2)

    @property
    def columns(self) -> int:
        """Of a block, in each bank."""
        return ceil_div(self._columns, self.parts)

    @property
    def groups(self) -> int:
        """Of outputs, one per unit that has others."""
        return ceil_div(self.n, PLACE.key_ways)

    @property
    def _columns(self) -> int:
        return ceil_div(self.k, PLACE.dim_ways * self.lanes)


def product_programs(
    config: PimConfig, shape: ProductShape, channels: int
) -> tuple[ChannelProgram, ...]:
    """Programs of the channels, equal ones once; channels without a block have none."""
    alike = Counter(_runs(shape, channels, channel) for channel in range(channels))
    return tuple(
        ChannelProgram(macros=_macros(config, shape, runs).build(), channels=count)
        for runs, count in alike.items()
        if runs
    )


def _runs(shape: ProductShape, channels: int, channel: int) -> tuple[int, ...]:
    """Blocks of each part of k that a channel has something of."""
    blocks = shape.parts * shape.groups
    first, last = (blocks * edge // channels for edge in (channel, channel + 1))
    edges = [first, *range((first // shape.groups + 1) * shape.groups, last, shape.groups), last]
    return tuple(end - begin for begin, end in pairwise(edges) if end > begin)


def _macros(config: PimConfig, shape: ProductShape, runs: tuple[int, ...]) -> MacroList:
    made = MacroList(config)
    batches = [batch for _ in range(shape.m) for batch in _batches(runs)]
    _load(made, shape)
    made.barrier()
    for number, (first, blocks, _) in enumerate(batches):
        made.add_stream("MAC", first * shape.columns, blocks * shape.columns)
        if number > 0:
            _results(made)
        if number + 1 < len(batches) and batches[number + 1][2]:
            _load(made, shape)
        made.barrier()
    _results(made)
    return made


def _batches(runs: tuple[int, ...]) -> Iterator[tuple[int, int, bool]]:
    """(first block, blocks whose results leave together, whether they need another part of x)."""
    first = 0
    for blocks in runs:
        for begin in range(0, blocks, MOST_RESULTS):
            count = min(MOST_RESULTS, blocks - begin)
            yield first + begin, count, begin == 0
        first += blocks


def _load(made: MacroList, shape: ProductShape) -> None:
    for bank in PLACE.query_to:
        made.add("WR_GB", shape.columns, bank=bank)


def _results(made: MacroList) -> None:
    for bank in PLACE.scores_from:
        made.add("MV_SB", bank=bank)
