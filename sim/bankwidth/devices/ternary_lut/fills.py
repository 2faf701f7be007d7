"""What of a product's weights comes into the weight buffer together, and the bytes moved."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """Regions of rows x columns entries; an entry is the indices of one row of groups."""

    regions: int
    rows: int
    columns: int
    beat_bytes: int
    entries_per_beat: int  # along the columns
    double: bool  # one half is filled while the other is read

    @property
    def usable(self) -> int:
        """Regions that one fill has."""
        return self.regions // 2 if self.double else self.regions

    @property
    def region_bytes(self) -> int:
        """Moved to fill a region; the last beat of a row may be partly empty."""
        return self.rows * -(-self.columns // self.entries_per_beat) * self.beat_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """A part of a product: all of its weights are in the buffer at once."""

    first_row: int
    rows: int  # of groups
    columns: int
    load_bytes: int
    is_last: bool  # of those that make the same outputs

    @property
    def is_first(self) -> bool:
        """The others add to what is there."""
        return self.first_row == 0


def fills(buffer: Buffer, rows: int, columns: int, accumulators: int) -> list[Fill]:
    """The parts of a product with `rows` rows of groups and `columns` outputs.

    Rows that do not fit are cut as well; then partial sums leave the core and come back.
    """
    deep = min(rows, buffer.usable * buffer.rows)
    across = buffer.usable // -(-deep // buffer.rows)  # regions side by side
    wide = min(across * buffer.columns, accumulators)
    return [
        Fill(
            first_row=row,
            rows=min(deep, rows - row),
            columns=min(wide, columns - column),
            load_bytes=_load_bytes(buffer, min(deep, rows - row), min(wide, columns - column)),
            is_last=row + deep >= rows,
        )
        for column, row in product(range(0, columns, wide), range(0, rows, deep))
    ]


def _load_bytes(buffer: Buffer, rows: int, columns: int) -> int:
    """Whole regions."""
    return -(-rows // buffer.rows) * -(-columns // buffer.columns) * buffer.region_bytes
