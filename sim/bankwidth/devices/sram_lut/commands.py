"""What a compute-SRAM array is told to do: commands that all of its lanes execute together.

A value is named by its first row. In the `transposed` layout a value of n bits lies in n rows of
one column, so a lane is a column (Neural Cache, ISCA 2018); in the `words` layout it lies in one
row, and a lane is a word of it (BFree, MICRO 2020). The same program serves both, at other costs.

Widths below zero mean unsigned: -5 is five bits without a sign. Operands narrower than the result
are extended by their sign, or by zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Commands = NDArray[np.int32]  # [commands, fields]


class Op(IntEnum):
    """Operations. Results are two's complement, modulo 2^bits."""

    CLEAR = 0
    COPY = 1
    INVERT = 2
    AND = 3
    OR = 4
    XOR = 5
    ADD = 6
    SUBTRACT = 7
    ACCUMULATE = 8  # dst += a << shift: touches only the bits from `shift` on
    DEDUCT = 9  # dst -= a << shift
    MULTIPLY = 10
    TAG = 11  # the tag latch of each lane takes the bit in the row
    LANE_SHIFT = 12
    WRITE = 13  # from the slice's bus
    READ = 14


class Phase(IntEnum):
    """What a command is for; the split of the cycles."""

    BUILD = 0
    LOOKUP = 1
    REDUCE = 2
    CONVERT = 3
    MULTIPLY = 4
    WRITE = 5
    READ = 6
    OTHER = 7


# Fields of a command. `FLAGS`: bit 0 tagged, bit 1 inverted (of TAG). `DATA`: index into the names.
OP, PHASE, DST, A, B, BITS, A_BITS, B_BITS, SHIFT, LANES, FLAGS, DATA = range(12)
NUM_FIELDS: Final = 12
TAGGED: Final = 1
INVERTED: Final = 2
NO_DATA: Final = -1
Logic = Literal["and", "or", "xor"]
_LOGIC: Final = {"and": Op.AND, "or": Op.OR, "xor": Op.XOR}


@dataclass(frozen=True, slots=True)
class Program:
    """Commands in order, and the names of the data that they write and read."""

    commands: Commands
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.commands)

    def then(self, other: Program) -> Program:
        """This program and another one behind it."""
        shifted = other.commands.copy()
        shifted[:, DATA] += np.where(shifted[:, DATA] == NO_DATA, 0, len(self.names))
        return Program(np.concatenate([self.commands, shifted]), (*self.names, *other.names))


@dataclass(slots=True)
class ProgramBuilder:
    """Appends commands; `phase` marks those that follow."""

    phase: Phase = Phase.OTHER
    _rows: list[tuple[int, ...]] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)

    def build(self) -> Program:
        """What was appended so far."""
        rows = np.array(self._rows, dtype=np.int32).reshape(-1, NUM_FIELDS)
        return Program(rows, tuple(self._names))

    def clear(self, dst: int, bits: int, *, tagged: bool = False) -> None:
        """dst = 0."""
        self._add(Op.CLEAR, dst, bits=bits, tagged=tagged)

    def copy(
        self, dst: int, a: int, bits: int, a_bits: int | None = None, *, tagged: bool = False
    ) -> None:
        """dst = a, extended from `a_bits`."""
        self._add(Op.COPY, dst, a, bits=bits, a_bits=a_bits, tagged=tagged)

    def invert(self, dst: int, a: int, bits: int, *, tagged: bool = False) -> None:
        """dst = not a."""
        self._add(Op.INVERT, dst, a, bits=bits, tagged=tagged)

    def logic(
        self, word: Logic, dst: int, a: int, b: int, bits: int, *, tagged: bool = False
    ) -> None:
        """dst = a and, or, xor b."""
        self._add(_LOGIC[word], dst, a, b, bits=bits, tagged=tagged)

    def add(
        self, dst: int, a: int, b: int, bits: int, a_bits: int, b_bits: int, *, tagged: bool = False
    ) -> None:
        """dst = a + b."""
        self._add(Op.ADD, dst, a, b, bits=bits, a_bits=a_bits, b_bits=b_bits, tagged=tagged)

    def subtract(
        self, dst: int, a: int, b: int, bits: int, a_bits: int, b_bits: int, *, tagged: bool = False
    ) -> None:
        """dst = a - b."""
        self._add(Op.SUBTRACT, dst, a, b, bits=bits, a_bits=a_bits, b_bits=b_bits, tagged=tagged)

    def accumulate(
        self, dst: int, a: int, bits: int, a_bits: int, shift: int = 0, *, negate: bool = False
    ) -> None:
        """dst += a << shift, or -= where `negate`."""
        op = Op.DEDUCT if negate else Op.ACCUMULATE
        self._add(op, dst, a, bits=bits, a_bits=a_bits, shift=shift)

    def multiply(self, dst: int, a: int, b: int, bits: int, a_bits: int, b_bits: int) -> None:
        """dst = a * b; dst must not overlap the operands."""
        self._add(Op.MULTIPLY, dst, a, b, bits=bits, a_bits=a_bits, b_bits=b_bits)

    def tag(self, row: int, *, inverted: bool = False, bit: int = 0) -> None:
        """Tagged commands from now on write only the lanes with bit `bit` of the value at `row`."""
        flags = INVERTED if inverted else 0
        self._add(Op.TAG, 0, row, bits=1, shift=bit, flags=flags)

    def lane_shift(self, dst: int, a: int, bits: int, lanes: int) -> None:
        """dst of lane i = a of lane i + lanes; 0 beyond the last one."""
        self._add(Op.LANE_SHIFT, dst, a, bits=bits, lanes=lanes)

    def write(self, dst: int, bits: int, name: str) -> None:
        """dst = the lanes of `name`, that come over the bus."""
        self._add(Op.WRITE, dst, bits=bits, name=name)

    def read(self, a: int, bits: int, name: str) -> None:
        """The lanes of a go out over the bus as `name`."""
        self._add(Op.READ, 0, a, bits=bits, name=name)

    def _add(
        self,
        op: Op,
        dst: int,
        a: int = 0,
        b: int = 0,
        *,
        bits: int,
        a_bits: int | None = None,
        b_bits: int | None = None,
        shift: int = 0,
        lanes: int = 0,
        tagged: bool = False,
        flags: int = 0,
        name: str | None = None,
    ) -> None:
        data = NO_DATA
        if name is not None:
            data = len(self._names)
            self._names.append(name)
        widths = (bits if a_bits is None else a_bits, bits if b_bits is None else b_bits)
        flags |= TAGGED if tagged else 0
        self._rows.append(
            (op, self.phase, dst, a, b, bits, *widths, shift, lanes, flags, data)
        )  # fmt: skip


def joined(programs: Sequence[Program]) -> Program:
    """Programs one behind the other."""
    if not programs:
        return ProgramBuilder().build()
    whole = programs[0]
    for program in programs[1:]:
        whole = whole.then(program)
    return whole
