"""What every resource of a drive did in a window of time, from the trace of its events."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.results import Table

Trace = NDArray[Any]  # structured: start_ps, end_ps, kind, channel, die, plane, block, page, lpa
# kind -> the lane it is drawn in, in the order of lanes; below them is a group for each channel.
LINK_LANES: Final = {"PCIE_DOWN": "PCIe to drive", "PCIE_UP": "PCIe to host"}
# Those of which there may be several: their number is in the column of channels.
CORE_LANES: Final = {"CORE": "core", "COMPUTE": "compute", "THEN": "softmax"}
BUS_KINDS: Final = ("BUS_COMMAND", "BUS_DATA_OUT", "BUS_DATA_IN")
_LINKS, _CORES = -2, -1  # above channel 0
CHANNEL_LANES: Final = {
    **dict.fromkeys(BUS_KINDS, "bus"),
    "ECC": "ECC",
    "FILTER": "filter",
}


def timeline_of(trace: Trace, kinds: tuple[str, ...], window_ns: tuple[float, float]) -> Table:
    """Events of the window, cut at its ends, by lane: host link and cores, then each channel."""
    start_ps, end_ps = (round(time * 1000) for time in window_ns)
    inside = trace[(trace["end_ps"] > start_ps) & (trace["start_ps"] < end_ps)]
    names = [kinds[kind] for kind in inside["kind"].tolist()]
    places = zip(names, inside["channel"].tolist(), inside["die"].tolist(), strict=True)
    lanes = [_lane(*place) for place in places]
    table = Table(
        {
            "lane": [name for _, name in lanes],
            "kind": names,
            "start_ns": np.maximum(inside["start_ps"], start_ps) / 1000,
            "end_ns": np.minimum(inside["end_ps"], end_ps) / 1000,
            **{name: inside[name] for name in ("plane", "block", "page", "lpa")},
        }
    )
    order = sorted(range(len(lanes)), key=lambda i: (lanes[i][0], table["start_ns"][i]))
    return table.take(np.array(order, dtype=np.intp))


def _lane(kind: str, channel: int, die: int) -> tuple[tuple[int, int, int], str]:
    """Place among the lanes, and name. Every channel has its bus, its decoder and its dies."""
    if kind in LINK_LANES:
        return (_LINKS, list(LINK_LANES).index(kind), 0), LINK_LANES[kind]
    if kind in CORE_LANES:
        return (_CORES, list(CORE_LANES).index(kind), channel), f"{CORE_LANES[kind]}{channel}"
    if kind in CHANNEL_LANES:
        lane = CHANNEL_LANES[kind]
        return (channel, list(CHANNEL_LANES.values()).index(lane), 0), f"ch{channel} {lane}"
    return (channel, len(CHANNEL_LANES), die), f"ch{channel} die{die}"
