"""DRAM banks that compute: the commands of one channel, their timing table and their energy.

The command set is data. A command is described by what it touches and needs; a gap row says how
many ticks must lie between two commands. The engine knows roles, never names, so a new design is a
new file. Names matter only to the mapping that writes programs of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Bytes,
    Ck,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    Ns,
    Pj,
    Relation,
    Spec,
    pick,
    pick_bytes,
    pick_mapping,
    unknown,
)
from bankwidth.units import UNITS, ns_to_ck, parse_quantity

EVERY: Final = "*"  # in a gap row: all commands of the set
BF16_BYTES: Final = 2
# What the engine must be able to do by itself: (role, banks) that exactly one command must have.
NEEDED: Final = (
    ("activate", "one"),
    ("activate", "all"),
    ("precharge", "one"),
    ("precharge", "all"),
    ("refresh", "all"),
)

Role = Literal["activate", "precharge", "refresh", "mode", "column", "register"]


@dataclass(frozen=True, slots=True)
class Duration:
    """A gap as written: in ns, or in cycles of the device's own clock."""

    value: float
    in_cycles: bool

    def ticks(self, tick_ps: int) -> int:
        """Cycles of a clock of period `tick_ps` that cover it."""
        return int(self.value) if self.in_cycles else ns_to_ck(self.value, tick_ps)


def parse_duration(value: Any) -> Duration:
    """`"36 ck"` or `"18 ns"`; raises SpecError for anything else."""
    if isinstance(value, Duration):
        return value
    in_cycles = isinstance(value, str) and value.strip().endswith("ck")
    number = parse_quantity(value, "cycles" if in_cycles else "time")
    if number < 0 or (in_cycles and number != int(number)):
        raise SpecError(f"{value!r}: a gap must be at least 0, and cycles whole")
    return Duration(number, in_cycles)


_GAP_SCHEMA: Final = WithJsonSchema(
    {
        "type": "string",
        "title": "time or cycles",
        "description": f"at least 0, with its unit: {', '.join(UNITS['time'])}, ck",
        "examples": ["36 ck", "18 ns"],
    }
)
GapDuration = Annotated[InstanceOf[Duration], BeforeValidator(parse_duration), _GAP_SCHEMA]


class PimCommandSpec(Spec):
    """One command of the set."""

    role: Role = Field(description="column commands need an open row, register commands none")
    banks: Literal["none", "one", "all"] = Field(description="banks that it touches")
    access: Literal["any", "array", "register"] = Field(
        default="array", description="mode the channel must be in"
    )
    moves: Literal["none", "in", "out"] = Field(
        default="none", description="a burst over the external interface"
    )
    closes: bool = Field(default=False, description="the row closes with it (auto-precharge)")
    done_ck: Ck = Field(description="from its issue until its data are where they go")
    energy_pj: Pj = Field(description="of one command, over all banks that it touches")


class PimGapSpec(Spec):
    """`after` may issue no earlier than `gap` after `before`; rows of the same pair: the largest.

    A row of scope bank holds when the two commands touch a bank in common.
    """

    before: list[str] = Field(min_length=1)
    after: list[str] = Field(min_length=1)
    scope: Literal["channel", "bank"] = "channel"
    gap: GapDuration


class PimBackgroundSpec(Spec):
    """Power of one channel that flows whatever it computes."""

    open_mw: Mw = Field(description="while a row is open")
    closed_mw: Mw = Field(description="while all rows are closed")


class PimSpec(DeviceSpec):
    """One channel of computing banks; it lives in the machine's memory `memory`."""

    kind: Literal["pim"]
    memory: str | None = Field(
        default=None, description="memory of the machine whose banks these are"
    )
    clock_ghz: Ghz = Field(description="of the commands: one command per tick")
    banks: Count
    rows: Count = Field(description="rows per bank")
    row_bytes: Bytes
    burst_bytes: Bytes = Field(description="one column: what a command reads or writes per bank")
    lanes: Count = Field(description="BF16 multipliers per bank")
    buffer_bytes: Bytes = Field(description="global buffer of the channel, broadcast to its banks")
    accumulators: Count = Field(description="result registers per bank that a program may use")
    refresh_interval_ns: Ns
    commands: dict[str, PimCommandSpec] = Field(min_length=1)
    gaps: list[PimGapSpec] = Field(min_length=1)
    background: PimBackgroundSpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Commands that are named exist, the needed ones are there once, sizes fit each other."""
        commands = pick_mapping(data, "commands")
        yield from _wrong_roles(commands)
        yield from _wrong_names(pick(data, "gaps"), list(commands))
        yield from _wrong_sizes(data)


def _wrong_roles(commands: Any) -> Iterator[Relation]:
    kinds = [(pick(command, "role"), pick(command, "banks")) for command in commands.values()]
    for needed in NEEDED:
        if commands and kinds.count(needed) != 1:
            role, banks = needed
            found = kinds.count(needed)
            yield ("commands",), f"need one command of role {role}, banks {banks}, found {found}"
    modes = sum(role == "mode" for role, _ in kinds)
    registers = any(pick(c, "access") == "register" for c in commands.values())
    if modes > 1 or (registers and not modes):
        yield ("commands",), f"register access needs one command of role mode, found {modes}"
    for name, command in commands.items():
        if pick(command, "role") == "column" and pick(command, "banks") == "none":
            yield ("commands", name, "banks"), "a column command touches banks: one or all"


def _wrong_names(gaps: Any, known: list[str]) -> Iterator[Relation]:
    for index, gap in enumerate(gaps if isinstance(gaps, list) else ()):
        for side in ("before", "after"):
            names = pick(gap, side)
            for place, name in enumerate(names if isinstance(names, list) else ()):
                if name != EVERY and name not in known:
                    yield ("gaps", index, side, place), unknown("command", name, [*known, EVERY])


def _wrong_sizes(data: object) -> Iterator[Relation]:
    row, burst = pick_bytes(data, "row_bytes"), pick_bytes(data, "burst_bytes")
    buffer, lanes = pick_bytes(data, "buffer_bytes"), pick(data, "lanes")
    if row and burst and row % burst:
        yield ("row",), f"{row} bytes is no multiple of the burst, {burst} bytes"
    if buffer and burst and buffer % burst:
        yield ("buffer",), f"{buffer} bytes is no multiple of the burst, {burst} bytes"
    if isinstance(lanes, int) and burst and lanes * BF16_BYTES != burst:
        yield ("lanes",), f"{lanes} BF16 lanes take {lanes * BF16_BYTES} bytes, a burst has {burst}"
