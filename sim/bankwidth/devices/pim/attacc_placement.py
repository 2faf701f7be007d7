"""Where AttAcc's units are, what each of them holds, and how data get to them and back.

Banks are numbered as in arch/devices/pim/hbm3-attacc-bank-unlimited.yaml, by pseudo-channel, rank,
bank group and bank. Commands go to both pseudo-channels: the numbers here are those of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import NO_BANK
from bankwidth.errors import SpecError

RANKS, GROUPS, BANKS = range(2), range(4), range(4)
A_RANK, A_GROUP = 16, 4  # what one more adds to the number of a bank
_GROUP_FIRST: Final = tuple(r * A_RANK + g * A_GROUP for g in GROUPS for r in RANKS)
_RANK_FIRST: Final = tuple(r * A_RANK + g * A_GROUP for r in RANKS for g in GROUPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One level of units; where several banks are named, in the order of the commands."""

    key_ways: int  # units that hold different keys
    dim_ways: int  # units that hold different parts of a key
    mac_banks: tuple[int, ...]
    is_interleaved: bool = False  # the next of `mac_banks` for every column, not for every row
    query_to: tuple[int, ...] = (0,)
    scores_from: tuple[int, ...] = (0,)
    weights_to: tuple[int, ...] = (0,)
    context_from: tuple[int, ...] = (0,)


PLACEMENTS: Final[Mapping[str, Placement]] = {
    "bank": Placement(
        key_ways=16, dim_ways=4, mac_banks=(NO_BANK,), query_to=tuple(BANKS),
        scores_from=_GROUP_FIRST, weights_to=_RANK_FIRST,
        context_from=tuple(r * A_RANK + b for b in BANKS for r in RANKS),
    ),
    "bg": Placement(
        key_ways=16, dim_ways=1, mac_banks=tuple(BANKS), scores_from=_GROUP_FIRST,
        weights_to=_RANK_FIRST, context_from=(0, A_RANK),
    ),
    "buffer": Placement(
        key_ways=2, dim_ways=1, is_interleaved=True,
        mac_banks=tuple(group + bank for bank in BANKS for group in _RANK_FIRST),
    ),
}  # fmt: skip


def placement_of(level: str) -> Placement:
    """Raises SpecError for a level that is not known."""
    if level not in PLACEMENTS:
        raise SpecError(f"unknown level {level!r}: {', '.join(PLACEMENTS)}")
    return PLACEMENTS[level]


def products(config: PimConfig, place: Placement, first: int, number: int) -> NDArray[np.int64]:
    """MAC commands of consecutive columns of an area, those of one bank and row as one macro."""
    column = np.arange(first, first + number)
    step = column if place.is_interleaved else column // config.columns
    turn, bank = np.divmod(step, len(place.mac_banks))
    starts = np.flatnonzero(np.diff(step, prepend=-1))
    macros = np.empty((len(starts), 4), dtype=np.int64)
    macros[:, 0] = config.index("MAC")
    macros[:, 1] = np.diff(starts, append=number)
    macros[:, 2] = (turn // config.columns if place.is_interleaved else turn)[starts]
    macros[:, 3] = np.array(place.mac_banks)[bank[starts]]
    return macros


def moves(config: PimConfig, name: str, banks: Sequence[int], each: int = 1) -> NDArray[np.int64]:
    """Commands that move data: `each` of them for every bank, one macro per command."""
    command = config.index(name)
    rows = [(command, 1, 0, bank) for bank in banks for _ in range(each)]
    return np.array(rows, dtype=np.int64)
