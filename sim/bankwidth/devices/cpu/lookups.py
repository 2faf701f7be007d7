"""Products by table look-up: the loops of T-MAC's kernel, counted.

A thread takes whole tiles of outputs times bit planes. In a tile, some tables (one per `group`
values of x) are loaded into registers; then the indices of all outputs of the tile go by, a
register of `2 lanes` packed ones for each table at a time, looked up in it and aggregated; what
came out is folded into the results. Every row of x has tables of its own.

T-MAC: Wei et al., EuroSys 2025 (arXiv 2407.00088), section 3; microsoft/T-MAC, intrins/tbl.cc.
"""

from __future__ import annotations

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.cost import KernelCost, kernel_cost
from bankwidth.devices.cpu.instructions import Counts, times, total
from bankwidth.devices.cpu.passes import memory_passes, share_of, traffic_of
from bankwidth.devices.cpu.products import Product
from bankwidth.spec.cpu_library import LookupSpec

PACKED = 2  # indices of four bits in a byte


def lookup_cost(chip: Chip, kernel: LookupSpec, p: Product, rows_per_pass: int) -> KernelCost:
    """Instructions of the thread with most tiles, and where its bytes come from."""
    n = p.n * p.batch
    share = share_of(1, n, chip.threads, granule=max(1, kernel.tile // kernel.bits))
    passes = -(-p.m // rows_per_pass)
    return kernel_cost(
        chip,
        busiest=times(_row(kernel, share.outputs, p.k), p.m),
        counts=times(_row(kernel, n, p.k), p.m),
        traffic=traffic_of(
            chip,
            share,
            weight_bytes=p.weight_bytes * share.outputs / p.n,
            all_weight_bytes=p.weight_bytes * p.batch,
            row_bytes=_table_bytes(kernel, p.k),
            rows_per_pass=rows_per_pass,
            outputs_together=max(1, kernel.tile // kernel.bits),
        ),
        threads=share.threads,
        memory_passes=memory_passes(chip, p.weight_bytes * p.batch, passes),
        detail=f"{p.m} x {n} x {p.k} by tables on {share.threads} threads",
    )


def _row(kernel: LookupSpec, outputs: float, k: int) -> Counts:
    """Of one row of x."""
    tiles = outputs * kernel.bits / kernel.tile
    registers = kernel.tile / (PACKED * kernel.lanes)  # of indices, for each table
    groups = -(-k // kernel.group)
    chunks = -(-groups // kernel.tables)
    once = total([kernel.lookup, kernel.aggregate])
    return total(
        [
            {"load": tiles * groups},  # the tables
            times(once, tiles * registers * groups),
            times(kernel.fold, tiles * registers * chunks),
            times(kernel.output, outputs * kernel.bits),
        ]
    )


def _table_bytes(kernel: LookupSpec, k: int) -> float:
    """Tables of a row of x: one entry of a byte for each lane's index."""
    return float(-(-k // kernel.group) * (1 << kernel.group))
