"""A product on the bits of the arrays: the programs of a tiling executed, array by array.

It deals numbers as `tiling.py` says, loads, builds, looks up and adds with the commands that the
clock is charged for, sends sums along the tree, and gives what the last arrays hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows
from bankwidth.devices.sram_lut.cells import Cells
from bankwidth.devices.sram_lut.commands import Program, ProgramBuilder
from bankwidth.devices.sram_lut.dequantiser import RESULT_ROW, SINGLE_BITS, Dequantiser
from bankwidth.devices.sram_lut.engine import rows_of
from bankwidth.devices.sram_lut.gemv import (
    Steps,
    add_received,
    clear_accumulators,
    load_numbers,
    product_steps,
    read_accumulators,
    table_steps,
)
from bankwidth.devices.sram_lut.product import Chip, Product
from bankwidth.devices.sram_lut.tiling import Tiling, tilings

Ints = NDArray[np.int64]


def product_of(
    chip: Chip,
    product: Product,
    numbers: Ints,
    *,
    scales: NDArray[np.float16] | None = None,
    tiling: Tiling | None = None,
) -> NDArray[Any]:
    """[members, lanes]: the sums over inputs of index [members, inputs] times numbers.

    `numbers` is [inputs, lanes]; a product that converts gives fp32, the sums times the `scales`
    of the lanes (default: 1). The tiling is the first that fits, unless one is given.
    """
    if scales is None:
        scales = np.ones(product.lanes, dtype=np.float16)
    if tiling is None:
        tiling = next(tilings(product.shape, chip.hardware, rows_of(chip, product)))
    dtype = np.float32 if product.convert else np.int64
    whole = np.zeros((len(product.values), product.lanes), dtype=dtype)
    for lanes in _slices(product.lanes, chip.lanes):
        for members in _slices(len(product.values), tiling.rows.members):
            part = replace(
                product, values=product.values[members], members=members.stop - members.start
            )
            last = _unit(chip, part, numbers[:, lanes], tiling)
            whole[members, lanes] = _results(last, tiling.rows, part, scales[lanes])
    return whole


def _slices(total: int, step: int) -> Iterator[slice]:
    for first in range(0, total, step):
        yield slice(first, min(first + step, total))


def _unit(chip: Chip, product: Product, numbers: Ints, tiling: Tiling) -> Cells:
    """One tile of lanes and its members: all arrays of all slices that share its inputs."""
    rows = replace(tiling.rows, members=len(product.values))
    group = rows.group
    outer_inputs = math.ceil(math.ceil(product.inputs / group) / tiling.outer_parts) * group
    firsts = []
    for outer in _slices(product.inputs, outer_inputs):
        parts = list(_slices(outer.stop - outer.start, tiling.part_inputs))
        arrays = [
            _array(chip, product, numbers, rows, slice(outer.start + p.start, outer.start + p.stop))
            for p in parts
        ]
        firsts.append(_tree(arrays, rows))
    return _tree(firsts, rows)


def _array(chip: Chip, product: Product, numbers: Ints, rows: ArrayRows, inputs: slice) -> Cells:
    """One array with all rounds of its part of the inputs done."""
    cells = Cells(chip.rows, chip.columns, chip.layout, chip.word_bits)
    cells.execute(clear_accumulators(rows))
    part = replace(product, values=product.values[:, inputs], inputs=inputs.stop - inputs.start)
    steps, data = _steps(rows, part), _index_data(part, chip.lanes)
    per_round = rows.round_inputs // rows.group
    for number, first in enumerate(range(0, part.inputs, rows.round_inputs)):
        count = min(rows.round_inputs, part.inputs - first)
        held = {f"w{i}": numbers[inputs.start + i] for i in range(first, first + count)}
        cells.execute(load_numbers(rows, first, count), held)
        if count % rows.group:  # numbers that the last group lacks
            lacking = rows.group - count % rows.group
            zeros = {f"w{first + count + i}": np.zeros(1, dtype=np.int64) for i in range(lacking)}
            cells.execute(load_numbers(rows, first + count, lacking), zeros)
        here = steps.group // per_round == number
        cells.execute(Program(steps.commands[here], tuple(data)), data)
    return cells


def _steps(rows: ArrayRows, product: Product) -> Steps:
    if product.algorithm == "multiply":
        return product_steps(rows, product.inputs, product.index.value_bits, signed=True)
    return table_steps(rows, product.look_up(), all_entries=not product.needed_entries)


def _index_data(product: Product, lanes: int) -> dict[str, Ints]:
    """Without tables: each member's number in all lanes, in the order of the commands."""
    if product.algorithm != "multiply":
        return {}
    every = np.ones(lanes, dtype=np.int64)
    flat = product.values.T.reshape(-1).astype(np.int64)
    return {f"x{i}": value * every for i, value in enumerate(flat)}


def _tree(arrays: list[Cells], rows: ArrayRows) -> Cells:
    """Sums sent from array to array, as the kernel does; the first one has them all."""
    stride = 1
    while stride < len(arrays):
        for first in range(0, len(arrays) - stride, 2 * stride):
            sent = arrays[first + stride].execute(read_accumulators(rows))
            received = {name.replace("y", "z"): values for name, values in sent.items()}
            arrays[first].execute(add_received(rows), received)
        stride *= 2
    return arrays[0]


def _results(
    cells: Cells, rows: ArrayRows, product: Product, scales: NDArray[np.float16]
) -> NDArray[Any]:
    """Sums as they leave the array that has them."""
    rows = replace(rows, members=len(product.values))
    if not product.convert:
        read = cells.execute(read_accumulators(rows))
        return np.stack([read[f"y{m}"][: len(scales)] for m in range(rows.members)])
    dequantiser = Dequantiser(rows.accumulator_bits)
    cells.execute(dequantiser.scales(), {"scale": scales.view(np.int16).astype(np.int64)})
    places = rows.accumulator(np.arange(rows.members)).tolist()
    return np.stack([_single(cells, dequantiser, row)[: len(scales)] for row in places])


def _single(cells: Cells, dequantiser: Dequantiser, row: int) -> NDArray[np.float32]:
    builder = ProgramBuilder()
    builder.read(RESULT_ROW, SINGLE_BITS, "y")
    bits = cells.execute(dequantiser.member(row).then(builder.build()))["y"]
    return bits.astype(np.int32).view(np.float32)
