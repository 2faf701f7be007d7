"""Where a DRAM's peak bandwidth went: the time in which its data buses were idle, by cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bankwidth.devices.dram.config import DramConfig

Window = tuple[int, int]  # first tick, and the tick after the last
# In the order of the engine's causes.
LOSSES: Final[dict[str, str]] = {
    "row_misses": "a row had to be closed or opened, or row commands took the command bus",
    "refresh": "a refresh waited for its turn, or its banks were being refreshed",
    "activation_window": "activates were too close (tRRD, tFAW)",
    "turnaround": "the bus changed direction, rank or stack, or the data clock was started",
    "bank_group_gaps": "bursts of one bank group are further apart than their length (tCCD_L)",
    "queue_starved": "no request was there, or the last data was on its way back",
}


@dataclass(frozen=True, slots=True)
class BusTime:
    """The time of all data buses inside a window: data and idle ticks add up to it."""

    window: Window
    data_ticks: int
    lost_ticks: dict[str, int]  # idle, by cause

    @property
    def total_ticks(self) -> int:
        """Of all data buses."""
        return self.data_ticks + sum(self.lost_ticks.values())


def bus_time(channels: Sequence[NDArray[np.int64]], buses: int, end: int) -> BusTime:
    """The data buses of some channels until tick `end`, at which everything is done."""
    from bankwidth.devices.dram import kernel as k

    return _bus_time(channels, buses, (0, end), k.LOST_AT, k.DATA_TICKS)


def bus_time_inside(
    channels: Sequence[NDArray[np.int64]], buses: int, end: int, window: Window
) -> BusTime:
    """The part of it inside the window that the channels were given."""
    from bankwidth.devices.dram import kernel as k

    inside = min(window[0], end), min(window[1], end)
    return _bus_time(channels, buses, inside, k.SEEN_LOST_AT, k.SEEN_DATA_TICKS)


def _bus_time(
    channels: Sequence[NDArray[np.int64]], buses: int, window: Window, lost_at: int, data: int
) -> BusTime:
    lost = {name: sum(int(m[lost_at + i]) for m in channels) for i, name in enumerate(LOSSES)}
    lost["queue_starved"] += sum(_tail(m, buses, window) for m in channels)
    return BusTime(window, sum(int(m[data]) for m in channels), lost)


def _tail(m: NDArray[np.int64], buses: int, window: Window) -> int:
    """Idle ticks after the last column command."""
    from bankwidth.devices.dram import kernel as k

    lasts = m[k.BUS_LAST_AT : k.BUS_LAST_AT + buses]
    return sum(max(0, window[1] - max(int(last), window[0])) for last in lasts)


def num_buses(config: DramConfig) -> int:
    """Data buses of a channel: one, or one per pseudo-channel."""
    from bankwidth.devices.dram.commands import Level

    levels = dict(zip(config.levels, config.level_counts, strict=True))
    return levels.get(Level.PSEUDO_CHANNEL, 1)
