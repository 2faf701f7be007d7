"""The numbers behind the commands: the macros of a program, run on the contents of the banks.

The same `ChannelProgram` that the timing engine runs says which command comes when, in which row
and bank. What timing does not need is in `Operand`s beside it: the first column, the place in the
global buffer, the result register, the data that the host sends, and where what it reads belongs.
Neither mode changes the other: there is no time in here.

What a command does is said by `does` in its description, so a user-written set works as well:

- load_buffer: bursts from the host into the global buffer
- load_bias: one value per unit into a result register
- multiply_accumulate: columns of its banks times columns of the buffer, added to a register
- read_result, read_activation: one value per unit out of a result or activation register
- activation: a function of a result register into the activation register
- multiply: in each group of banks, the first times the second into the third, column by column
- copy_to_buffer, copy_to_bank: columns of a bank into the buffer and back
- write: to one bank, a burst is a column; to all banks, a burst is one element for each of them
- read: columns of a bank to the host
- clear_results: zeros in all result registers
- load_result, add_to_result, multiply_result, load_positive: columns of its banks into registers,
  as they are, added, multiplied, or where they are positive; one register per column
- store_result: registers into columns of its banks

Known of AiM: 16 bf16 products per column and bank, summed by an adder tree (IANUS, ASPLOS'24,
section 3); products are aligned to the largest exponent before they are added (ISSCC'22, abstract:
bank-wide mantissa shift); one bf16 per bank is read out, 16 banks in a burst of 32 bytes; EWMUL
reads banks 0 and 1 of a group of four and writes bank 2 (CENT's simulator, aim_sim.py).
Assumed, for no source at hand states it: the accumulator is fp32, the tree rounds like fp32 adders
and adds neighbours first, columns are added in the order of the commands, a result is rounded
once, when it is read, and an activation function is exact before that (the chip interpolates
between entries of a table in a DRAM row).

What was never written reads as not-a-number, which then shows in every result it touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import BARRIER, config_of
from bankwidth.devices.pim.numbers import FORMATS, Arithmetic, Floats
from bankwidth.devices.pim.operands import NOWHERE, Cursor, Operand
from bankwidth.devices.pim.program import ChannelProgram, PimProgram
from bankwidth.errors import SimulationError, SpecError
from bankwidth.spec.pim import PimSpec

# gelu as GPT-2 writes it (Hendrycks and Gimpel 2016)
FUNCTIONS: Final[Mapping[str, Callable[[Floats], Any]]] = {
    "gelu": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0.0),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "tanh": np.tanh,
}
EXAMPLES: Final = 4
NOTHING: Final = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class BankShape:
    """Sizes of one channel, and what its commands do to numbers."""

    banks: int
    columns: int  # per row
    lanes: int  # values per column
    buffer_columns: int
    registers: int  # of results, per unit
    units: NDArray[np.int64]  # of each bank, the unit that computes for it
    group: int  # banks that a multiply works in
    does: Mapping[str, str]  # per command, in the order of the program's numbers
    touched: Callable[[str, int], Sequence[int]]  # banks of a command that names a bank
    arithmetic: Arithmetic


class Access(NamedTuple):
    """One macro with its part of an operand."""

    row: int
    banks: Sequence[int]
    column: int
    times: int
    buffer: NDArray[np.int64]  # column per repetition
    registers: NDArray[np.int64]  # per repetition
    data: Floats  # [repetition, values]
    lane: int
    function: str


class FunctionalChannel:
    """Contents of one channel: rows of its banks, the global buffer, registers of each bank."""

    def __init__(self, shape: BankShape) -> None:
        self.shape = shape
        self._names = tuple(shape.does)
        self._rows: dict[int, Floats] = {}  # row -> [bank, column, lane]
        self._buffer = _unknown(shape.buffer_columns, shape.lanes)
        of_unit = () if shape.arithmetic.has_tree else (shape.lanes,)
        self._results = _unknown(shape.registers, int(shape.units[-1]) + 1, *of_unit)
        self._activations = self._results.copy()

    def row(self, row: int) -> Floats:
        """Contents of a row, [bank, column, lane], to look at or to change."""
        if row not in self._rows:
            self._rows[row] = _unknown(self.shape.banks, self.shape.columns, self.shape.lanes)
        return self._rows[row]

    def store(
        self,
        first: int,
        contents: Floats,
        first_row: int = 0,
        banks: Sequence[int] | None = None,
    ) -> None:
        """Put [bank, column, lane] into the banks from column `first` on, rows laid end to end.

        `banks` are those of its first axis, all where none are named.
        """
        rounded = self.shape.arithmetic.operand.round(contents)
        chosen = list(range(self.shape.banks) if banks is None else banks)
        for index in range(rounded.shape[1]):
            row, column = divmod(first + index, self.shape.columns)
            self.row(first_row + row)[chosen, column] = rounded[:, index]

    def stored(self, first: int, columns: int, first_row: int = 0) -> Floats:
        """What `store` put there, [bank, column, lane]."""
        places = [divmod(first + index, self.shape.columns) for index in range(columns)]
        return np.stack([self.row(first_row + r)[:, c] for r, c in places], axis=1)

    def run(
        self,
        program: ChannelProgram,
        operands: Sequence[Operand],
        result: Floats,
        first_row: int = 0,
    ) -> None:
        """Run a program; what it reads is added to `result`, in float32, as a host sums up.

        Raises SimulationError where the operands are not those of the macros.
        """
        cursor = Cursor(operands)
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are numbers here
            for _ in range(program.repeat):
                for number, count, row, bank in program.macros.tolist():
                    name = "" if number == BARRIER else self._names[number]
                    if self.shape.does.get(name, "none") != "none":
                        self._command(cursor, name, count, first_row + row, bank, result)
        cursor.check_end()

    def _command(
        self, cursor: Cursor, name: str, count: int, row: int, bank: int, result: Floats
    ) -> None:
        operand, done = cursor.take(name, count)
        part = slice(done, done + count)
        steps = np.arange(done, done + count)
        access = Access(
            row=row,
            banks=self.shape.touched(name, bank),
            column=operand.column if done == 0 else 0,
            times=count,
            buffer=operand.buffer_column + (0 if operand.holds else 1) * steps,
            registers=operand.register + operand.step * steps,
            data=self._sent(operand, part, result),
            lane=operand.lane,
            function=operand.function,
        )
        values = EFFECTS[self.shape.does[name]](self, access)
        if values is not None and operand.places is not None:
            places = operand.places[part]
            np.add.at(result, places[places != NOWHERE], values[places != NOWHERE])

    def _sent(self, operand: Operand, part: slice, result: Floats) -> Floats:
        """What the host sends: data of its own, or what it read before, which it then gives up."""
        if operand.sent_back is not None:
            places = operand.sent_back[part]
            sent = np.where(places == NOWHERE, np.float32(0.0), result[places])
            result[places[places != NOWHERE]] = 0.0
            return self.shape.arithmetic.operand.round(sent)
        if operand.data is None:
            return NOTHING
        return self.shape.arithmetic.operand.round(operand.data[part])

    def _columns(self, access: Access) -> slice:
        end = access.column + access.times
        if end > self.shape.columns:
            raise SimulationError(
                f"columns {access.column} to {end - 1} of row {access.row}, which has "
                f"{self.shape.columns}"
            )
        return slice(access.column, end)

    def _read(self, access: Access) -> Floats:
        """Columns of the banks that a command touches, [bank, column, lane]."""
        return self.row(access.row)[access.banks, self._columns(access)]

    def _write(self, access: Access, contents: Floats) -> None:
        self.row(access.row)[access.banks, self._columns(access)] = contents

    def _places(self, access: Access) -> NDArray[np.int64]:
        """Buffer columns of an access."""
        if access.buffer[-1] >= self.shape.buffer_columns:
            raise SimulationError(
                f"buffer columns {access.buffer[0]} to {access.buffer[-1]}: the global buffer has "
                f"{self.shape.buffer_columns}"
            )
        return access.buffer

    def _pairs(self, access: Access) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Registers and units of an access, to be broadcast to [unit, repetition]."""
        return access.registers[None, :], self.shape.units[access.banks][:, None]

    # ---- what commands do; the result is what they read, [repetition, values] -------------------

    def load_buffer(self, access: Access) -> None:
        self._buffer[self._places(access)] = access.data

    def load_bias(self, access: Access) -> None:
        self._results[access.registers] = access.data

    def multiply_accumulate(self, access: Access) -> None:
        arithmetic = self.shape.arithmetic
        products = arithmetic.multiply(self._read(access), self._buffer[self._places(access)])
        sums = arithmetic.column_sums(products)  # [bank, column] or [bank, column, lane]
        units = self.shape.units[access.banks]
        for index, register in enumerate(access.registers):
            before = self._results[register, units]
            self._results[register, units] = arithmetic.add(before, sums[:, index])

    def read_result(self, access: Access) -> Floats:
        return self.shape.arithmetic.operand.round(self._results[access.registers])

    def read_activation(self, access: Access) -> Floats:
        return self.shape.arithmetic.operand.round(self._activations[access.registers])

    def activation(self, access: Access) -> None:
        if access.function not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise SimulationError(f"no activation function {access.function!r}: {known}")
        results = self._results[access.registers]
        self._activations[access.registers] = FUNCTIONS[access.function](results)

    def multiply(self, access: Access) -> None:
        columns, group = self._read(access), self.shape.group
        products = self.shape.arithmetic.multiply(columns[0::group], columns[1::group])
        columns[2::group] = self.shape.arithmetic.operand.round(products)
        self._write(access, columns)

    def copy_to_buffer(self, access: Access) -> None:
        self._buffer[self._places(access)] = self._read(access)[0]

    def copy_to_bank(self, access: Access) -> None:
        self._write(access, self._buffer[self._places(access)])

    def write(self, access: Access) -> None:
        if len(access.banks) == 1:
            self._write(access, access.data)
            return
        columns = self._read(access)
        columns[:, :, access.lane] = access.data.T
        self._write(access, columns)

    def read(self, access: Access) -> Floats:
        contents = self._read(access)
        return np.asarray(contents[0], dtype=np.float32)

    def clear_results(self, access: Access) -> None:
        self._results[...] = 0.0

    def load_result(self, access: Access) -> None:
        self._results[self._pairs(access)] = self._read(access)

    def add_to_result(self, access: Access) -> None:
        pairs = self._pairs(access)
        sums = self.shape.arithmetic.add(self._results[pairs], self._read(access))
        self._results[pairs] = sums

    def multiply_result(self, access: Access) -> None:
        pairs = self._pairs(access)
        products = self.shape.arithmetic.multiply(self._results[pairs], self._read(access))
        self._results[pairs] = products

    def load_positive(self, access: Access) -> None:
        self._results[self._pairs(access)] = np.maximum(self._read(access), 0.0)

    def store_result(self, access: Access) -> None:
        results = self._results[self._pairs(access)]
        self._write(access, self.shape.arithmetic.operand.round(results))


# To add an effect: a method above, a line here, and its name in `Does` of spec/pim.py.
EFFECTS: Final[Mapping[str, Callable[[FunctionalChannel, Access], Floats | None]]] = {
    "load_buffer": FunctionalChannel.load_buffer,
    "load_bias": FunctionalChannel.load_bias,
    "multiply_accumulate": FunctionalChannel.multiply_accumulate,
    "read_result": FunctionalChannel.read_result,
    "read_activation": FunctionalChannel.read_activation,
    "activation": FunctionalChannel.activation,
    "multiply": FunctionalChannel.multiply,
    "copy_to_buffer": FunctionalChannel.copy_to_buffer,
    "copy_to_bank": FunctionalChannel.copy_to_bank,
    "write": FunctionalChannel.write,
    "read": FunctionalChannel.read,
    "clear_results": FunctionalChannel.clear_results,
    "load_result": FunctionalChannel.load_result,
    "add_to_result": FunctionalChannel.add_to_result,
    "multiply_result": FunctionalChannel.multiply_result,
    "load_positive": FunctionalChannel.load_positive,
    "store_result": FunctionalChannel.store_result,
}


class FunctionalMemory:
    """All channels of a memory of computing banks."""

    def __init__(self, shape: BankShape, channels: int) -> None:
        self.channels = tuple(FunctionalChannel(shape) for _ in range(channels))

    def run(self, program: PimProgram, operands: Sequence[Sequence[Operand]], size: int) -> Floats:
        """Run a program on all channels; `operands` has a list for each of them.

        The result has `size` values, 0 where nothing is read. Raises SimulationError where
        operands and macros differ.
        """
        result = np.zeros(size, dtype=np.float32)
        for number, channel in enumerate(self._programs(program)):
            self.channels[number].run(channel, operands[number], result, program.first_row)
        return result

    def _programs(self, program: PimProgram) -> list[ChannelProgram]:
        """The program of each channel, in order; the last channels may have none."""
        alike = [group for group in program.channels for _ in range(group.channels)]
        idle = ChannelProgram(macros=np.zeros((0, 4), dtype=np.int64), channels=1)
        return alike + [idle] * (len(self.channels) - len(alike))


def shape_of(spec: PimSpec) -> BankShape:
    """Sizes and effects of a description.

    Raises SpecError for a column or register command that does not say what it does.
    """
    silent = [
        name
        for name, command in spec.commands.items()
        if command.does is None and command.role in ("column", "register")
    ]
    if silent:
        listed = ", ".join(silent[:EXAMPLES]) + (", ..." if len(silent) > EXAMPLES else "")
        raise SpecError(
            f"{spec.name}: functional mode needs `does` of every column and register command; "
            f"missing for {listed} (allowed: {', '.join(EFFECTS)}, none)"
        )
    return BankShape(
        banks=spec.banks,
        columns=spec.row_bytes // spec.burst_bytes,
        lanes=spec.lanes,
        buffer_columns=spec.buffer_bytes // spec.burst_bytes,
        registers=spec.accumulators,
        units=_units(spec),
        group=spec.numbers.group,
        does={name: command.does or "none" for name, command in spec.commands.items()},
        touched=cache(config_of(spec).touched),
        arithmetic=Arithmetic(
            operand=FORMATS[spec.numbers.operand],
            accumulator=FORMATS[spec.numbers.accumulator],
            has_tree=spec.numbers.adder_tree,
        ),
    )


def _units(spec: PimSpec) -> NDArray[np.int64]:
    """Instance of the level `numbers.unit` that each bank belongs to; inner levels count faster."""
    levels = list(spec.bank_levels)
    inner = [spec.bank_levels[name] for name in levels[levels.index(spec.numbers.unit) + 1 :]]
    return np.arange(spec.banks) // math.prod(inner)


def _unknown(*shape: int) -> Floats:
    return np.full(shape, np.nan, dtype=np.float32)
