"""What commands work on beyond their row and bank: a list beside a program, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.numbers import Floats
from bankwidth.errors import SimulationError

NOWHERE: Final = -1  # place of a value that nobody wants


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operand:
    """What `count` repetitions of a command work on.

    Repetition i uses column `column` + i; where a row ends, the next macro goes on at column 0 of
    its own row. It uses buffer column `buffer_column` + i (or all the same one, if it `holds` it)
    and register `register` + i * `step`.
    """

    command: str
    count: int = 1
    column: int = 0
    buffer_column: int = 0
    holds: bool = False
    register: int = 0
    step: int = 0
    lane: int = 0  # of a write to all banks: which element of the column
    function: str = ""  # of an activation: a name of `functional.FUNCTIONS`
    data: Floats | None = None  # [count, values of a burst] from the host
    sent_back: NDArray[np.int64] | None = None  # instead of data: places in the result so far
    places: NDArray[np.int64] | None = None  # [count, values] in the result, of what is read


class Cursor:
    """Hands out the operands of one channel to its macros, in order."""

    def __init__(self, operands: Sequence[Operand]) -> None:
        self._operands = operands
        self._index = 0
        self._done = 0

    def take(self, command: str, count: int) -> tuple[Operand, int]:
        """The operand of the next `count` repetitions, and how many of it are over.

        Raises SimulationError if the operands say something else.
        """
        if self._index == len(self._operands):
            raise SimulationError(f"{command} x {count} behind the last operand")
        operand, done = self._operands[self._index], self._done
        if operand.command != command or count > operand.count - done:
            raise SimulationError(
                f"the program says {command} x {count}, operand {self._index} says "
                f"{operand.command} x {operand.count - done}"
            )
        self._done += count
        if self._done == operand.count:
            self._index, self._done = self._index + 1, 0
        return operand, done

    def check_end(self) -> None:
        """Raises SimulationError if operands are left."""
        left = len(self._operands) - self._index
        if left:
            raise SimulationError(f"the program is over, {left} operands are left")
