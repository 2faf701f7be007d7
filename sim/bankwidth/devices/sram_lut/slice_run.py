"""One way to deal a product, run on one slice: what the kernel needs, and what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.array_rows import ArrayRows
from bankwidth.devices.sram_lut.commands import OP, Op, Program, ProgramBuilder
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.dequantiser import Dequantiser
from bankwidth.devices.sram_lut.gemv import (
    add_received,
    clear_accumulators,
    load_numbers,
    read_accumulators,
)
from bankwidth.devices.sram_lut.product import Chip, Product
from bankwidth.devices.sram_lut.tiling import Tiling
from bankwidth.devices.sram_lut.work import GroupWork, by_round, heaviest_part

Ints = NDArray[np.int64]
# Where an array's time goes, in the order of the kernel's parts.
PARTS: Final = ("wait", "write", "work", "reduce", "convert", "read", "clear")


@dataclass(frozen=True, slots=True)
class SliceRun:
    """What happened in the slice with most to do. `parts` [arrays, PARTS] are cycles."""

    tiling: Tiling
    work: GroupWork  # of that slice
    cycles: int
    bus_ck: int
    port_rows: int
    last: int  # the array that ended last
    parts: Ints
    params: Ints


def least_cycles(tiling: Tiling, work: GroupWork) -> int:
    """No run is shorter: all arrays computing, evenly, all the time."""
    cycles = int(work.lookups.sum() + work.builds.sum()) // tiling.outer_parts
    return cycles * tiling.lane_tiles // (tiling.units * tiling.parts)


def run_slice_of(
    chip: Chip, costs: Costs, product: Product, tiling: Tiling, work: GroupWork
) -> SliceRun:
    """Run a tiling on the kernel."""
    from bankwidth.devices.sram_lut.kernel_slice import (
        NUM_PARTS,
        NUM_TOTALS,
        T_BUS_CK,
        T_END,
        T_LAST,
        T_PORT_ROWS,
        run_slice,
    )

    of_slice = heaviest_part(work, tiling)
    params = _params(chip, costs, product, tiling)
    parts = np.zeros((tiling.units * tiling.parts, NUM_PARTS), dtype=np.int64)
    totals = np.zeros(NUM_TOTALS, dtype=np.int64)
    run_slice(params, by_round(of_slice, tiling), parts, totals)
    return SliceRun(
        tiling=tiling,
        work=of_slice,
        cycles=int(totals[T_END]),
        bus_ck=int(totals[T_BUS_CK]),
        port_rows=int(totals[T_PORT_ROWS]),
        last=int(totals[T_LAST]),
        parts=parts,
        params=params,
    )


def _params(chip: Chip, costs: Costs, product: Product, tiling: Tiling) -> Ints:
    """In the order of the kernel's names."""
    rows, lanes = tiling.rows, min(chip.lanes, product.lanes)
    numbers = rows.round_inputs * lanes * product.numbers.wire_bits
    indices = rows.round_inputs * rows.members * product.index.wire_bits
    sums = rows.members * lanes * rows.accumulator_bits
    results = rows.members * lanes * product.out_bits
    received = add_received(rows)
    return np.array(
        [
            tiling.waves,
            tiling.rounds,
            tiling.units,
            tiling.parts,
            rows.buffers,
            chip.arrays_per_bank,
            tiling.member_tiles,
            _cycles(numbers, chip.slice_bus_bits),
            _cycles(numbers, chip.bank_port_bits),
            costs.total(load_numbers(rows, 0, rows.round_inputs)),
            _cycles(indices, chip.slice_bus_bits),
            _cycles(sums, chip.slice_bus_bits),
            _cycles(sums, chip.bank_port_bits),
            costs.total(read_accumulators(rows)),
            costs.total(_without_writes(received)),
            (tiling.outer_parts - 1).bit_length(),
            _convert_cycles(costs, rows) if product.convert else 0,
            _cycles(results, chip.slice_bus_bits),
            _cycles(results, chip.bank_port_bits),
            costs.total(_results_out(rows.members, product.out_bits)),
            costs.total(clear_accumulators(rows)),
        ],
        dtype=np.int64,
    )


def _convert_cycles(costs: Costs, rows: ArrayRows) -> int:
    """Of all members' sums of an array."""
    scales, member = _dequantising_cycles(costs, rows.accumulator_bits)
    return scales + rows.members * member


@lru_cache(maxsize=64)
def _dequantising_cycles(costs: Costs, bits: int) -> tuple[int, int]:
    """Scales in, and one member's sums; where these lie changes no cost."""
    dequantiser = Dequantiser(bits)
    return costs.total(dequantiser.scales()), costs.total(dequantiser.member(dequantiser.rows))


def _cycles(bits: float, per_clock: int) -> int:
    return math.ceil(bits / per_clock)


def _without_writes(program: Program) -> Program:
    return Program(program.commands[program.commands[:, OP] != Op.WRITE])


def _results_out(members: int, bits: int) -> Program:
    builder = ProgramBuilder()
    for member in range(members):
        builder.read(0, bits, f"y{member}")
    return builder.build()
