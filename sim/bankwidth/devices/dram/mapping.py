"""Where the fields of an address lie, for each mapper, in bits above the burst offset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.policies import Mapper

MOP_COLUMN_BITS: Final = 2  # column bits below the banks in MOP4CLXOR
UNMASKED: Final = (1 << 62) - 1
TOP: Final = 62


@dataclass(frozen=True, slots=True)
class Field:
    """Bits [shift, shift + width) of an address, xored with column bits above `xor_shift`."""

    shift: int
    width: int
    xor_shift: int = 0
    is_xored: bool = False
    is_unmasked: bool = False

    @property
    def mask(self) -> int:
        """Of the field's value."""
        return UNMASKED if self.is_unmasked else (1 << self.width) - 1

    @property
    def xor_mask(self) -> int:
        """Of the column bits."""
        return (1 << self.width) - 1 if self.is_xored else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldLayout:
    """Fields of the levels below the channel, the row, and the two parts of the column."""

    levels: tuple[Field, ...]  # outermost first
    row: Field
    column_low: Field
    column_high: Field

    @property
    def stride_bits(self) -> int:
        """Bits below which an address may not change for all else than the row to stay the same.

        Column bits that are xored into the row add to those below the row.
        """
        column = self.column_low.width + self.column_high.width
        xored = max(0, min(self.row.width, column - self.row.xor_shift))
        return self.row.shift + (xored if self.row.is_xored else 0)

    @property
    def top_bits(self) -> int:
        """First bit above the row that is part of another field; far up if there is none."""
        above = [field for field in self.levels if field.shift > self.row.shift and field.width]
        return self.row.shift + self.row.width if above else TOP


def _bits(count: int) -> int:
    return count.bit_length() - 1


def _stacked(widths: Sequence[int], start: int) -> list[Field]:
    fields = []
    for width in widths:
        fields.append(Field(start, width))
        start += width
    return fields


def field_layout(config: DramConfig, mapper: Mapper) -> FieldLayout:
    """Cuts an address into fields."""
    widths = [_bits(count) for count in config.level_counts[1:]]
    column, row, banks = _bits(config.columns), _bits(config.rows), sum(widths)
    nothing = Field(0, 0)
    if mapper is Mapper.RO_BA_RA_CO_CH:
        return FieldLayout(
            column_low=Field(0, column),
            column_high=nothing,
            levels=tuple(_stacked(widths, column)),
            row=Field(column + banks, row),
        )
    if mapper is Mapper.CH_RA_BA_RO_CO:
        innermost_first = _stacked(widths[::-1], column + row)
        return FieldLayout(
            column_low=Field(0, column),
            column_high=nothing,
            levels=tuple(innermost_first[::-1]),
            row=Field(column, row),
        )
    return _mop_layout(widths, column, row)


def _mop_layout(widths: list[int], column: int, row: int) -> FieldLayout:
    high = column - MOP_COLUMN_BITS
    banks = sum(widths)
    plain = _stacked(widths, MOP_COLUMN_BITS)
    row_field = Field(MOP_COLUMN_BITS + banks + high, row, is_unmasked=True)
    xored, used = [], 0
    for field in [*plain, row_field]:
        xored.append(replace(field, xor_shift=used, is_xored=field.width > 0))
        used += field.width
    return FieldLayout(
        column_low=Field(0, MOP_COLUMN_BITS),
        column_high=Field(MOP_COLUMN_BITS + banks, high),
        levels=tuple(xored[:-1]),
        row=xored[-1],
    )
