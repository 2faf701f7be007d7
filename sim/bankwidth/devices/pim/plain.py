"""Plain traffic: where consecutive bursts of a channel lie, as programs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import MacroList

CHANNEL = 0  # of the gap table's scopes


def plain_macros(config: PimConfig, first: int, last: int, *, is_write: bool) -> NDArray[np.int64]:
    """Bursts `first` to `last` - 1 of a channel: a row of each bank in turn.

    Where two bursts follow sooner in different groups of banks than in one, two banks as far apart
    as can be take turns, half a row each: the controller, which looks ahead, goes between them.
    Raises SpecError for a set without a plain read or write.
    """
    command = config.plain("in" if is_write else "out")
    together = 2 if _has_groups(config, command) else 1
    apart = config.banks // together
    piece = config.columns // together
    macros = MacroList(config)
    while first < last:
        number, column = divmod(first, piece)
        number, turn = divmod(number, together * together)
        row, bank = divmod(number, apart)
        count = min(piece - column, last - first)
        macros.add(command, count, row % config.rows, bank + turn % together * apart)
        first += count
    return macros.build()


def _has_groups(config: PimConfig, command: str) -> bool:
    """Whether a burst waits longer for one of the same group than for one of another."""
    index = config.index(command)
    return config.cadence_ck(command) > max(1, int(config.gaps[CHANNEL, index, index]))
