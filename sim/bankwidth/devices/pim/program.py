"""What the channels are told to do: macro commands, and the bytes they move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import BANKS, BARRIER, MOVES, ROLES, PimConfig
from bankwidth.errors import SpecError

NO_BANK: Final = -1
MAC: Final = "MAC_ABK"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelProgram:
    """Macro commands that `channels` channels run alike, `repeat` times over.

    Plain traffic (`is_plain`) is reordered as far as rows and buses want it.
    """

    macros: NDArray[np.int64]  # [macro, (command, count, row, bank)]
    channels: int
    repeat: int = 1
    is_plain: bool = False

    def counts(self, num_commands: int) -> NDArray[np.int64]:
        """Commands of one channel, without the row and mode commands that the engine adds."""
        counts = np.zeros(num_commands, dtype=np.int64)
        commands = self.macros[self.macros[:, 0] != BARRIER]
        np.add.at(counts, commands[:, 0], commands[:, 1])
        return counts * self.repeat


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PimProgram:
    """One operator, or a stage of one, on all channels of a memory.

    Rows count from `first_row` on, so that layers of one shape share the macros. Bytes are over
    all channels: `in_bytes` and `out_bytes` cross the external interface, `bank_bytes` are read
    from or written to rows. `asic_adds` are the partial sums that the host has left to add.
    """

    channels: tuple[ChannelProgram, ...]
    first_row: int = 0
    rows: int = 0  # rows per bank that it touches, from `first_row` on
    in_bytes: int = 0
    out_bytes: int = 0
    bank_bytes: int = 0
    mac_commands: int = 0
    flops: int = 0
    asic_adds: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)  # per command, over all channels

    def at(self, first_row: int) -> PimProgram:
        """The same program on other rows."""
        return replace(self, first_row=first_row)


class MacroList:
    """Macro commands in the making, by name."""

    def __init__(self, config: PimConfig) -> None:
        self._config = config
        self._rows: list[tuple[int, int, int, int]] = []

    def add(self, name: str, count: int = 1, row: int = 0, bank: int = NO_BANK) -> None:
        """Append a command. Raises SpecError for an unknown one, or a bank that it cannot name."""
        command = self._config.index(name)
        takes_bank = BANKS[self._config.codes("banks")[command]] in ("one", "some")
        if takes_bank != (0 <= bank < self._config.banks):
            raise SpecError(f"{name} of bank {bank}: the channel has {self._config.banks} banks")
        if count < 1:
            raise SpecError(f"{name}: count must be at least 1, got {count}")
        self._rows.append((command, count, row, bank))

    def barrier(self) -> None:
        """Nothing passes it: see the controller's `barrier`."""
        self._rows.append((BARRIER, 1, 0, NO_BANK))

    def add_stream(self, name: str, first: int, count: int, bank: int = NO_BANK) -> None:
        """`count` consecutive columns from column `first` on, rows laid end to end."""
        columns = self._config.columns
        while count > 0:
            row, column = divmod(first, columns)
            here = min(count, columns - column)
            self.add(name, here, row, bank)
            first, count = first + here, count - here

    def build(self) -> NDArray[np.int64]:
        return np.array(self._rows, dtype=np.int64).reshape(-1, 4)


def mac_of(config: PimConfig) -> str | None:
    """The command named MAC, or MAC_ and more, that touches most banks; None without one."""
    names = [name for name in config.names if name == "MAC" or name.startswith("MAC_")]
    return max(names, key=lambda name: len(config.touched(name)), default=None)


def program_of(
    config: PimConfig,
    channels: tuple[ChannelProgram, ...],
    *,
    rows: int = 0,
    flops: int = 0,
    asic_adds: int = 0,
) -> PimProgram:
    """A program with its bytes and commands counted over all channels."""
    counts = np.zeros(len(config.names), dtype=np.int64)
    for group in channels:
        counts += group.counts(len(config.names)) * group.channels
    mac = mac_of(config)
    moves_in, moves_out = (config.codes("moves") == MOVES.index(way) for way in ("in", "out"))
    return PimProgram(
        channels=channels,
        rows=rows,
        in_bytes=int(counts[moves_in].sum()) * config.burst_bytes,
        out_bytes=int(counts[moves_out].sum()) * config.burst_bytes,
        bank_bytes=int((counts * _bursts_in_banks(config)).sum()) * config.burst_bytes,
        mac_commands=int(counts[config.index(mac)]) if mac else 0,
        flops=flops,
        asic_adds=asic_adds,
        counts={name: int(n) for name, n in zip(config.names, counts, strict=True) if n},
    )


def _bursts_in_banks(config: PimConfig) -> NDArray[np.int64]:
    """Bursts that a command reads from or writes to rows: one per bank that it touches.

    What comes in for all banks at once is one burst, shared out among them.
    """
    is_column = config.codes("role") == ROLES.index("column")
    is_shared = config.codes("moves") == MOVES.index("in")
    touched = np.array([len(config.touched(name)) for name in config.names], dtype=np.int64)
    bursts: NDArray[np.int64] = np.where(is_shared, 1, touched) * is_column
    return bursts
