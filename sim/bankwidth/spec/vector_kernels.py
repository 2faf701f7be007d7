"""A library's norms, functions, rotations and look-ups on a chip: what their threads wait for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bankwidth.spec.base import Count, Spec

Share = Annotated[float, Field(gt=0, le=1)]
Cycles = Annotated[float, Field(ge=0)]


class VectorKernelsSpec(Spec):
    """Vector kernels on this chip. Cycles are of the SM clock."""

    threads: Count = Field(description="resident on one SM")
    load_cycles: Cycles = Field(
        description="wait for data that the L2 holds, while the whole chip loads"
    )
    memory_load_cycles: Cycles = Field(description="more of that for data in memory")
    l2_kept: Share = Field(description="of the L2, which what passed it last still fills")
