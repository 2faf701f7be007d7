"""What a CENT device does, step by step: commands to its channels, plain bursts through its port.

A device's instructions leave one decoder: an AiM command goes to all channels of its mask at once,
a plain burst to one channel, one burst per tick. So plain traffic to many channels is bound by that
port, and of a round of bursts over several channels the last channel's come last: it is the one to
follow. Row commands of plain bursts are written out here, since a bank opens its row while the
others do: precharges, activates and bursts of a round overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import BANKS, ROLES, PimConfig
from bankwidth.devices.pim.program import NO_BANK, MacroList

READ, WRITE = "RD_SBK", "WR_SBK"
CLOSED: Final = -1
_ACTIVATE, _PRECHARGE = "ACT", "PRE"  # of one bank


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Commands:
    """Macro commands that `channels` channels run alike."""

    macros: NDArray[np.int64]
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bursts:
    """`rounds` rounds of `requests` plain bursts each, one per tick; the last channel's are given.

    `opening` opens its rows and takes its bursts of the first round, `further` those of another.
    """

    opening: NDArray[np.int64]
    further: NDArray[np.int64]
    own: int  # bursts of the last channel in a round
    requests: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The decoder waits until all data have arrived."""


Step = Commands | Bursts | Wait


class StepList:
    """Steps in the making; it knows which row each bank of the followed channel has open."""

    def __init__(self, config: PimConfig) -> None:
        self._config = config
        self._steps: list[Step] = []
        self._open_rows = [CLOSED] * config.banks
        self._macros = MacroList(config)
        self._channels = 0
        self._rows: dict[str, int] = {}
        self._used_rows = 0

    def row(self, tensor: str, rows: int = 1) -> int:
        """First of the rows of a tensor, taken when it is first named."""
        if tensor not in self._rows:
            self._rows[tensor] = self._used_rows
            self._used_rows += rows
        return self._rows[tensor]

    def command(
        self, name: str, count: int = 1, row: int = 0, *, channels: int, bank: int = NO_BANK
    ) -> None:
        """A command repeated `count` times on `channels` channels."""
        if channels != self._channels:
            self._flush()
            self._channels = channels
        self._macros.add(name, count, row, bank)
        self._note_rows(self._config.index(name), row, bank)

    def bursts(
        self, banks: Sequence[int], row: int, *, rounds: int, requests: int, is_write: bool
    ) -> None:
        """Rounds of bursts to `banks` of the last channel, `requests` over all channels."""
        self._flush()
        name = WRITE if is_write else READ
        opening, further = MacroList(self._config), MacroList(self._config)
        self._open(opening, banks, row)
        for macros in (opening, further):
            for bank in banks:
                macros.add(name, 1, row, bank)
        self._steps.append(
            Bursts(
                opening=opening.build(),
                further=further.build(),
                own=len(banks),
                requests=requests,
                rounds=rounds,
            )
        )

    def wait(self) -> None:
        """All data must have arrived before the next step."""
        self._flush()
        self._steps.append(Wait())

    def build(self) -> tuple[Step, ...]:
        self._flush()
        return tuple(self._steps)

    def _note_rows(self, command: int, row: int, bank: int) -> None:
        if ROLES[self._config.codes("role")[command]] != "column":
            return
        row = CLOSED if self._config.codes("closes")[command] else row
        if BANKS[self._config.codes("banks")[command]] == "one":
            self._open_rows[bank] = row
        else:
            self._open_rows = [row] * self._config.banks

    def _open(self, macros: MacroList, banks: Sequence[int], row: int) -> None:
        """Open `row` in all banks: each is precharged while the one before it is activated."""
        waiting: list[int] = []
        for bank in banks:
            if self._open_rows[bank] not in (CLOSED, row):
                macros.add(_PRECHARGE, 1, 0, bank)
                waiting.append(bank)
            elif self._open_rows[bank] == CLOSED:
                macros.add(_ACTIVATE, 1, row, bank)
            if len(waiting) > 1:
                macros.add(_ACTIVATE, 1, row, waiting.pop(0))
            self._open_rows[bank] = row
        for bank in waiting:
            macros.add(_ACTIVATE, 1, row, bank)

    def _flush(self) -> None:
        macros = self._macros.build()
        if len(macros):
            self._steps.append(Commands(macros=macros, channels=self._channels))
        self._macros = MacroList(self._config)
