"""Functions of vectors: rows are dealt out to threads, a row alone keeps one thread busy."""

from __future__ import annotations

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.cost import KernelCost, Traffic, kernel_cost
from bankwidth.devices.cpu.instructions import Counts, times, total
from bankwidth.spec.cpu_library import ConversionSpec, FunctionSpec


def function_cost(
    chip: Chip, function: FunctionSpec, rows: int, width: int, moved_bytes: float
) -> KernelCost:
    """`moved_bytes` of operands and results pass the last cache."""
    each = -(-rows // chip.threads)
    threads = -(-rows // each)
    return kernel_cost(
        chip,
        busiest=_rows(function, each, width, 1),
        counts=_rows(function, rows, width, threads),
        traffic=Traffic(llc=moved_bytes),
        threads=threads,
        detail=f"{rows} rows of {width} on {threads} threads",
    )


def _rows(function: FunctionSpec, rows: int, width: int, threads: int) -> Counts:
    return total(
        [
            times(function.element, rows * width),
            times(function.row, rows),
            times(function.thread, threads),
        ]
    )


def conversion_cost(
    chip: Chip, conversion: ConversionSpec, rows: int, width: int, calls: float, alone: bool
) -> KernelCost:
    """Rows of x made ready for products, `calls` times; by one thread where `alone`."""
    counts = times(conversion.instructions, calls * rows * width / conversion.values)
    each = rows if alone else -(-rows // chip.threads)
    threads = 1 if alone else -(-rows // each)
    return kernel_cost(
        chip,
        busiest=times(counts, each / rows),
        counts=counts,
        traffic=Traffic(),
        threads=threads,
        detail=f"{rows} rows of {width} on {threads} threads",
    )
