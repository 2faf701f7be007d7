"""The bits of one array, and programs executed on them: what the commands do, bit by bit.

Sums go through a full adder and a carry latch per lane, one bit after the other, as the bit lines
do it; products are sums of shifted operands. So what comes out is made by the array's own steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.commands import (
    A_BITS,
    B_BITS,
    BITS,
    DATA,
    DST,
    FLAGS,
    INVERTED,
    LANES,
    OP,
    SHIFT,
    TAGGED,
    A,
    B,
    Op,
    Program,
)
from bankwidth.errors import SimulationError

Bits = NDArray[np.uint8]  # [bits, lanes], the lowest bit first
Layout = Literal["transposed", "words"]
_LOGIC: Final[dict[Op, Callable[[Bits, Bits], Bits]]] = {
    Op.AND: np.bitwise_and,
    Op.OR: np.bitwise_or,
    Op.XOR: np.bitwise_xor,
}


class Cells:
    """Rows x columns of bits with a tag latch per lane."""

    def __init__(
        self, rows: int, columns: int, layout: Layout = "transposed", word_bits: int = 0
    ) -> None:
        """All bits 0; `word_bits` is the width of a lane in the layout `words`."""
        self.rows, self.layout, self.word_bits = rows, layout, word_bits
        self.lanes = columns // word_bits if layout == "words" else columns
        self.bits: Bits = np.zeros((rows, columns), dtype=np.uint8)
        self._tags: NDArray[np.bool_] = np.ones(self.lanes, dtype=np.bool_)

    def execute(
        self, program: Program, data: Mapping[str, NDArray[np.int64]] | None = None
    ) -> dict[str, NDArray[np.int64]]:
        """Run a program; `data` holds the lanes of what it writes. Gives what it reads, by name.

        Values read are two's complement. Raises SimulationError for rows that the array has not.
        """
        out: dict[str, NDArray[np.int64]] = {}
        for command in program.commands.tolist():
            op, bits = Op(command[OP]), command[BITS]
            if op is Op.WRITE:
                values = np.asarray((data or {})[program.names[command[DATA]]], dtype=np.int64)
                self._store(command[DST], _to_bits(values, bits, self.lanes), None)
            elif op is Op.READ:
                out[program.names[command[DATA]]] = _to_ints(self._load(command[A], bits))
            elif op is Op.TAG:
                self._tag(command[A], command[SHIFT], bool(command[FLAGS] & INVERTED))
            else:
                self._compute(op, command)
        return out

    def _tag(self, row: int, bit: int, inverted: bool) -> None:
        self._tags = (self._load(row, bit + 1)[bit] != 0) ^ inverted

    def _compute(self, op: Op, command: list[int]) -> None:
        dst, bits = command[DST], command[BITS]
        tags = self._tags if command[FLAGS] & TAGGED else None
        if op in (Op.ACCUMULATE, Op.DEDUCT):
            self._accumulate(command, negate=op is Op.DEDUCT)
            return
        self._store(dst, self._result(op, command, bits), tags)

    def _result(self, op: Op, command: list[int], bits: int) -> Bits:
        if op is Op.CLEAR:
            return np.zeros((bits, self.lanes), dtype=np.uint8)
        a = self._extended(command[A], command[A_BITS], bits)
        if op is Op.COPY:
            return a
        if op is Op.INVERT:
            return 1 - a
        if op is Op.LANE_SHIFT:
            return _shifted_lanes(a, command[LANES])
        b = self._extended(command[B], command[B_BITS], bits)
        if op in _LOGIC:
            return _LOGIC[op](a, b)
        if op is Op.MULTIPLY:
            return _product(a, b, command[B_BITS])
        return added(a, b, negate=op is Op.SUBTRACT)

    def _accumulate(self, command: list[int], *, negate: bool) -> None:
        """Only the bits from `shift` on take part."""
        shift, bits = command[SHIFT], command[BITS]
        whole = self._load(command[DST], bits)
        a = self._extended(command[A], command[A_BITS], bits - shift)
        whole[shift:] = added(whole[shift:], a, negate=negate)
        self._store(command[DST], whole, None)

    def _extended(self, row: int, width: int, bits: int) -> Bits:
        """A value in `bits` bits: cut, or extended by its sign, or by zeros if its width is < 0."""
        held = min(abs(width), bits)
        value = self._load(row, held)
        if held == bits:
            return value
        fill = value[-1:] if width > 0 else np.zeros((1, self.lanes), dtype=np.uint8)
        return np.concatenate([value, np.repeat(fill, bits - held, axis=0)])

    def _load(self, row: int, bits: int) -> Bits:
        self._check(row, bits)
        if self.layout == "words":
            words = self.bits[row].reshape(-1)[: self.lanes * self.word_bits]
            value: Bits = words.reshape(self.lanes, self.word_bits)[:, :bits].T.copy()
            return value
        return self.bits[row : row + bits].copy()

    def _store(self, row: int, value: Bits, tags: NDArray[np.bool_] | None) -> None:
        bits = len(value)
        self._check(row, bits)
        if tags is not None:
            value = np.where(tags, value, self._load(row, bits))
        if self.layout == "words":
            words = self.bits[row][: self.lanes * self.word_bits]
            words.reshape(self.lanes, self.word_bits)[:, :bits] = value.T
        else:
            self.bits[row : row + bits] = value

    def _check(self, row: int, bits: int) -> None:
        rows = 1 if self.layout == "words" else bits
        if row < 0 or row + rows > self.rows:
            raise SimulationError(
                f"a program touches rows {row} to {row + rows - 1} of an array of {self.rows}"
            )
        if self.layout == "words" and bits > self.word_bits:
            raise SimulationError(
                f"a program has values of {bits} bits in words of {self.word_bits}"
            )


def added(a: Bits, b: Bits, *, negate: bool = False) -> Bits:
    """a + b, or a - b: the inverse of b with the carry latch set."""
    carry = np.full(a.shape[1], int(negate), dtype=np.uint8)
    total = np.empty_like(a)
    for i in range(len(a)):
        other = 1 - b[i] if negate else b[i]
        half = a[i] ^ other
        total[i] = half ^ carry
        carry = (a[i] & other) | (half & carry)
    return total


def _product(a: Bits, b: Bits, b_bits: int) -> Bits:
    """Sums of a shifted under each bit of b; the bit of b's sign counts negative."""
    bits = len(a)
    total = np.zeros_like(a)
    width = min(abs(b_bits), bits)
    for i in range(width):
        is_sign = b_bits > 0 and i == b_bits - 1
        total[i:] = added(total[i:], a[: bits - i] & b[i], negate=is_sign)
    return total


def _shifted_lanes(a: Bits, lanes: int) -> Bits:
    moved = np.zeros_like(a)
    if lanes < a.shape[1]:
        moved[:, : a.shape[1] - lanes] = a[:, lanes:]
    return moved


def _to_bits(values: NDArray[np.int64], bits: int, lanes: int) -> Bits:
    """The low `bits` bits of each lane's value; lanes without a value are 0."""
    padded = np.zeros(lanes, dtype=np.int64)
    padded[: len(values)] = values
    places = np.arange(bits, dtype=np.int64)[:, None]
    return ((padded >> places) & 1).astype(np.uint8)


def _to_ints(value: Bits) -> NDArray[np.int64]:
    """Two's complement."""
    weights = np.int64(1) << np.arange(len(value), dtype=np.int64)
    weights[-1] = -weights[-1]
    total: NDArray[np.int64] = (value.astype(np.int64) * weights[:, None]).sum(axis=0)
    return total
