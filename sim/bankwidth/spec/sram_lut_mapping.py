"""How products lie in compute SRAM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.activations import ActivationsSpec
from bankwidth.spec.base import Count, Spec


class PatternSpec(Spec):
    """What a repeated pattern of bits saves; none of it changes a result."""

    zeros: bool = Field(default=True, description="a pattern of zeros is not looked up")
    runs: bool = Field(
        default=True,
        description="a pattern at several bit positions is added once for each term of their sum "
        "in non-adjacent form: 1 + 2 + 4 as 8 - 1, sign extensions as one",
    )
    needed_entries: bool = Field(
        default=True, description="entries of a table that nothing looks up are not built"
    )


class SramLutMappingSpec(Spec):
    """Choices of machines with compute SRAM; the defaults are those taken for SAIL."""

    algorithm: Literal["weight_tables", "activation_tables", "multiply"] = Field(
        default="weight_tables",
        description="weight_tables: tables of weights, looked up with the bits of activations, "
        "used again by the batch; activation_tables: the other way round, used again by the "
        "outputs; multiply: no tables",
    )
    group: Annotated[int, Field(ge=1, le=8)] = Field(
        default=4, description="numbers of a table (N_BW): it has 2^group entries"
    )
    activation_width: Annotated[int, Field(ge=1, le=16)] = Field(
        default=8, description="bits that activations are quantised to"
    )
    accumulator_width: Annotated[int, Field(ge=2, le=63)] | None = Field(
        default=None, description="bits; default: as many as no sum can exceed"
    )
    pattern: PatternSpec = Field(default_factory=PatternSpec)
    activations: ActivationsSpec = Field(
        default_factory=ActivationsSpec,
        description="the numbers whose bits are looked up (of weights, in activation_tables): they "
        "say how often patterns repeat, and change no other cost",
    )
    convert: Literal["arrays", "host"] = Field(
        default="arrays",
        description="where activations are quantised and results made floating point",
    )
    most_rows: Count | None = Field(
        default=None,
        description="rows of x up to which a product runs in the arrays; the default engine takes "
        "those with more. Default: all in the arrays",
    )
