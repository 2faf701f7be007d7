"""The numbers that go with HBM-PIM's programs: what the host sends, and where results belong.

It walks the order of `devices.pim.hbm_pim` and never looks at its macros: rows, banks and counts
come from those alone. Addresses within a tile are PIMSimulator's (PIMRank.cpp, b464dde): of a
group of eight columns each one goes to a result register of its own (the low bits of the column),
all of them against one input register (the bits above). Starting the units clears the registers.

Stated here because neither says it: output o of a pass belongs to unit o // 8, register o % 8; the
host adds the 16 lanes of a result in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.functional import FunctionalChannel, FunctionalMemory
from bankwidth.devices.pim.hbm_pim import (
    ENTER_BANKS,
    EVEN,
    ODD,
    REGISTERS,
    gemv_columns,
    lanes,
    tiles_of,
    units,
)
from bankwidth.devices.pim.numbers import Floats
from bankwidth.devices.pim.operands import NOWHERE, Operand
from bankwidth.mapping.dealing import ceil_div, shares_of
from bankwidth.mapping.pim_geometry import PimGeometry

ZEROS = np.float32(0.0)


class Tile(NamedTuple):
    """A pass's outputs against 128 inputs: which, and where its columns start in which banks."""

    first_output: int
    first_input: int
    first_column: int
    parity: int


def tiles(config: PimConfig, outputs: int, inputs: int) -> Iterator[Tile]:
    """All tiles of a product, pass after pass, the even banks' before the odd banks'."""
    passes, of_input = tiles_of(config, outputs, inputs)
    of_bank = ceil_div(of_input, 2)
    for i in range(passes):
        for parity in (EVEN, ODD):
            for tile in range(parity, of_input, 2):
                yield Tile(
                    first_output=i * units(config) * REGISTERS,
                    first_input=tile * lanes(config) * REGISTERS,
                    first_column=(i * of_bank + tile // 2) * REGISTERS * REGISTERS,
                    parity=parity,
                )


def load_weights(
    channel: FunctionalChannel, config: PimConfig, weights: NDArray[Any], first_row: int = 0
) -> None:
    """Put W[k, n] into the banks, padded with zeros to whole tiles."""
    group, per_tile = units(config) * REGISTERS, lanes(config) * REGISTERS
    k, n = weights.shape
    padded = np.zeros(
        (ceil_div(k, per_tile) * per_tile, ceil_div(n, group) * group), dtype=np.float32
    )
    padded[:k, :n] = weights
    for tile in tiles(config, n, k):
        rows = slice(tile.first_input, tile.first_input + per_tile)
        block = padded[rows, tile.first_output : tile.first_output + group]
        # [input register, lane, unit, result register] to [unit, column, lane]
        shaped = block.reshape(REGISTERS, lanes(config), units(config), REGISTERS)
        columns = shaped.transpose(2, 0, 3, 1).reshape(units(config), -1, lanes(config))
        banks = config.touched("MAC", tile.parity)
        channel.store(tile.first_column, columns, first_row, banks)


def gemv_operands(
    config: PimConfig, x: NDArray[Any], outputs: int, places: NDArray[np.int64]
) -> list[Operand]:
    """Operands of `hbm_pim.gemv` with its results read: x against `outputs` columns of W.

    `places` says where each output goes in the result.
    """
    sent = _in_tiles(config, x)
    first_result, results = gemv_columns(config, outputs, len(x))
    listed = _begin(config)
    group = units(config) * REGISTERS
    for first_output, of_pass in groupby(tiles(config, outputs, len(x)), lambda t: t.first_output):
        listed.append(Operand(command="START_PIM"))
        for tile in of_pass:
            listed.extend(_dot_products(config, tile, sent))
        first = first_result + first_output // group * REGISTERS
        listed.append(_registers(config, "STORE", first))
    listed.extend(_parked(config))
    listed.extend(_results(config, first_result, results, outputs, places))
    return listed


def gemv_tree_operands(config: PimConfig, x: NDArray[Any], outputs: int) -> list[Operand]:
    """Operands of `hbm_pim.gemv_tree`: results of every tile stay in the odd banks."""
    sent = _in_tiles(config, x)
    _, of_input = tiles_of(config, outputs, len(x))
    first_result, _ = gemv_columns(config, outputs, len(x))
    zeros = np.zeros((REGISTERS, lanes(config)), dtype=np.float32)
    listed = [Operand(command="WR", count=REGISTERS, data=zeros) for _ in range(config.banks)]
    listed.extend(_begin(config))
    in_order = sorted(tiles(config, outputs, len(x)), key=lambda t: (t.first_output, t.first_input))
    for number, tile in enumerate(in_order):
        if number % of_input == 0:
            listed.append(Operand(command="START_PIM"))
        listed.extend(_dot_products(config, tile, sent))
        listed.append(_registers(config, "STORE", first_result + number * REGISTERS))
        listed.append(_registers(config, "MUL", 0))  # by zeros: the sums start again
    return [*listed, *_parked(config)]


def elementwise_operands(config: PimConfig, kind: str, *, elements: int) -> list[Operand]:
    """Operands of `hbm_pim.elementwise`: vectors one behind the other in all banks."""
    steps = ("RELU", "STORE") if kind == "relu" else ("LOAD", kind.upper(), "STORE")
    per_tile = lanes(config) * config.banks * REGISTERS
    listed = [*_begin(config), Operand(command="START_PIM")]
    for tile in range(ceil_div(elements, per_tile)):
        groups = [_registers(config, name, tile * REGISTERS) for name in steps]
        listed.extend(groups * (ODD + 1))  # the even banks, then the odd ones
    return [*listed, *_parked(config)]


def _in_tiles(config: PimConfig, x: NDArray[Any]) -> Floats:
    """A vector in columns, [column, lane], padded with zeros to whole tiles."""
    per_tile = lanes(config) * REGISTERS
    padded = np.zeros(ceil_div(len(x), per_tile) * per_tile, dtype=np.float32)
    padded[: len(x)] = x
    return padded.reshape(-1, lanes(config))


def _dot_products(config: PimConfig, tile: Tile, sent: Floats) -> Iterator[Operand]:
    """Eight input registers, each against eight result registers."""
    first_sent = tile.first_input // lanes(config)
    yield Operand(command="WR_GRF", count=REGISTERS, data=sent[first_sent:][:REGISTERS])
    for index in range(REGISTERS):
        first = tile.first_column + index * REGISTERS
        yield _registers(config, "MAC", first, buffer_column=index, holds=True)


def _registers(config: PimConfig, command: str, first: int, **more: Any) -> Operand:
    """A column for each result register."""
    return Operand(command=command, count=REGISTERS, column=first % config.columns, step=1, **more)


# ---- products on all channels -------------------------------------------------------------------


class Part(NamedTuple):
    """What a channel has of W[k, n]; it may reach beyond its edges."""

    inputs: slice
    outputs: slice


def parts(geometry: PimGeometry, n: int, k: int) -> list[Part]:
    """Of each channel with work: groups of 64 outputs one after the other, the first channels with
    one more; with fewer groups than channels, several channels per group with a part of k each."""
    config = geometry.config
    group, per_tile = units(config) * REGISTERS, lanes(config) * REGISTERS
    groups, of_input = ceil_div(n, group), ceil_div(k, per_tile)
    shares = shares_of(groups, min(groups, geometry.channels))
    pieces = shares_of(of_input, max(1, min(of_input, geometry.channels // groups)))
    return [
        Part(inputs, outputs)
        for inputs in _slices(pieces, per_tile)
        for outputs in _slices(shares, group)
    ]


def _slices(shares: list[int], size: int) -> list[slice]:
    ends = np.cumsum(shares) * size
    return [slice(end - share * size, end) for share, end in zip(shares, ends, strict=True)]


def load_matmul(
    memory: FunctionalMemory, geometry: PimGeometry, weights: NDArray[Any], first_row: int = 0
) -> None:
    """Put W[k, n] into the banks of all channels."""
    for channel, part in zip(memory.channels, parts(geometry, *weights.shape[::-1]), strict=False):
        own = _padded(weights, part)
        load_weights(channel, geometry.config, own, first_row)


def _padded(weights: NDArray[Any], part: Part) -> Floats:
    own = weights[part.inputs, part.outputs]
    shape = (part.inputs.stop - part.inputs.start, part.outputs.stop - part.outputs.start)
    padded = np.zeros(shape, dtype=np.float32)
    padded[: own.shape[0], : own.shape[1]] = own
    return padded


def matmul_operands(geometry: PimGeometry, x: NDArray[Any], n: int) -> list[list[Operand]]:
    """Operands of `lower_hbm_pim.lower_matmul`: y[m, n] = x[m, k] W[k, n], row after row."""
    of_channels: list[list[Operand]] = [[] for _ in range(geometry.channels)]
    for listed, part in zip(of_channels, parts(geometry, n, x.shape[1]), strict=False):
        output = np.arange(part.outputs.start, part.outputs.stop)
        for row, vector in enumerate(x):
            places = np.where(output < n, row * n + output, NOWHERE)
            sent = np.zeros(part.inputs.stop - part.inputs.start, dtype=np.float32)
            own = vector[part.inputs]
            sent[: len(own)] = own
            listed.extend(gemv_operands(geometry.config, sent, len(output), places))
    return of_channels


# ---- common -------------------------------------------------------------------------------------


def _results(
    config: PimConfig, first: int, columns: int, outputs: int, places: NDArray[np.int64]
) -> Iterator[Operand]:
    """The host reads every unit's results: a column for each register and pass, 16 lanes each."""
    group = units(config) * REGISTERS
    for unit in range(units(config)):
        column = np.arange(columns)
        output = column // REGISTERS * group + unit * REGISTERS + column % REGISTERS
        known = np.where(output < outputs, output, 0)
        place = np.where(output < outputs, places[known], NOWHERE)
        yield Operand(
            command="RD",
            count=columns,
            column=first % config.columns,
            places=np.repeat(place[:, None], lanes(config), axis=1),
        )


def _begin(config: PimConfig) -> list[Operand]:
    """Parking, and the writes that leave single banks: their data are not numbers."""
    writes = len(ENTER_BANKS) - 1
    nothing = np.full((1, lanes(config)), ZEROS)
    return [*_parked(config), *(Operand(command="WR", data=nothing) for _ in range(writes))]


def _parked(config: PimConfig) -> list[Operand]:
    return [Operand(command="RD") for _ in range(config.banks)]
