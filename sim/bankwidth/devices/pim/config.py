"""A PimSpec as the arrays that the kernel reads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import SpecError
from bankwidth.spec.pim import ANY, BANK, CHANNEL, EVERY, PimCommandSpec, PimControllerSpec, PimSpec
from bankwidth.units import ns_to_ck

# Codes of the command table; the kernel has its own names for them, and a test compares the two.
ROLES: Final = ("activate", "precharge", "refresh", "mode", "column", "register")
BANKS: Final = ("none", "one", "all", "some")
MOVES: Final = ("none", "in", "out")
# Columns of the table; `picks` are the bits of a bank's number that the address picks, `opener` and
# `closer` the activate and the precharge of the same banks.
FIELDS: Final = (
    "role", "banks", "access", "moves", "closes", "done_ck", "picks", "enters", "opener", "closer",
)  # fmt: skip
NO_COMMAND: Final = -1
BARRIER: Final = -2  # in a program, in the place of a command


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PimConfig:
    """One channel, ready to simulate; times in ticks of its command clock."""

    tick_ps: int
    banks: int
    rows: int
    columns: int  # bursts per row
    burst_bytes: int
    names: tuple[str, ...]  # of the commands, in the order of the tables
    accesses: tuple[str, ...]  # any, and the modes of the channel: the second is the first it is in
    commands: NDArray[np.int64]  # [command, FIELDS]
    scopes: NDArray[np.int64]  # [scope (channel, bank, ...)] bits of a bank's number that tell it
    gaps: NDArray[np.int64]  # [scope, before, after]
    windows: NDArray[np.int64]  # [window, (scope bits, count, ticks)]
    in_window: NDArray[np.int64]  # [window, command]
    controller: PimControllerSpec = field(default_factory=PimControllerSpec)
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

    def plain(self, moves: str) -> str:
        """The command that reads (`out`) or writes (`in`) a burst of one bank.

        Raises SpecError for a set that has none: its memory cannot be read or written.
        """
        wanted = (ROLES.index("column"), BANKS.index("one"), MOVES.index(moves))
        fields = (self.codes("role"), self.codes("banks"), self.codes("moves"))
        for name, found in zip(self.names, zip(*fields, strict=True), strict=True):
            if found == wanted:
                return name
        raise SpecError(f"no column command of one bank moves data {moves}: {self.names}")

    def cadence_ck(self, name: str) -> int:
        """Ticks between repetitions of a command on the same banks."""
        command = self.index(name)
        return max(1, int(self.gaps[:, command, command].max()))

    def touched(self, name: str, bank: int = 0) -> list[int]:
        """Banks that a command touches when it is addressed to `bank`."""
        command = self.index(name)
        if self.codes("banks")[command] == BANKS.index("none"):
            return []
        picks = int(self.codes("picks")[command])
        return [b for b in range(self.banks) if b & picks == bank & picks]


def config_of(spec: PimSpec) -> PimConfig:
    """Tables of a description."""
    tick_ps = round(1000.0 / spec.clock_ghz)
    scopes = level_bits(spec)
    return PimConfig(
        tick_ps=tick_ps,
        banks=spec.banks,
        rows=spec.rows,
        columns=spec.row_bytes // spec.burst_bytes,
        burst_bytes=spec.burst_bytes,
        names=tuple(spec.commands),
        accesses=(ANY, *spec.accesses),
        commands=np.array([_codes(c, spec) for c in spec.commands.values()], dtype=np.int64),
        scopes=np.array([bits for _, bits in _scopes(scopes)], dtype=np.int64),
        gaps=_gap_tables(spec, [name for name, _ in _scopes(scopes)], tick_ps),
        windows=_windows(spec, scopes, tick_ps),
        in_window=_window_members(spec),
        controller=spec.controller,
        refresh_ck=ns_to_ck(spec.refresh_interval_ns, tick_ps),
        energy_pj=tuple(c.energy_pj for c in spec.commands.values()),
        open_mw=spec.background.open_mw,
        closed_mw=spec.background.closed_mw,
    )


def level_bits(spec: PimSpec) -> dict[str, int]:
    """Bits of a bank's number that tell the instances of a level apart, the levels above included.

    Where no levels are named, bank numbers need not fill their bits.
    """
    bits, shift = {CHANNEL: 0}, (spec.banks - 1).bit_length()
    taken = 0
    for name, count in spec.bank_levels.items():
        width = (count - 1).bit_length()
        shift -= width
        taken |= ((1 << width) - 1) << shift
        bits[name] = taken
    return bits


def picked_bits(command: PimCommandSpec, spec: PimSpec) -> int:
    """Bits of a bank's number that a command's address picks; the others are broadcast to."""
    bits = level_bits(spec)
    if not isinstance(command.banks, list):
        return bits[BANK] if command.banks == "one" else 0
    # A level's own bits: without those of the level above.
    own = {name: bits[name] & ~bits[above] for above, name in pairwise(bits)}
    return sum(own[level] for level in command.banks)


def _scopes(bits: dict[str, int]) -> list[tuple[str, int]]:
    """The channel first, then the banks, then the levels between."""
    first = [(CHANNEL, 0), (BANK, bits[BANK])]
    return first + [(name, b) for name, b in bits.items() if name not in (CHANNEL, BANK)]


def _codes(command: PimCommandSpec, spec: PimSpec) -> tuple[int, ...]:
    accesses = (ANY, *spec.accesses)
    is_column = command.role == "column"
    return (
        ROLES.index(command.role),
        BANKS.index("some" if isinstance(command.banks, list) else command.banks),
        accesses.index(command.access),
        MOVES.index(command.moves),
        int(command.closes),
        command.done_ck,
        picked_bits(command, spec),
        accesses.index(command.enters) if command.enters else 0,
        _helper(command, command.activate, "activate", spec) if is_column else NO_COMMAND,
        _helper(command, command.precharge, "precharge", spec),
    )


def _helper(command: PimCommandSpec, named: str | None, role: str, spec: PimSpec) -> int:
    """The row command that a column command, an activate or a refresh may need first."""
    for number, (name, other) in enumerate(spec.commands.items()):
        is_alike = named is None and other.banks == command.banks
        if other.role == role and (name == named or is_alike):
            return number
    return NO_COMMAND


def _gap_tables(spec: PimSpec, scopes: list[str], tick_ps: int) -> NDArray[np.int64]:
    names = list(spec.commands)
    tables = np.zeros((len(scopes), len(names), len(names)), dtype=np.int64)
    for gap in spec.gaps:
        scope, ticks = scopes.index(gap.scope), gap.gap.ticks(tick_ps)
        cells = np.ix_(_numbers(gap.before, names), _numbers(gap.after, names))
        tables[scope][cells] = np.maximum(tables[scope][cells], ticks)
    return tables


def _windows(spec: PimSpec, bits: dict[str, int], tick_ps: int) -> NDArray[np.int64]:
    rows = [(bits[w.scope], w.count, w.window.ticks(tick_ps)) for w in spec.windows]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _window_members(spec: PimSpec) -> NDArray[np.int64]:
    rows = [[name in window.commands for name in spec.commands] for window in spec.windows]
    return np.array(rows, dtype=np.int64).reshape(-1, len(spec.commands))


def _numbers(listed: Iterable[str], names: list[str]) -> list[int]:
    listed = list(listed)
    return list(range(len(names))) if EVERY in listed else [names.index(n) for n in listed]
