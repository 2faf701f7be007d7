"""Products of unpacked weights: dot products of rows of x, block by block."""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.devices.cpu.chip import Chip
from bankwidth.devices.cpu.cost import KernelCost, kernel_cost
from bankwidth.devices.cpu.instructions import Counts, times, total
from bankwidth.devices.cpu.passes import memory_passes, share_of, traffic_of
from bankwidth.spec.cpu_library import ProductSpec

CACHE_ROWS = 16  # outputs for which a pass of rows of x stays in the L1 or comes from the L2 once


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """`batch` products x[m, k] W[k, n]; bytes are of one W and of one row of x as converted."""

    m: int
    n: int
    k: int
    batch: int
    weight_bytes: float
    row_bytes: float


def product_cost(chip: Chip, kernel: ProductSpec, p: Product, rows_per_pass: int) -> KernelCost:
    """Instructions of the busiest thread, and where its bytes come from."""
    n = p.n * p.batch  # each of the products' outputs has rows of x of its own
    share = share_of(p.m, n, chip.threads)
    parts = _parts(kernel, share.outputs, share.rows, p.k)
    passes = -(-share.rows // rows_per_pass)
    return kernel_cost(
        chip,
        busiest=total(parts),
        counts=total(_parts(kernel, n, p.m, p.k)),
        traffic=traffic_of(
            chip,
            share,
            weight_bytes=p.weight_bytes * share.outputs / p.n,
            all_weight_bytes=p.weight_bytes * p.batch,
            row_bytes=p.row_bytes,
            rows_per_pass=rows_per_pass,
            outputs_together=CACHE_ROWS,
        ),
        threads=share.threads,
        memory_passes=memory_passes(chip, p.weight_bytes * p.batch, passes),
        detail=f"{p.m} x {n} x {p.k} on {share.threads} threads, "
        f"{_unpacking(chip, parts)} % unpacking",
    )


def _unpacking(chip: Chip, parts: list[Counts]) -> int:
    """Share of the instructions' time that goes into unpacking, in percent."""
    unpack_ns, *others_ns = (chip.compute_ns(part) for part in parts)
    return round(100 * unpack_ns / (unpack_ns + sum(others_ns)))


def _parts(kernel: ProductSpec, outputs: float, rows: int, k: int) -> list[Counts]:
    blocks = outputs * -(-k // kernel.block)
    unpackings = -(-rows // kernel.rows_together)
    return [
        times(kernel.unpack, blocks * unpackings),
        times(kernel.multiply, blocks * rows),
        times(kernel.output, outputs * rows),
    ]
