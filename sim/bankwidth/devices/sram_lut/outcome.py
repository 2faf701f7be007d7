"""What a product took: cycles, where they went, and what energy is charged for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bankwidth.devices.sram_lut.commands import Phase, Program
from bankwidth.devices.sram_lut.costs import Costs
from bankwidth.devices.sram_lut.gemv import product_steps
from bankwidth.devices.sram_lut.product import Chip, Product
from bankwidth.devices.sram_lut.slice_run import PARTS, SliceRun
from bankwidth.devices.sram_lut.tiling import Tiling
from bankwidth.devices.sram_lut.work import GroupWork, by_round


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one product on the whole chip.

    `split` is where the time of the array that ends last went, in cycles: build, lookup (with
    products where there are no tables), stream (waiting for numbers, and rows of them that took the
    port), reduce, convert, read (results out), clear. It sums to `cycles`.
    """

    cycles: int
    split: Mapping[str, int]
    phase_cycles: Mapping[Phase, int]  # of all arrays of all slices
    port_rows: int  # of all arrays
    bus_bits: int  # of all slices
    ideal_cycles: int  # all arrays of the chip at work all the time
    tiling: Tiling


def outcome_of(
    chip: Chip, costs: Costs, product: Product, run: SliceRun, work: GroupWork
) -> Outcome:
    """From the slice that was run to the chip; `work` is of all groups of inputs."""
    tiling = run.tiling
    lane_tiles = -(-product.lanes // chip.lanes)
    used = min(chip.slices, lane_tiles * tiling.outer_parts)
    phases = _phase_cycles(costs, product, run, work, lane_tiles)
    arrays = chip.slices * chip.hardware.arrays
    return Outcome(
        cycles=run.cycles,
        split=_split(run),
        phase_cycles=phases,
        port_rows=run.port_rows * used,
        bus_bits=run.bus_ck * used * chip.slice_bus_bits,
        ideal_cycles=sum(phases.values()) // arrays,
        tiling=tiling,
    )


def _split(run: SliceRun) -> dict[str, int]:
    parts = dict(zip(PARTS, run.parts[run.last].tolist(), strict=True))
    no_lookups = np.zeros_like(run.work.lookups)
    builds = by_round(GroupWork(no_lookups, run.work.builds), run.tiling).clip(0)
    build = int(builds.sum(axis=(0, 1)).reshape(-1)[run.last])
    return {
        "build": build,
        "lookup": parts["work"] - build,
        "stream": parts["wait"] + parts["write"],
        "reduce": parts["reduce"],
        "convert": parts["convert"],
        "read": parts["read"],
        "clear": parts["clear"],
    }


def _phase_cycles(
    costs: Costs, product: Product, run: SliceRun, work: GroupWork, lane_tiles: int
) -> dict[Phase, int]:
    """Of all arrays, by what their commands are for."""
    from bankwidth.devices.sram_lut.kernel_slice import P_CLEAR_CK, P_CONVERT_CK, P_SUM_ADD_CK

    tiling, params = run.tiling, run.params
    units = lane_tiles * tiling.member_tiles
    per_part = tiling.part_inputs // tiling.rows.group
    arrays = -(-len(run.work.lookups) // per_part)  # of a unit, with inputs
    sends = (arrays - 1) * tiling.outer_parts + tiling.outer_parts - 1
    cycles = {
        Phase.BUILD: int(work.builds.sum()) * lane_tiles,
        Phase.LOOKUP: int(work.lookups.sum()) * lane_tiles,
        Phase.REDUCE: int(params[P_SUM_ADD_CK]) * sends * units,
        Phase.CONVERT: int(params[P_CONVERT_CK]) * units,
        Phase.OTHER: int(params[P_CLEAR_CK]) * units * arrays * tiling.outer_parts,
    }
    if product.algorithm == "multiply":
        cycles |= _without_tables(costs, product, run, cycles.pop(Phase.LOOKUP))
    return {phase: count for phase, count in cycles.items() if count}


def _without_tables(costs: Costs, product: Product, run: SliceRun, cycles: int) -> dict[Phase, int]:
    """Cycles of products as those of operands, products and sums."""
    steps = product_steps(run.tiling.rows, product.group, product.index.value_bits, signed=True)
    shares = costs.by_phase(Program(steps.commands))
    whole = sum(shares.values())
    return {phase: cycles * share // whole for phase, share in shares.items()}
