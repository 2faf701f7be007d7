"""One slice of compute SRAM on its clock: who has the bus, what each array's port does, and when.

Arrays stand in units of `parts`: a unit makes the sums of one tile of lanes for some members, each
of its arrays for a part of the inputs. Work comes in waves (as many units at once as there are
arrays for) of rounds (as many inputs as a buffer holds). The bus serves, in this order: the numbers
of each round, array by array, to all units with the same tile at once, each with its index bits;
when a wave is over, the sums on their way to the unit's first array, and out.

Rules. The bus and a bank's port serve one transfer at a time, in order. A transfer starts when its
buffers are free. Rows that arrive while an array computes take its port for their cycles, and the
computation goes on behind them. A round is computed when its numbers are there.

Only numbers in and out; the readable face is engine.py.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# params[...]
(
    P_WAVES, P_ROUNDS, P_UNITS, P_PARTS, P_BUFFERS, P_ARRAYS_PER_BANK, P_MEMBERS_TILES,
    P_NUMBERS_BUS_CK, P_NUMBERS_BANK_CK, P_NUMBERS_PORT_CK, P_INDEX_BUS_CK,
    P_SUM_BUS_CK, P_SUM_BANK_CK, P_SUM_PORT_CK, P_SUM_ADD_CK, P_OUTER_LEVELS,
    P_CONVERT_CK, P_OUT_BUS_CK, P_OUT_BANK_CK, P_OUT_PORT_CK, P_CLEAR_CK,
) = range(21)  # fmt: skip
# parts[array, ...]: where an array's time went
WAIT, STOLEN, WORK, REDUCE, CONVERT, OUT, CLEAR = range(7)
NUM_PARTS = 7
# totals[...]
T_END, T_BUS_CK, T_PORT_ROWS, T_LAST = range(4)
NUM_TOTALS = 4


@njit(cache=True)
def run_slice(params: Ints, work: Ints, parts: Ints, totals: Ints) -> None:
    """Fill in `parts` and `totals`. work[wave, round, unit, part]: cycles, -1 where none."""
    units, per_unit, buffers = params[P_UNITS], params[P_PARTS], params[P_BUFFERS]
    arrays = units * per_unit
    end = np.zeros(arrays, dtype=np.int64)  # of what an array has been told so far
    start = np.zeros(arrays, dtype=np.int64)  # of the round that it computes last
    buffer_free = np.zeros((arrays, buffers), dtype=np.int64)
    banks = (arrays - 1) // params[P_ARRAYS_PER_BANK] + 1
    bank_free = np.zeros(banks, dtype=np.int64)
    bus_free = 0
    for wave in range(params[P_WAVES]):
        for array in range(arrays):
            end[array] += params[P_CLEAR_CK]
            parts[array, CLEAR] += params[P_CLEAR_CK]
            for buffer in range(buffers):
                buffer_free[array, buffer] = end[array]
        bus_free = _rounds(
            params, work[wave], parts, totals, end, start, buffer_free, bank_free, bus_free
        )
        bus_free = _reduce(params, work[wave], parts, totals, end, bank_free, bus_free)
        bus_free = _out(params, work[wave], parts, totals, end, bank_free, bus_free)
    last = 0
    for array in range(arrays):
        if end[array] > end[last]:
            last = array
    totals[T_LAST] = last
    totals[T_END] = end[last]


@njit(cache=True)
def _rounds(
    params: Ints,
    work: Ints,
    parts: Ints,
    totals: Ints,
    end: Ints,
    start: Ints,
    buffer_free: Ints,
    bank_free: Ints,
    bus_free: int,
) -> int:
    """Numbers in and computed with, round after round; when the bus is free again."""
    per_unit, per_tile = params[P_PARTS], params[P_MEMBERS_TILES]
    units = params[P_UNITS]
    for r in range(params[P_ROUNDS]):
        buffer = r % params[P_BUFFERS]
        for first in range(0, units, per_tile):
            beyond = min(first + per_tile, units)
            for part in range(per_unit):
                targets = 0
                ready = bus_free
                for unit in range(first, beyond):
                    if work[r, unit, part] >= 0:
                        array = unit * per_unit + part
                        targets += 1
                        ready = max(ready, buffer_free[array, buffer])
                        ready = max(ready, bank_free[array // params[P_ARRAYS_PER_BANK]])
                if targets == 0:
                    continue
                bus_ck = params[P_NUMBERS_BUS_CK] + targets * params[P_INDEX_BUS_CK]
                landed = ready + max(bus_ck, params[P_NUMBERS_BANK_CK])
                bus_free = ready + bus_ck
                totals[T_BUS_CK] += bus_ck
                for unit in range(first, beyond):
                    if work[r, unit, part] < 0:
                        continue
                    array = unit * per_unit + part
                    bank_free[array // params[P_ARRAYS_PER_BANK]] = landed
                    totals[T_PORT_ROWS] += params[P_NUMBERS_PORT_CK]
                    _land(params, parts, end, start, array, ready, landed)
                    parts[array, WAIT] += max(landed - end[array], 0)
                    start[array] = max(landed, end[array])
                    end[array] = start[array] + work[r, unit, part]
                    parts[array, WORK] += work[r, unit, part]
                    buffer_free[array, buffer] = end[array]
    return bus_free


@njit(cache=True)
def _land(
    params: Ints, parts: Ints, end: Ints, start: Ints, array: int, begins: int, landed: int
) -> None:
    """Rows that arrive between `begins` and `landed` take the port from what is being computed."""
    rows = params[P_NUMBERS_PORT_CK]
    for row in range(rows):
        arrives = begins + (row + 1) * (landed - begins) // rows
        if arrives > end[array]:
            break
        if arrives > start[array]:
            end[array] += 1
            parts[array, STOLEN] += 1


@njit(cache=True)
def _reduce(
    params: Ints, work: Ints, parts: Ints, totals: Ints, end: Ints, bank_free: Ints, bus_free: int
) -> int:
    """Sums of a unit's arrays to its first one, in a tree; then those of other slices."""
    per_unit = params[P_PARTS]
    stride = 1
    while stride < per_unit:
        for unit in range(params[P_UNITS]):
            if work[0, unit, 0] < 0:
                continue
            for part in range(0, per_unit - stride, 2 * stride):
                into = unit * per_unit + part
                if work[0, unit, part + stride] >= 0:
                    bus_free = _send(
                        params, parts, totals, end, bank_free, into + stride, into, bus_free
                    )
        stride *= 2
    for _ in range(params[P_OUTER_LEVELS]):
        for unit in range(params[P_UNITS]):
            if work[0, unit, 0] >= 0:
                into = unit * per_unit
                bus_free = _send(params, parts, totals, end, bank_free, into, into, bus_free)
    return bus_free


@njit(cache=True)
def _send(
    params: Ints,
    parts: Ints,
    totals: Ints,
    end: Ints,
    bank_free: Ints,
    source: int,
    into: int,
    bus_free: int,
) -> int:
    """The sums of one array to another, which adds them to its own."""
    from_bank = source // params[P_ARRAYS_PER_BANK]
    to_bank = into // params[P_ARRAYS_PER_BANK]
    begins = max(max(bus_free, end[source]), end[into])
    begins = max(begins, max(bank_free[from_bank], bank_free[to_bank]))
    passed = max(params[P_SUM_BUS_CK], params[P_SUM_PORT_CK])
    landed = begins + max(passed, params[P_SUM_BANK_CK])
    bank_free[from_bank] = landed
    bank_free[to_bank] = landed
    totals[T_BUS_CK] += params[P_SUM_BUS_CK]
    totals[T_PORT_ROWS] += 2 * params[P_SUM_PORT_CK]
    if source != into:
        parts[source, REDUCE] += landed - end[source]
        end[source] = landed
    parts[into, REDUCE] += landed + params[P_SUM_ADD_CK] - end[into]
    end[into] = landed + params[P_SUM_ADD_CK]
    free: int = begins + params[P_SUM_BUS_CK]
    return free


@njit(cache=True)
def _out(
    params: Ints, work: Ints, parts: Ints, totals: Ints, end: Ints, bank_free: Ints, bus_free: int
) -> int:
    """Sums converted where they are, and out over the bus."""
    per_unit = params[P_PARTS]
    for unit in range(params[P_UNITS]):
        if work[0, unit, 0] < 0:
            continue
        array = unit * per_unit
        end[array] += params[P_CONVERT_CK]
        parts[array, CONVERT] += params[P_CONVERT_CK]
    for unit in range(params[P_UNITS]):
        if work[0, unit, 0] < 0:
            continue
        array = unit * per_unit
        bank = array // params[P_ARRAYS_PER_BANK]
        begins = max(max(bus_free, end[array]), bank_free[bank])
        passed = max(params[P_OUT_BUS_CK], params[P_OUT_PORT_CK])
        landed = begins + max(passed, params[P_OUT_BANK_CK])
        bank_free[bank] = landed
        bus_free = begins + params[P_OUT_BUS_CK]
        totals[T_BUS_CK] += params[P_OUT_BUS_CK]
        totals[T_PORT_ROWS] += params[P_OUT_PORT_CK]
        parts[array, OUT] += landed - end[array]
        end[array] = landed
    return bus_free
