"""Energy of one channel: commands times what each costs, and the power that always flows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bankwidth.devices.pim.config import MOVES, ROLES, PimConfig
from bankwidth.errors import SimulationError

ITEMS: Final = ("activate", "refresh", "mode", "compute", "write", "read", "background")
_OF_ROLE: Final = {
    "activate": "activate",
    "precharge": "activate",
    "refresh": "refresh",
    "mode": "mode",
}
_OF_MOVE: Final = {"none": "compute", "in": "write", "out": "read"}


def energy_pj(
    counts: Mapping[str, int], elapsed_ns: float, open_ns: float, config: PimConfig
) -> dict[str, float]:
    """Energy by item; `open_ns` of the elapsed time had a row open.

    The external interface is not in it: that is the link's. Raises SimulationError for a command
    that the set does not have or more open than elapsed time.
    """
    if not 0.0 <= open_ns <= elapsed_ns:
        raise SimulationError(f"rows open for {open_ns} ns of {elapsed_ns} ns")
    energies = dict.fromkeys(ITEMS, 0.0)
    for name, count in counts.items():
        if name not in config.names:
            raise SimulationError(f"no energy for command {name!r}")
        command = config.names.index(name)
        energies[_item(command, config)] += count * config.energy_pj[command]
    energies["background"] = open_ns * config.open_mw + (elapsed_ns - open_ns) * config.closed_mw
    return energies


def _item(command: int, config: PimConfig) -> str:
    role, moves = ROLES[config.codes("role")[command]], MOVES[config.codes("moves")[command]]
    return _OF_ROLE.get(role) or _OF_MOVE[moves]
