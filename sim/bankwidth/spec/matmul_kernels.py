"""Matrix multiplies of a library on one chip, and those that quantise their operand first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Bytes, BytesPerNs, Count, Ns, NsOrZero, Spec

Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(gt=0)]
Cycles = Annotated[float, Field(ge=0)]


class TileFamilySpec(Spec):
    """Output tiles of thread blocks: every `m` with every `n`, also turned if `either_way`."""

    m: list[Count] = Field(min_length=1)
    n: list[Count] = Field(min_length=1)
    either_way: bool = False

    def tiles(self) -> Iterator[tuple[int, int]]:
        """(m, n) of all of them; one may come twice."""
        for m, n in product(self.m, self.n):
            yield m, n
            if self.either_way:
                yield n, m


class MatmulKernelsSpec(Spec):
    """A library's matrix multiplies on this chip. Cycles are of the SM clock; rates per SM."""

    tiles: list[TileFamilySpec] = Field(min_length=1)
    start_ns: NsOrZero = Field(description="before the first load and after the last store")
    blocks: Literal["persistent", "paired"] = Field(
        description="persistent: one per SM goes from tile to tile, and stores one while it "
        "multiplies the next; paired: two to an SM up to 128 x 128, each stores at its end"
    )
    max_split: Count = Field(default=32, description="most pieces that k is cut into")
    step_bytes: Bytes = Field(description="of an operand's row along k in one step")
    prologue_cycles: Cycles = Field(description="first loads of a kernel until it multiplies")
    tensor_efficiency: Share = Field(description="of the tensor peak in the steps of a full tile")
    feed_bytes_per_cycle: Rate = Field(description="operands from the L2 into an SM")
    step_cycles: Cycles = Field(description="shortest step of k")
    store_bytes_per_cycle: Rate = Field(description="results out of an SM")
    split_ns: NsOrZero = Field(description="the second kernel that sums the pieces of split k")
    overlap: Annotated[float, Field(ge=1)] = Field(
        description="exponent p of memory and compute time together, (T^p + C^p)^(1/p)"
    )


class ScaledMatmulSpec(Spec):
    """8-bit products as serving libraries call them: x is quantised with one scale first.

    Kernels before the product: the largest magnitude of x, row by row, then x divided.
    """

    start_ns: NsOrZero = Field(description="of the kernels before the product, launch included")
    row_ns: Ns = Field(description="of the first kernel, per row of x: they wait for each other")
    bandwidth_bytes_per_ns: BytesPerNs = Field(description="of x through both kernels")
    kernels: MatmulKernelsSpec
