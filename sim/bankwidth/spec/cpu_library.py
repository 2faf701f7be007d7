"""A library of CPU kernels as data: the instructions that its loops execute, by class.

Counts are read off the loops of the library's sources. What a core makes of them (ports, caches,
clock) belongs to the CPU; what threads cost each other, and how the library splits work over them,
belongs here.

Classes: `alu` adds, compares and masks vectors; `shift` shifts, narrows, sums across lanes and
moves lanes to other registers; `chain` is a floating-point addition that waits for the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from bankwidth.errors import SpecError
from bankwidth.spec.base import (
    Count,
    DeviceSpec,
    NsOrZero,
    Relation,
    Spec,
    pick,
    pick_mapping,
    unknown,
)
from bankwidth.spec.dtypes import DTYPES, Dtype

CLASSES: Final = (
    "load", "store", "scalar", "alu", "shift", "lookup", "dot", "multiply", "fma", "convert",
    "chain",
)  # fmt: skip
VECTOR_CLASSES: Final = (
    "alu", "shift", "lookup", "dot", "multiply", "fma", "convert", "chain",
)  # fmt: skip
FUNCTIONS: Final = (
    "softmax", "rms", "layer", "add", "mul", "relu", "gelu", "silu", "silu_mul", "rope", "copy",
)  # fmt: skip


def _known_class(name: str) -> str:
    if name not in CLASSES:
        raise SpecError(unknown("instruction class", name, list(CLASSES)))
    return name


def _known_function(name: str) -> str:
    if name not in FUNCTIONS:
        raise SpecError(unknown("function", name, list(FUNCTIONS)))
    return name


InstructionClass = Annotated[str, AfterValidator(_known_class)]
Function = Annotated[str, AfterValidator(_known_function)]
Amount = Annotated[float, Field(ge=0)]
Instructions = dict[InstructionClass, Amount]


class ConversionSpec(Spec):
    """Rows of x on their way to the format that a product's kernel takes them in."""

    bytes_per_element: Annotated[float, Field(gt=0)] = Field(description="with its scales")
    values: Count = Field(description="elements that `instructions` are for")
    instructions: Instructions


class ProductSpec(Spec):
    """Dot products of rows of x with outputs' weights, block by block.

    The outputs' weights are unpacked once for `rows_together` rows of x; each row is then
    multiplied with them. Rows of x stay in the L1 or L2 for `outputs_together` outputs.
    """

    activation: str = Field(description="format that rows of x are converted to; of `activations`")
    block: Count = Field(description="weights that the instructions are for")
    rows_together: Count = Field(default=1, description="rows of x that share one unpacking")
    unpack: Instructions = Field(description="of a block, for `rows_together` rows")
    multiply: Instructions = Field(description="of a block, for each row of x")
    output: Instructions = Field(default_factory=dict, description="for each result")


class LookupSpec(Spec):
    """Products by table look-up, bit plane by bit plane (T-MAC).

    A table holds what `group` values of x add up to for every pattern of that many one-bit
    weights. A register of packed indices makes two look-ups (low and high half of its bytes).
    """

    activation: str = Field(description="the tables: how they are made; of `activations`")
    bits: Count = Field(description="bit planes of a weight")
    group: Count = Field(description="weights that one index stands for")
    lanes: Count = Field(description="indices that one look-up instruction takes")
    tile: Count = Field(description="outputs times bits of a tile; a thread takes whole tiles")
    tables: Count = Field(description="held in registers while a tile goes by")
    lookup: Instructions = Field(description="of a register of indices: load, split, look up")
    aggregate: Instructions = Field(
        description="of a register of indices, its look-ups added to those of the other tables"
    )
    fold: Instructions = Field(
        description="of the two sums that a register of indices has after `tables` of them: "
        "widened, converted, scaled and added to the results in memory"
    )
    output: Instructions = Field(default_factory=dict, description="for each result and bit plane")


class FunctionSpec(Spec):
    """Instructions of a function of vectors."""

    element: Instructions
    row: Instructions = Field(default_factory=dict, description="once per row (vector)")
    thread: Instructions = Field(default_factory=dict, description="once on each thread")


class CpuLibrarySpec(DeviceSpec):
    """Kernels, and how their work is split and joined."""

    kind: Literal["cpu_library"]
    activations: dict[str, ConversionSpec] = Field(
        default_factory=dict, description="formats of rows of x, by a name of the library's own"
    )
    products: dict[Dtype, ProductSpec] = Field(default_factory=dict, description="by weights")
    lookups: dict[Dtype, LookupSpec] = Field(
        default_factory=dict, description="by weights; they go before `products`"
    )
    stand_ins: dict[Dtype, Dtype] = Field(
        default_factory=dict, description="formats that run another one's kernel"
    )
    functions: dict[Function, FunctionSpec]
    converted_by: Literal["one", "all"] = Field(description="threads that convert rows of x")
    rows_per_pass: Count = Field(description="rows of x that go by the weights together")
    products_per_operator: Annotated[float, Field(ge=1)] = Field(
        default=1.0,
        description="calls that a product of the trace is: q, k and v, gate and up are one there",
    )
    regions: dict[str, Amount] = Field(
        description="times that the threads start and join, by operator kind or function; needs "
        "`default`; of products: per call"
    )
    region_ns: NsOrZero = Field(description="start and join of more than one thread")
    thread_ns: NsOrZero = Field(description="more of that for each thread")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Names that kernels refer to exist; all functions and a default for regions are there."""
        activations = list(pick_mapping(data, "activations"))
        kernels = {name: pick_mapping(data, name) for name in ("products", "lookups")}
        for kind, found in kernels.items():
            for dtype, kernel in found.items():
                name = pick(kernel, "activation")
                if isinstance(name, str) and name not in activations:
                    message = unknown("activation format", name, activations)
                    yield (kind, dtype, "activation"), message
        yield from _wrong_stand_ins(data, [*kernels["products"], *kernels["lookups"]])
        yield from _missing(data)

    def kernel(self, dtype: str) -> ProductSpec | LookupSpec | None:
        """The kernel for weights of a format; None without one."""
        name = dtype if dtype in self.formats else self.stand_ins.get(dtype, dtype)
        return self.lookups.get(name) or self.products.get(name)

    @property
    def formats(self) -> list[str]:
        """Of weights that have a kernel of their own."""
        return [*self.lookups, *(dtype for dtype in self.products if dtype not in self.lookups)]

    @property
    def known_formats(self) -> list[str]:
        """Of weights that it runs at all."""
        return [dtype for dtype in DTYPES if self.kernel(dtype) is not None]


def _wrong_stand_ins(data: object, formats: list[Any]) -> Iterator[Relation]:
    for dtype, name in pick_mapping(data, "stand_ins").items():
        if isinstance(name, str) and name in DTYPES and name not in formats:
            yield ("stand_ins", dtype), unknown("format with a kernel", name, list(formats))


def _missing(data: object) -> Iterator[Relation]:
    functions, regions = pick_mapping(data, "functions"), pick_mapping(data, "regions")
    absent = [name for name in FUNCTIONS if name not in functions]
    if functions and absent:
        yield ("functions",), f"no instructions for {', '.join(absent)}"
    if regions and "default" not in regions:
        yield ("regions",), "'default' is missing: the regions of all other operators"
