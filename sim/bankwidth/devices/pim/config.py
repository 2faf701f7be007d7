"""A PimSpec as the arrays that the kernel reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import SpecError
from bankwidth.spec.pim import EVERY, PimCommandSpec, PimSpec
from bankwidth.units import ns_to_ck

# Codes of the command table; the kernel has its own names for them, and a test compares the two.
ROLES: Final = ("activate", "precharge", "refresh", "mode", "column", "register")
BANKS: Final = ("none", "one", "all")
ACCESS: Final = ("any", "array", "register")
MOVES: Final = ("none", "in", "out")
FIELDS: Final = ("role", "banks", "access", "moves", "closes", "done_ck")  # columns of the table
NO_COMMAND: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PimConfig:
    """One channel, ready to simulate; times in ticks of its command clock."""

    tick_ps: int
    banks: int
    rows: int
    columns: int  # bursts per row
    burst_bytes: int
    names: tuple[str, ...]  # of the commands, in the order of the tables
    commands: NDArray[np.int64]  # [command, FIELDS]
    gaps: NDArray[np.int64]  # [scope (channel, bank), before, after]
    refresh_ck: int
    energy_pj: tuple[float, ...]  # per command
    open_mw: float
    closed_mw: float

    def index(self, name: str) -> int:
        """Number of a command; raises SpecError for a name that the set does not have."""
        if name not in self.names:
            raise SpecError(f"no command {name!r} in this set: {', '.join(self.names)}")
        return self.names.index(name)

    def codes(self, field: str) -> NDArray[np.int64]:
        """One of FIELDS of all commands."""
        return self.commands[:, FIELDS.index(field)]

    def with_role(self, role: str, banks: str) -> int:
        """Number of the command of a role, or NO_COMMAND."""
        wanted = (ROLES.index(role), BANKS.index(banks))
        kinds = list(zip(self.codes("role"), self.codes("banks"), strict=True))
        return kinds.index(wanted) if wanted in kinds else NO_COMMAND


def config_of(spec: PimSpec) -> PimConfig:
    """Tables of a description. Raises SpecError if refresh would leave no time to read a row."""
    tick_ps = round(1000.0 / spec.clock_ghz)
    config = PimConfig(
        tick_ps=tick_ps,
        banks=spec.banks,
        rows=spec.rows,
        columns=spec.row_bytes // spec.burst_bytes,
        burst_bytes=spec.burst_bytes,
        names=tuple(spec.commands),
        commands=np.array([_codes(c) for c in spec.commands.values()], dtype=np.int64),
        gaps=_gap_tables(spec, tick_ps),
        refresh_ck=ns_to_ck(spec.refresh_interval_ns, tick_ps),
        energy_pj=tuple(c.energy_pj for c in spec.commands.values()),
        open_mw=spec.background.open_mw,
        closed_mw=spec.background.closed_mw,
    )
    _check_refresh(config)
    return config


def _codes(command: PimCommandSpec) -> tuple[int, ...]:
    return (
        ROLES.index(command.role),
        BANKS.index(command.banks),
        ACCESS.index(command.access),
        MOVES.index(command.moves),
        int(command.closes),
        command.done_ck,
    )


def _gap_tables(spec: PimSpec, tick_ps: int) -> NDArray[np.int64]:
    names = list(spec.commands)
    tables = np.zeros((2, len(names), len(names)), dtype=np.int64)
    for gap in spec.gaps:
        scope, ticks = int(gap.scope == "bank"), gap.gap.ticks(tick_ps)
        cells = np.ix_(_numbers(gap.before, names), _numbers(gap.after, names))
        tables[scope][cells] = np.maximum(tables[scope][cells], ticks)
    return tables


def _numbers(listed: Iterable[str], names: list[str]) -> list[int]:
    listed = list(listed)
    return list(range(len(names))) if EVERY in listed else [names.index(n) for n in listed]


def _check_refresh(config: PimConfig) -> None:
    """Refresh, reopening a row and one column must fit twice into the refresh interval."""
    refresh, activate = config.with_role("refresh", "all"), config.with_role("activate", "all")
    largest = config.gaps.max(axis=0)
    needed = int(largest[refresh, activate] + 2 * largest[activate].max() + largest.max())
    if needed * 2 > config.refresh_ck:
        raise SpecError(
            f"refresh_interval: {config.refresh_ck} ck, but refreshing, opening and closing a row "
            f"takes {needed} ck; the interval must be at least twice that"
        )
