"""Cycles of commands: laws in the widths of their operands, one per kind of command and style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.commands import (
    A_BITS,
    B_BITS,
    BITS,
    OP,
    PHASE,
    SHIFT,
    Op,
    Phase,
    Program,
)

# The law that an operation follows; several share one.
LAW_OF: Final[dict[Op, str]] = {
    Op.CLEAR: "move",
    Op.COPY: "move",
    Op.INVERT: "logic",
    Op.AND: "logic",
    Op.OR: "logic",
    Op.XOR: "logic",
    Op.ADD: "add",
    Op.SUBTRACT: "add",
    Op.ACCUMULATE: "accumulate",
    Op.DEDUCT: "accumulate",
    Op.MULTIPLY: "multiply",
    Op.TAG: "tag",
    Op.LANE_SHIFT: "lane_shift",
    Op.WRITE: "access",
    Op.READ: "access",
}
LAWS: Final = tuple(dict.fromkeys(LAW_OF.values()))


class Law(NamedTuple):
    """cycles = product x a x b + linear x n + constant.

    n is the number of bits of the result that a command touches; of a product the wider operand's.
    a and b are the widths of the operands of a product.
    """

    product: float = 0.0
    linear: float = 0.0
    constant: float = 0.0


class Costs:
    """Cycles per command of one style of array."""

    def __init__(self, laws: Mapping[str, Law]) -> None:
        """`laws` by the names of `LAWS`; KeyError where one is missing."""
        table = np.zeros((len(Op), 3))
        for op, name in LAW_OF.items():
            table[op] = laws[name]
        self._table = table

    def cycles(self, program: Program) -> NDArray[np.int64]:
        """Of each command, in whole cycles."""
        rows = program.commands
        laws, op = self._table[rows[:, OP]], rows[:, OP]
        a, b = np.abs(rows[:, A_BITS]), np.abs(rows[:, B_BITS])
        touched = np.where(op == Op.MULTIPLY, np.maximum(a, b), rows[:, BITS] - rows[:, SHIFT])
        touched = np.where(op == Op.TAG, 1, touched)
        cycles = laws[:, 0] * (a * b) + laws[:, 1] * touched + laws[:, 2]
        whole: NDArray[np.int64] = np.ceil(cycles).astype(np.int64)
        return whole

    def total(self, program: Program) -> int:
        """Cycles of all commands."""
        return int(self.cycles(program).sum())

    def by_phase(self, program: Program) -> dict[Phase, int]:
        """Cycles of all commands of each phase that occurs."""
        sums = np.bincount(
            program.commands[:, PHASE], weights=self.cycles(program), minlength=len(Phase)
        )
        return {phase: int(sums[phase]) for phase in Phase if sums[phase]}
