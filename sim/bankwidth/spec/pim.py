"""DRAM banks that compute: the commands of one channel, their timing table and their energy.

The command set is data. A command is described by what it touches and needs; a gap row says how
many ticks must lie between two commands. The engine knows roles, never names, so a new design is a
new file. Names matter only to the mapping that writes programs of them.
"""

from __future__ import annotations

import math
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
    NsOrZero,
    Pj,
    Relation,
    Spec,
    pick,
    pick_bytes,
    pick_mapping,
    unknown,
)
from bankwidth.spec.pim_timing import contradictions
from bankwidth.units import UNITS, ns_to_ck, parse_quantity

EVERY: Final = "*"  # in a gap row: all commands of the set
BF16_BYTES: Final = 2
MAX_QUEUE: Final = 128
LEAST_GROUP: Final = 2  # commands that order: grouped must see to know the last of a group
BANK: Final = "bank"  # the innermost level
# What the engine must be able to do by itself: (role, banks) that exactly one command must have.
NEEDED: Final = (("precharge", "all"), ("refresh", "all"))
CHANNEL: Final = "channel"
ANY: Final = "any"

Role = Literal["activate", "precharge", "refresh", "mode", "column", "register"]
# What a command does to numbers; devices/pim/functional.py says what each means.
Does = Literal[
    "load_buffer", "load_bias", "multiply_accumulate", "read_result", "activation",
    "read_activation", "multiply", "copy_to_buffer", "copy_to_bank", "write", "read",
    "clear_results", "load_result", "add_to_result", "multiply_result", "load_positive",
    "store_result", "none",
]  # fmt: skip
# Effects on registers of a value per lane.
OF_LANES: Final = (
    "load_result", "add_to_result", "multiply_result", "load_positive", "store_result",
)  # fmt: skip


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
    banks: Literal["none", "one", "all"] | Annotated[list[str], Field(min_length=1)] = Field(
        description="banks that it touches; a list: the levels that its address picks, it goes to "
        "every instance of the others"
    )
    access: str = Field(
        default="array", description="mode the channel must be in: one of `accesses`, or any"
    )
    enters: str | None = Field(
        default=None, description="mode the channel is in afterwards: one of `accesses`"
    )
    activate: str | None = Field(
        default=None, description="opens its rows; otherwise the activate of the same banks"
    )
    precharge: str | None = Field(
        default=None, description="closes its rows; otherwise the precharge of the same banks"
    )
    moves: Literal["none", "in", "out"] = Field(
        default="none", description="a burst over the external interface"
    )
    closes: bool = Field(default=False, description="the row closes with it (auto-precharge)")
    done_ck: Ck = Field(description="from its issue until its data are where they go")
    energy_pj: Pj = Field(description="of one command, over all banks that it touches")
    does: Does | None = Field(
        default=None, description="what it does to numbers; timing does not depend on it"
    )


class PimGapSpec(Spec):
    """`after` may issue no earlier than `gap` after `before`; rows of the same pair: the largest.

    A row of the scope of a level holds when the two commands touch an instance of it in common.
    """

    before: list[str] = Field(min_length=1)
    after: list[str] = Field(min_length=1)
    scope: str = Field(default="channel", description="channel, or one of the levels")
    gap: GapDuration


class PimWindowSpec(Spec):
    """Of the commands listed, at most `count` issue within `window` (tFAW and its like)."""

    commands: list[str] = Field(min_length=1)
    scope: str = Field(default="channel", description="channel, or one of the levels")
    count: Count
    window: GapDuration


class PimNumbersSpec(Spec):
    """How the banks multiply and add; timing does not depend on it."""

    operand: Literal["bf16", "fp16"] = Field(default="bf16", description="of what banks hold")
    accumulator: Literal["bf16", "fp16", "fp32"] = Field(
        default="fp32", description="of products and their sums"
    )
    adder_tree: bool = Field(
        default=True, description="sums the products of a column; without, each lane has its sum"
    )
    unit: str = Field(default=BANK, description="level whose instances have registers of their own")
    group: Count = Field(
        default=4, description="banks of which a multiply takes the first two and writes the third"
    )


class PimControllerSpec(Spec):
    """Who issues the commands of a program: how far ahead it looks, what it may reorder."""

    order: Literal["in_order", "first_ready", "grouped"] = Field(
        default="in_order",
        description="first_ready: the oldest command of the queue that may issue, up to a barrier; "
        "grouped: as that, a group's last command at its end, and rows that the group does not use "
        "are closed",
    )
    queue: Annotated[int, Field(ge=1, le=MAX_QUEUE)] = Field(
        default=1, description="commands that it sees at once, barriers included"
    )
    rows_ahead: bool = Field(
        default=False, description="opens rows for later commands of the queue meanwhile"
    )
    row_and_column: bool = Field(
        default=False,
        description="a row and a column command in one tick: two command buses; with a queue "
        "columns go on while a refresh waits for its rows to close",
    )
    hits_first: bool = Field(
        default=False,
        description="a register command addressed to a bank waits for the columns of the queue "
        "that are addressed to the same bank (all banks: the first) and find their row open",
    )
    barrier: Literal["complete", "order"] = Field(
        default="complete",
        description="complete: all data are where they go before the next command issues; order: "
        "columns do not pass it",
    )
    ranks: Count = Field(
        default=1,
        description="grouped: ranks that share the controller and are refreshed in turn; the first "
        "is the one described, and a refresh that waits until the next one's turn is dropped",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Choices that the controllers do not have together."""
        is_grouped = pick(data, "order") == "grouped"
        ranks, queue = pick(data, "ranks"), pick(data, "queue")
        if isinstance(ranks, int) and ranks > 1 and not is_grouped:
            yield ("ranks",), "refreshes in turn need order: grouped"
        if is_grouped and (not isinstance(queue, int) or queue < LEAST_GROUP):
            yield ("queue",), f"order: grouped needs a queue of at least {LEAST_GROUP}"
        for choice in ("rows_ahead", "row_and_column"):
            if is_grouped and pick(data, choice) is True:
                yield (choice,), "order: grouped has one command bus and opens rows by its own rule"


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
    levels: dict[str, Count] = Field(
        default_factory=dict,
        description="what the banks are numbered by, outermost first: powers of two whose product "
        "is `banks`; the innermost is bank",
    )
    accesses: list[str] = Field(
        default=["array", "register"],
        min_length=1,
        description="modes of the channel; it starts in the first",
    )
    rows: Count = Field(description="rows per bank")
    row_bytes: Bytes
    burst_bytes: Bytes = Field(description="one column: what a command reads or writes per bank")
    lanes: Count = Field(description="BF16 multipliers per bank")
    buffer_bytes: Bytes = Field(description="global buffer of the channel, broadcast to its banks")
    accumulators: Count = Field(description="result registers per bank that a program may use")
    refresh_interval_ns: Ns
    start_ns: NsOrZero = Field(
        default=0.0, description="from a program's last dependency to its first command"
    )
    commands: dict[str, PimCommandSpec] = Field(min_length=1)
    gaps: list[PimGapSpec] = Field(min_length=1)
    windows: list[PimWindowSpec] = Field(default_factory=list)
    controller: PimControllerSpec = Field(default_factory=PimControllerSpec)
    numbers: PimNumbersSpec = Field(default_factory=PimNumbersSpec)
    background: PimBackgroundSpec

    @property
    def bank_levels(self) -> dict[str, int]:
        """Levels and their counts, outermost first; one level where none are named."""
        return dict(self.levels) or {BANK: self.banks}

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Commands that are named exist, the needed ones are there once, sizes fit each other."""
        commands = pick_mapping(data, "commands")
        levels = list(pick_mapping(data, "levels")) or [BANK]
        yield from _wrong_roles(commands)
        yield from _wrong_levels(data, levels)
        yield from _wrong_banks(commands, levels)
        yield from _wrong_accesses(data, commands)
        yield from _wrong_rows(pick(data, "gaps"), "gaps", ("before", "after"), commands, levels)
        yield from _wrong_rows(pick(data, "windows"), "windows", ("commands",), commands, levels)
        yield from _wrong_helpers(commands)
        yield from _wrong_numbers(data, commands, levels)
        yield from _wrong_sizes(data)

    def contradictions(self) -> Iterator[Relation]:
        """Timing that no controller can keep."""
        yield from contradictions(self)


def _wrong_roles(commands: Any) -> Iterator[Relation]:
    kinds = [(pick(command, "role"), _banks(command)) for command in commands.values()]
    for needed in NEEDED:
        if commands and kinds.count(needed) != 1:
            role, banks = needed
            found = kinds.count(needed)
            yield ("commands",), f"need one command of role {role}, banks {banks}, found {found}"
    for name, command in commands.items():
        if pick(command, "role") == "column" and pick(command, "banks") == "none":
            yield ("commands", name, "banks"), "a column command touches banks: one or all"


def _banks(command: Any) -> Any:
    """What a command touches, in a form that can be compared."""
    banks = pick(command, "banks")
    return tuple(banks) if isinstance(banks, list) else banks


def _wrong_levels(data: object, levels: list[str]) -> Iterator[Relation]:
    counts, banks = pick_mapping(data, "levels"), pick(data, "banks")
    if not counts:
        return
    if levels[-1] != BANK:
        yield ("levels",), f"the innermost level must be {BANK}, not {levels[-1]}"
    numbers = [n for n in counts.values() if isinstance(n, int)]
    odd = [n for n in numbers if n & (n - 1)]
    if odd:
        yield ("levels",), f"counts must be powers of two, not {odd[0]}"
    if math.prod(numbers) != banks and isinstance(banks, int):
        yield ("banks",), f"the levels make {math.prod(numbers)} banks, here {banks}"


def _wrong_banks(commands: Any, levels: list[str]) -> Iterator[Relation]:
    for name, command in commands.items():
        banks = pick(command, "banks")
        for place, level in enumerate(banks if isinstance(banks, list) else ()):
            if level not in levels:
                yield ("commands", name, "banks", place), unknown("level", level, levels)


def _wrong_accesses(data: object, commands: Any) -> Iterator[Relation]:
    listed = pick(data, "accesses")
    known = listed if isinstance(listed, list) else ["array", "register"]
    toggles, entered = [], set()
    for name, command in commands.items():
        access, enters = pick(command, "access"), pick(command, "enters")
        if isinstance(access, str) and access not in [*known, ANY]:
            yield ("commands", name, "access"), unknown("access", access, [*known, ANY])
        if isinstance(enters, str) and enters not in known:
            yield ("commands", name, "enters"), unknown("access", enters, known)
        entered.add(enters)
        if pick(command, "role") == "mode" and enters is None:
            toggles.append(name)
    needed = {pick(c, "access") for c in commands.values()} - {None, ANY, *known[:1]}
    if len(toggles) > 1 or (toggles and len(known) > 2):
        yield ("commands",), f"a command of role mode needs `enters`: {', '.join(toggles)}"
    lost = sorted(str(access) for access in needed - entered) if not toggles else []
    for access in lost:
        yield ("commands",), f"{access} access needs a command that enters it, found 0 of role mode"


def _wrong_rows(
    rows: Any, field: str, sides: tuple[str, ...], commands: Any, levels: list[str]
) -> Iterator[Relation]:
    known = [*commands, *((EVERY,) if field == "gaps" else ())]
    scopes = [CHANNEL, *levels]
    for index, row in enumerate(rows if isinstance(rows, list) else ()):
        for side in sides:
            names = pick(row, side)
            for place, name in enumerate(names if isinstance(names, list) else ()):
                if name not in known:
                    yield (field, index, side, place), unknown("command", name, known)
        scope = pick(row, "scope")
        if isinstance(scope, str) and scope not in scopes:
            yield (field, index, "scope"), unknown("scope", scope, scopes)


def _wrong_numbers(data: object, commands: Any, levels: list[str]) -> Iterator[Relation]:
    numbers = pick(data, "numbers")
    unit = pick(numbers, "unit")
    if isinstance(unit, str) and unit not in levels:
        yield ("numbers", "unit"), unknown("level", unit, levels)
    for name, command in commands.items():
        does = pick(command, "does")
        if does in OF_LANES and pick(numbers, "adder_tree") is not False:
            yield ("commands", name, "does"), f"{does} needs a sum per lane: adder_tree: false"


def _wrong_helpers(commands: Any) -> Iterator[Relation]:
    """Every column command has an activate and a precharge: named, or of the same banks."""
    for name, command in commands.items():
        if pick(command, "role") != "column":
            continue
        for role in ("activate", "precharge"):
            yield from _wrong_helper(name, command, role, commands)


def _wrong_helper(name: str, command: Any, role: str, commands: Any) -> Iterator[Relation]:
    able = [key for key, other in commands.items() if pick(other, "role") == role]
    chosen = pick(command, role)
    if isinstance(chosen, str):
        if chosen not in able:
            yield ("commands", name, role), unknown(role, chosen, able)
        return
    alike = [key for key in able if _banks(commands[key]) == _banks(command)]
    if len(alike) != 1:
        banks, found = _banks(command), len(alike)
        yield (
            ("commands",),
            f"{name} needs one command of role {role}, banks {banks}, found {found}",
        )


def _wrong_sizes(data: object) -> Iterator[Relation]:
    row, burst = pick_bytes(data, "row_bytes"), pick_bytes(data, "burst_bytes")
    buffer, lanes = pick_bytes(data, "buffer_bytes"), pick(data, "lanes")
    if row and burst and row % burst:
        yield ("row",), f"{row} bytes is no multiple of the burst, {burst} bytes"
    if buffer and burst and buffer % burst:
        yield ("buffer",), f"{buffer} bytes is no multiple of the burst, {burst} bytes"
    if isinstance(lanes, int) and burst and lanes * BF16_BYTES != burst:
        yield ("lanes",), f"{lanes} BF16 lanes take {lanes * BF16_BYTES} bytes, a burst has {burst}"
