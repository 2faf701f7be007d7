"""Operands of AiM's commands in the making."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.numbers import Floats
from bankwidth.devices.pim.operands import Operand
from bankwidth.mapping.dealing import ceil_div, pieces_of
from bankwidth.mapping.pim_geometry import PimGeometry

Places = NDArray[np.int64]  # where values belong in a result
OfChannels = list[list[Operand]]
NO_FUNCTION: Final = ""


class OperandList:
    """The operands of one channel in the making."""

    def __init__(self, geometry: PimGeometry) -> None:
        self.geometry = geometry
        self.operands: list[Operand] = []

    def columns_of(self, values: NDArray[Any]) -> Floats:
        """Values in columns, [column, lane], zeros behind the last."""
        lanes = self.geometry.lanes
        padded = np.zeros(ceil_div(len(values), lanes) * lanes, dtype=np.float32)
        padded[: len(values)] = values
        return padded.reshape(-1, lanes)

    def load(self, values: NDArray[Any]) -> int:
        """A vector into the global buffer, from its start on; its columns."""
        data = self.columns_of(values)
        self.operands.append(Operand(command="WR_GB", count=len(data), data=data))
        return len(data)

    def set_registers(self, bias: Floats) -> None:
        """[register, bank]"""
        self.operands.append(Operand(command="WR_BIAS", count=len(bias), step=1, data=bias))

    def send_back(self, places: Places) -> None:
        """Registers from what was read for these places."""
        self.operands.append(
            Operand(command="WR_BIAS", count=len(places), step=1, sent_back=places)
        )

    def multiply(self, start: int, columns: int, register: int, buffer_column: int = 0) -> None:
        """Columns of all banks from `start` on, rows laid end to end."""
        self.operands.append(
            Operand(
                command="MAC_ABK",
                count=columns,
                column=start % self.geometry.config.columns,
                buffer_column=buffer_column,
                register=register,
            )
        )

    def read(self, places: Places, function: str = NO_FUNCTION) -> None:
        """Registers to the host, through a function if there is one."""
        command = "RD_MAC"
        if function:
            activation = Operand(command="AF", count=len(places), step=1, function=function)
            self.operands.append(activation)
            command = "RD_AF"
        self.operands.append(Operand(command=command, count=len(places), step=1, places=places))

    def write(self, command: str, start: int, data: Floats, lane: int = 0) -> None:
        """Columns of one bank, or one element of a column of all."""
        column = start % self.geometry.config.columns
        self.operands.append(
            Operand(command=command, count=len(data), column=column, lane=lane, data=data)
        )

    def dot_products(
        self,
        starts: Sequence[int],
        columns: int,
        places: Places,  # [start, bank]
        *,
        buffer_columns: Sequence[int] | None = None,
        bias: Floats | None = None,  # [start, bank]
        sends_back: bool = False,
        function: str = NO_FUNCTION,
    ) -> None:
        """Per start one result in every bank, as many at a time as there are registers."""
        begins = buffer_columns or [0] * len(starts)
        biases = np.zeros(places.shape, np.float32) if bias is None else bias
        for i in range(0, len(starts), self.geometry.accumulators):
            together = slice(i, i + self.geometry.accumulators)
            if sends_back:
                self.send_back(places[together])
            else:
                self.set_registers(biases[together])
            for register, (start, begin) in enumerate(
                zip(starts[together], begins[together], strict=True)
            ):
                self.multiply(start, columns, register, begin)
            self.read(places[together], function)


def cut_vector(geometry: PimGeometry, vector: NDArray[Any]) -> list[NDArray[Any]]:
    """A vector in pieces that the global buffer holds."""
    ends = np.cumsum(pieces_of(len(vector), geometry.buffer_elements))
    return np.split(vector, ends[:-1])
