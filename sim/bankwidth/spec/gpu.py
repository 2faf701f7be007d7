"""A GPU: streaming multiprocessors (SMs), their rates per number format, and the L2 they share."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal

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
    unknown,
)
from bankwidth.spec.dtypes import DTYPES, Dtype
from bankwidth.spec.interconnect import InterconnectSpec
from bankwidth.spec.library import LibrarySpec
from bankwidth.spec.matmul_kernels import MatmulKernelsSpec, Share
from bankwidth.spec.moe_kernels import MoeKernelsSpec
from bankwidth.spec.vector_kernels import VectorKernelsSpec

# Accumulators leave a quarter of the registers for addresses and operands.
ACCUMULATOR_SHARE = Fraction(3, 4)
ACCUMULATOR_BYTES = 4


class GpuEnergySpec(Spec):
    """Energy of the chip without its memories."""

    flop_pj: dict[Dtype, Pj] = Field(description="per tensor-core flop; a multiply-add is 2 flops")
    vector_flop_pj: dict[Dtype, Pj] = Field(description="per flop of the vector units")
    l2_pj_per_bit: PjPerBit = Field(description="a bit read from or written to the L2")
    shared_pj_per_bit: PjPerBit = Field(description="a bit read from or written to shared memory")
    sm_pj_per_bit: PjPerBit = Field(
        description="a bit that enters an SM: registers, instructions and addresses to use it"
    )
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
    l2_warm: Share = Field(description="of the L2, in which activations stay for the next kernel")
    sustained_slowdown: Annotated[float, Field(ge=0)] = Field(
        description="of compute in kernels long enough to run into the power limit"
    )
    libraries: dict[str, LibrarySpec] = Field(min_length=1, description="kernel libraries by name")
    library: str = Field(description="the one that runs; of `libraries`")
    matmul: MatmulKernelsSpec
    vector_kernels: VectorKernelsSpec
    moe: MoeKernelsSpec | None = Field(
        default=None, description="kernels of mixtures of experts; absent: it runs none"
    )
    interconnect: InterconnectSpec | None = Field(
        default=None, description="links to the other GPUs of its node; absent: it has none"
    )
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
        yield from _no_tiles(data)
        yield from _unknown_library(data)

    @property
    def kernels(self) -> LibrarySpec:
        """Of the library that runs."""
        return self.libraries[self.library]

    def tiles(self) -> list[tuple[int, int]]:
        """(m, n) of the library's output tiles whose accumulators the registers hold."""
        return self.tiles_of(self.matmul)

    def tiles_of(self, kernels: MatmulKernelsSpec) -> list[tuple[int, int]]:
        """The same of other kernels."""
        known = {tile for family in kernels.tiles for tile in family.tiles()}
        return sorted(tile for tile in known if _fits(tile, self.registers_bytes))


def _unknown_library(data: object) -> Iterator[Relation]:
    name, known = pick(data, "library"), list(pick_mapping(data, "libraries"))
    if isinstance(name, str) and known and name not in known:
        yield ("library",), unknown("library", name, known)


def _fits(tile: tuple[int, int], registers_bytes: int) -> bool:
    return ACCUMULATOR_BYTES * tile[0] * tile[1] <= ACCUMULATOR_SHARE * registers_bytes


def _no_tiles(data: object) -> Iterator[Relation]:
    """The smallest tile of a family must fit; larger ones of it are left out."""
    registers, families = pick_bytes(data, "registers_bytes"), pick(pick(data, "matmul"), "tiles")
    for index, family in enumerate(families if isinstance(families, list | tuple) else ()):
        sides = [pick(family, side) for side in ("m", "n")]
        if not registers or not all(_sizes(side) for side in sides):
            continue  # said elsewhere
        m, n = (min(side) for side in sides)
        if not _fits((m, n), registers):
            need = ACCUMULATOR_BYTES * m * n
            yield (
                ("matmul", "tiles", index),
                f"{m} x {n} results need {need} bytes, more than 3/4 of the registers",
            )


def _sizes(side: object) -> bool:
    return isinstance(side, list | tuple) and bool(side) and all(isinstance(n, int) for n in side)


def _same_dtypes(data: object, rates: str, energy: object, energies: str) -> Iterator[Relation]:
    key = energies.removesuffix("_pj")
    known = pick_mapping(energy, energies)
    for dtype in pick_mapping(data, rates):
        if known and dtype in DTYPES and dtype not in known:
            yield ("energy", key), f"no energy for {dtype}, which has a rate"
