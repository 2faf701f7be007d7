"""Where a DRAM's peak bandwidth went: the time in which its data buses were idle, by cause."""

from __future__ import annotations

from collections.abc import Iterable
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


def lost_ticks(
    channels: Iterable[NDArray[np.int64]], buses: int, end: int, window: Window
) -> dict[str, int]:
    """Idle ticks of all data buses of some channels, until tick `end`, inside a window."""
    from bankwidth.devices.dram import kernel as k

    lost = dict.fromkeys(LOSSES, 0)
    until = min(end, window[1])
    for m in channels:
        for i, name in enumerate(LOSSES):
            lost[name] += int(m[k.LOST_AT + i])
        for last in m[k.BUS_LAST_AT : k.BUS_LAST_AT + buses]:
            lost["queue_starved"] += max(0, until - max(int(last), window[0]))
    return lost


def num_buses(config: DramConfig) -> int:
    """Data buses of a channel: one, or one per pseudo-channel."""
    from bankwidth.devices.dram.commands import Level

    levels = dict(zip(config.levels, config.level_counts, strict=True))
    return levels.get(Level.PSEUDO_CHANNEL, 1)
