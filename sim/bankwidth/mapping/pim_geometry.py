"""The banks of all channels as the mapping sees them, and their rows as they are handed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.devices.pim.config import PimConfig, config_of
from bankwidth.errors import MappingError
from bankwidth.spec.pim import PimSpec
from bankwidth.units import format_bytes

DTYPE: Final = "bf16"  # the only format of the banks' multipliers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PimGeometry:
    """The banks of all channels, as the mapping sees them."""

    config: PimConfig
    channels: int
    lanes: int  # elements per column
    buffer_columns: int
    accumulators: int

    @property
    def banks(self) -> int:
        return self.config.banks

    @property
    def buffer_elements(self) -> int:
        return self.buffer_columns * self.lanes

    @property
    def rows_bytes(self) -> int:
        """One row of every bank."""
        return self.channels * self.banks * self.config.columns * self.config.burst_bytes


def geometry_of(spec: PimSpec, channels: int) -> PimGeometry:
    """Geometry of `channels` channels of a device. Raises SpecError for contradictory timing."""
    return PimGeometry(
        config=config_of(spec),
        channels=channels,
        lanes=spec.lanes,
        buffer_columns=spec.buffer_bytes // spec.burst_bytes,
        accumulators=spec.accumulators,
    )


def check_dtype(where: str, dtype: str) -> None:
    """Raises MappingError for a format that the banks cannot multiply."""
    if dtype != DTYPE:
        raise MappingError(f"{where}: computing banks multiply {DTYPE} only, not {dtype}")


class RowAllocator:
    """Rows of the banks handed out one behind the other; every bank has the same layout."""

    def __init__(self, geometry: PimGeometry) -> None:
        self._geometry = geometry
        self.used_rows = 0

    def take(self, name: str, rows: int) -> int:
        """First row of a tensor's `rows`. Raises MappingError that says by how much it is over."""
        total = self._geometry.config.rows
        short = self.used_rows + rows - total
        if short > 0:
            raise MappingError(
                f"{name} needs {rows} rows per bank, {total - self.used_rows} of {total} are left: "
                f"{format_bytes(short * self._geometry.rows_bytes)} too much"
            )
        first, self.used_rows = self.used_rows, self.used_rows + rows
        return first
