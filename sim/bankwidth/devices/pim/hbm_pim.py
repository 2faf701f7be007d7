"""Programs of HBM-PIM: matrix-vector products and element-wise kernels of one pseudo-channel.

A host that wants the units to compute parks all banks (one read each), broadcasts to all of them
(HAB), writes the instructions, starts the units and then drives them with column commands, eight to
a group; when it is done it goes back to single banks and parks them again. A tile of inputs is a
group of eight writes to the registers, and then a group of eight columns with each of them, one
column for each of a unit's eight results. Tiles lie in the even and the odd banks in turn; all even
ones are computed first. A result keeps 16 partial sums, one per lane: who reads it adds them up.

The order of commands is that of PIMSimulator's kernels (SAITPublic/PIMSimulator, commit b464dde):
what they send to a channel, and in which groups; their counts and cycles are met.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.config import PimConfig
from bankwidth.devices.pim.program import ChannelProgram, MacroList
from bankwidth.errors import SpecError

REGISTERS: Final = 8  # vectors per register file of a unit: a group of commands goes through them
ELEMENT_BYTES: Final = 2  # FP16
CRF_INSTRUCTIONS: Final = 8  # command registers that one burst writes
EVEN, ODD = 0, 1  # banks of a unit; with `bank` as the innermost level also their numbers
# Reserved rows, counted from the end, so that they stay where they are when a program moves.
CONTROL_ROW: Final = 0x3FFF - 0x4000
LEAVE_ROW: Final = 0x1FFF - 0x4000
ENTER_ROW: Final = 0x17FF - 0x4000
PARK_ROW: Final = 0x1000 - 0x4000
ENTER_BANKS: Final = (0, 1, 8, 9)  # even and odd, of two bank groups
END_CK: Final = 2  # until a read is back, as the reference counts: tCMD 1, and 1 to hand it over
READS: Final = ("RD", "MAC", "LOAD", "ADD", "MUL", "RELU")  # what its controller counts as reads
WRITES: Final = (
    "WR", "ENTER_HAB", "WR_MODE", "LEAVE_HAB", "WR_CRF", "START_PIM", "STOP_PIM", "WR_GRF", "STORE",
)  # fmt: skip
KERNELS: Final = ("gemv", "gemvtree", "add", "mul", "relu")


def lanes(config: PimConfig) -> int:
    """Elements of a column."""
    return config.burst_bytes // ELEMENT_BYTES


def units(config: PimConfig) -> int:
    """Compute units of the pseudo-channel: as many as a broadcast has even banks."""
    return len(config.touched("MAC", EVEN))


def tiles_of(config: PimConfig, outputs: int, inputs: int) -> tuple[int, int]:
    """How often the units go through a matrix, and the tiles of inputs each time."""
    passes = -(-outputs // (units(config) * REGISTERS))
    return passes, -(-inputs // (lanes(config) * REGISTERS))


def gemv_columns(config: PimConfig, outputs: int, inputs: int) -> tuple[int, int]:
    """Columns of a bank that the matrix takes, and those of the results behind them."""
    passes, tiles = tiles_of(config, outputs, inputs)
    return passes * -(-tiles // 2) * REGISTERS * REGISTERS, passes * REGISTERS


def gemv_rows(config: PimConfig, outputs: int, inputs: int) -> int:
    """Rows per bank of a matrix and its results."""
    return -(-sum(gemv_columns(config, outputs, inputs)) // config.columns)


def gemv(config: PimConfig, *, outputs: int, inputs: int, reads_results: bool = False) -> MacroList:
    """`outputs` dot products of a vector of `inputs`, partial sums left in the odd banks.

    With `reads_results` the host reads them afterwards. Raises SpecError for sizes below 1.
    """
    passes, tiles = _checked(config, outputs, inputs)
    first_result, results = gemv_columns(config, outputs, inputs)
    macros = MacroList(config)
    _begin(macros, config, instructions=6)  # per bank of a unit MAC and JUMP, then NOP and EXIT
    for i in range(passes):
        _column(macros, "START_PIM", EVEN)
        for bank in (EVEN, ODD):
            for tile in range(bank, tiles, 2):
                _dot_products(macros, i * -(-tiles // 2) + tile // 2, bank)
        _group(macros, "STORE", first_result + i * REGISTERS, ODD)
        _column(macros, "STOP_PIM", EVEN)
    _end(macros, config)
    if reads_results:
        for bank in config.touched("MAC", ODD):
            macros.add_stream("RD", first_result, results, bank)
        macros.barrier()
    return macros


def gemv_tree(config: PimConfig, *, outputs: int, inputs: int) -> MacroList:
    """As `gemv`, but every tile's partial sums are kept, and added up in pairs by the host.

    The sums are cleared after each tile with zeros, which a row of every bank holds.
    Raises SpecError for sizes below 1.
    """
    passes, tiles = _checked(config, outputs, inputs)
    first_result, _ = gemv_columns(config, outputs, inputs)
    zeros = first_result + -(-passes * tiles * REGISTERS // config.columns) * config.columns
    macros = MacroList(config)
    for bank in range(config.banks):
        macros.add_stream("WR", zeros, REGISTERS, bank)
    macros.barrier()
    # per bank of a unit MAC, JUMP, NOP and MUL; JUMP where there are more tiles than two; EXIT
    _begin(macros, config, instructions=8 + (tiles > 2) + 1)
    for i in range(passes):
        _column(macros, "START_PIM", EVEN)
        for tile in range(tiles):
            _dot_products(macros, i * -(-tiles // 2) + tile // 2, tile % 2)
            _group(macros, "STORE", first_result + (i * tiles + tile) * REGISTERS, ODD)
            _group(macros, "MUL", zeros, EVEN)
        _column(macros, "STOP_PIM", EVEN)
    _end(macros, config)
    return macros


def elementwise(config: PimConfig, kind: str, *, elements: int) -> MacroList:
    """add or mul of two vectors, or relu of one, that lie in rows of all banks.

    Raises SpecError for another kind, no elements, or more than the banks hold.
    """
    if kind not in ("add", "mul", "relu") or elements < 1:
        raise SpecError(f"{kind} of {elements} elements: add, mul or relu, of at least 1")
    steps = ("RELU",) if kind == "relu" else ("LOAD", kind.upper())
    tiles = -(-elements // (lanes(config) * config.banks * REGISTERS))
    rows = -(-tiles * REGISTERS // config.columns)  # of each vector
    _check_rows(config, rows * (len(steps) + 1), f"{kind} of {elements} elements")
    macros = MacroList(config)
    # per bank of a unit the steps and NOP; JUMP where there is more than one tile; EXIT
    _begin(macros, config, instructions=2 * (len(steps) + 1) + (tiles > 1) + 1)
    _column(macros, "START_PIM", EVEN)
    for tile in range(tiles):
        for bank in (EVEN, ODD):
            for vector, name in enumerate((*steps, "STORE")):
                first = vector * rows * config.columns
                _group(macros, name, first + tile * REGISTERS, bank)
    _column(macros, "STOP_PIM", EVEN)
    _end(macros, config)
    return macros


def kernel_program(config: PimConfig, kernel: str, outputs: int, inputs: int) -> NDArray[np.int64]:
    """One of KERNELS of a pseudo-channel; for add, mul and relu `outputs` are the elements.

    Raises SpecError for an unknown kernel, sizes below 1, and more than the banks hold.
    """
    if kernel.startswith("gemv"):
        rows = gemv_rows(config, outputs, inputs)
        _check_rows(config, rows, f"a matrix of {outputs} x {inputs}")
    match kernel:
        case "gemv":
            return gemv(config, outputs=outputs, inputs=inputs).build()
        case "gemvtree":
            return gemv_tree(config, outputs=outputs, inputs=inputs).build()
    return elementwise(config, kernel, elements=outputs).build()


def traffic(config: PimConfig, macros: NDArray[np.int64]) -> tuple[int, int]:
    """Column commands of a program, as the reference's controller counts them: reads, writes."""
    counts = ChannelProgram(macros=macros, channels=1).counts(len(config.names))
    reads, writes = (
        sum(int(counts[config.index(name)]) for name in names) for names in (READS, WRITES)
    )
    return reads, writes


def _checked(config: PimConfig, outputs: int, inputs: int) -> tuple[int, int]:
    if outputs < 1 or inputs < 1:
        raise SpecError(f"a matrix of {outputs} x {inputs}: at least 1 x 1")
    return tiles_of(config, outputs, inputs)


def _check_rows(config: PimConfig, rows: int, what: str) -> None:
    if rows > config.rows:
        raise SpecError(f"{what} needs {rows} rows of every bank of its channel, of {config.rows}")


def _group(macros: MacroList, name: str, first: int, bank: int) -> None:
    """A command for each register, on consecutive columns; they lie in one row."""
    macros.add_stream(name, first, REGISTERS, bank)
    macros.barrier()


def _column(macros: MacroList, name: str, bank: int, row: int = CONTROL_ROW) -> None:
    macros.add(name, 1, row, bank)
    macros.barrier()


def _dot_products(macros: MacroList, place: int, bank: int) -> None:
    """A tile of inputs to the registers, and its products with the tile at `place` in the banks."""
    macros.add("WR_GRF", REGISTERS, CONTROL_ROW, ODD)
    macros.barrier()
    for register in range(REGISTERS):  # of the inputs; a column for each register of the results
        _group(macros, "MAC", (place * REGISTERS + register) * REGISTERS, bank)


def _begin(macros: MacroList, config: PimConfig, *, instructions: int) -> None:
    """From single banks to all of them, and the instructions of the units."""
    _park(macros, config)
    for bank in ENTER_BANKS[:-1]:
        macros.add("WR", 1, ENTER_ROW, bank)
    _column(macros, "ENTER_HAB", ENTER_BANKS[-1], ENTER_ROW)
    macros.add("WR_CRF", -(-instructions // CRF_INSTRUCTIONS), CONTROL_ROW, ODD)
    macros.barrier()


def _end(macros: MacroList, config: PimConfig) -> None:
    """Back to single banks."""
    macros.add("WR_MODE", 1, LEAVE_ROW, EVEN)
    _column(macros, "LEAVE_HAB", ODD, LEAVE_ROW)
    _park(macros, config)


def _park(macros: MacroList, config: PimConfig) -> None:
    """A read of every bank, bank groups in turn."""
    per_group = len(ENTER_BANKS)
    for bank in range(per_group):
        for group in range(0, config.banks, per_group):
            macros.add("RD", 1, PARK_ROW, group + bank)
    macros.barrier()
