"""A GPU: streaming multiprocessors (SMs), their rates per number format, and the L2 they share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from bankwidth.spec.base import (
    Bytes,
    BytesPerNs,
    Count,
    DeviceSpec,
    Ghz,
    Mw,
    Ns,
    Pj,
    PjPerBit,
    Relation,
    Spec,
    Tflops,
    pick,
    pick_bytes,
    pick_mapping,
)
from bankwidth.spec.dtypes import DTYPES, Dtype


class TileSpec(Spec):
    """Shape of the output tile (m x n) that one thread block computes, k elements at a time."""

    m: Count
    n: Count
    k: Count


class GpuEnergySpec(Spec):
    """Energy of the chip without its memories."""

    flop_pj: dict[Dtype, Pj] = Field(description="per tensor-core flop; a multiply-add is 2 flops")
    vector_flop_pj: dict[Dtype, Pj] = Field(description="per flop of the vector units")
    l2_pj_per_bit: PjPerBit = Field(description="a bit read from or written to the L2")
    shared_pj_per_bit: PjPerBit = Field(description="a bit read from or written to shared memory")
    static_mw: Mw = Field(description="power of the whole chip that flows whatever it computes")


class GpuSpec(DeviceSpec):
    """One GPU without its memories. Rates are of the whole chip, dense, at the boost clock."""

    kind: Literal["gpu"]
    sms: Count
    clock_ghz: Ghz
    tensor_tflops: dict[Dtype, Tflops] = Field(min_length=1)
    vector_tflops: dict[Dtype, Tflops] = Field(min_length=1)
    exp_per_clock: Count = Field(description="special-function results (exp, tanh) per SM")
    l2_bytes: Bytes
    l2_bandwidth_bytes_per_ns: BytesPerNs = Field(description="reads that hit, whole chip")
    shared_bytes: Bytes = Field(description="shared memory per SM")
    registers_bytes: Bytes = Field(description="register file per SM")
    launch_ns: Ns = Field(description="gap between dependent kernels under graph replay")
    kernel_min_ns: Ns = Field(description="the shortest kernel, its launch included")
    block_ns: Ns = Field(description="start, prologue and epilogue of one thread block")
    stages: Count = Field(description="tiles of k in flight before the first multiply")
    tiles: list[TileSpec] = Field(min_length=1)
    energy: GpuEnergySpec

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Formats with a rate have an energy, fp32 vectors are there, tiles fit their SM."""
        energy = pick(data, "energy")
        for rates, energies in (
            ("tensor_tflops", "flop_pj"),
            ("vector_tflops", "vector_flop_pj"),
        ):
            yield from _same_dtypes(data, rates, energy, energies)
        if "fp32" not in pick_mapping(data, "vector_tflops"):
            yield ("vector",), "the fp32 rate is missing; formats without a rate compute at it"
        yield from _large_tiles(data)


def _large_tiles(data: object) -> Iterator[Relation]:
    """A block's fp32 results fill registers, two pieces of 16-bit operands shared memory."""
    registers, shared = pick_bytes(data, "registers_bytes"), pick_bytes(data, "shared_bytes")
    tiles = pick(data, "tiles")
    for index, tile in enumerate(tiles if isinstance(tiles, list | tuple) else ()):
        m, n, k = (pick(tile, field) for field in ("m", "n", "k"))
        if not all(isinstance(size, int) for size in (m, n, k)):
            continue  # the tile says so itself
        if registers and 4 * m * n > registers:
            yield ("tiles", index), f"{m} x {n} results need {4 * m * n} bytes of registers"
        if shared and 4 * k * (m + n) > shared:
            yield ("tiles", index), f"its operands need {4 * k * (m + n)} bytes of shared memory"


def _same_dtypes(data: object, rates: str, energy: object, energies: str) -> Iterator[Relation]:
    key = energies.removesuffix("_pj")
    known = pick_mapping(energy, energies)
    for dtype in pick_mapping(data, rates):
        if known and dtype in DTYPES and dtype not in known:
            yield ("energy", key), f"no energy for {dtype}, which has a rate"
