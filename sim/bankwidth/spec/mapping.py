"""Where tensors live and which engine runs what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick, pick_mapping, unknown
from bankwidth.spec.csd_mapping import CsdMappingSpec
from bankwidth.spec.flash_mapping import FlashMappingSpec
from bankwidth.spec.offload import OffloadSpec
from bankwidth.spec.sram_lut_mapping import SramLutMappingSpec

ROLES: Final = ("weights", "kv", "activations")
FAR: Final = "far"  # what a technique keeps in a memory further away; not every machine has one
OPERATOR_KINDS: Final = (
    "matmul", "attention", "norm", "softmax", "elementwise", "rope", "embedding", "kv_append",
    "moe", "collective", "scan", "conv", "score", "select", "fetch", "kv_read",
    "unpack",
)  # fmt: skip
DEFAULT: Final = "default"


class PimMappingSpec(Spec):
    """How operators lie in banks that compute, and what is left to the host beside them.

    The defaults are the choices of PIM-GPT (Wu et al. 2024); a sweep may compare all of them.
    """

    heads: Literal["concatenated", "per_channel"] = Field(
        default="concatenated",
        description=(
            "concatenated: the heads of a key side by side in a row, tokens over all channels; "
            "per_channel: each head whole in one channel"
        ),
    )
    reuse: Literal["vector", "result"] = Field(
        default="vector",
        description=(
            "vector: a piece of the input stays in the global buffer for all outputs; result: "
            "outputs stay in their registers while the pieces of the input are loaded again"
        ),
    )
    rows: Literal["packed", "own"] = Field(
        default="packed",
        description=(
            "packed: a matrix lies end to end in the rows of its banks; own: each piece of an "
            "output's weights, as long as the global buffer, has a row to itself (reuse: result)"
        ),
    )
    partial_sums: Literal["host", "bank"] = Field(
        default="host",
        description=(
            "of an input longer than the global buffer: added by the host, or sent back as the "
            "bias of the next piece"
        ),
    )
    activation_function: Literal["host", "bank"] = Field(
        default="host",
        description="gelu, silu and relu after a product: by the host, or by the banks' table",
    )
    score: Literal["bank", "host"] = Field(
        default="bank", description="q K^T: in the banks, or by the host, which then reads K"
    )
    context: Literal["bank", "host"] = Field(
        default="bank", description="p V: in the banks, or by the host, which then reads V"
    )
    most_rows: Count | None = Field(
        default=None,
        description="rows of x up to which a product runs in the banks, one after the other; the "
        "default engine takes those with more. Default: all in the banks",
    )
    reserve_tokens: Count | None = Field(
        default=None,
        description="tokens per sequence that K and V have space for; default: those of the run",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The banks' table takes whole results only; rows of their own want results that stay."""
        if _chosen(data, "rows") == "own" and _chosen(data, "reuse") == "vector":
            yield ("rows",), "'own' needs results that stay in their registers: set reuse: result"
        is_split = _chosen(data, "reuse") == "vector" and _chosen(data, "partial_sums") == "host"
        if _chosen(data, "activation_function") == "bank" and is_split:
            yield (
                ("activation_function",),
                "'bank' needs whole results in the banks: set reuse: result or partial_sums: bank",
            )


def _chosen(data: object, field: str) -> Any:
    return pick(data, field) or PimMappingSpec.model_fields[field].default


class SharedProductsSpec(Spec):
    """Feed-forward products that two engines compute at once, each some of the columns."""

    engine: str = Field(description="that helps the one that `run` names")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(description="of the columns, its part")


class MappingSpec(Spec):
    """`place`: tensor role -> memory. `run`: operator kind -> engine, `default` for the rest.

    `pim` holds the choices that machines with computing banks have, `csd` those of drives.
    """

    place: dict[str, str] = Field(
        description="memory that holds weights, kv and activations; `far`, where there is one, "
        "holds what a technique keeps away from the engine (offloaded keys and values, experts)"
    )
    run: dict[str, str] = Field(description="engine that runs an operator kind; needs `default`")
    heads_together: Count | None = Field(
        default=None,
        description="heads of K and V that go through attention together, from the product that "
        "makes them on; the next ones' product runs meanwhile. Default: all heads at once",
    )
    shared_products: SharedProductsSpec | None = Field(
        default=None, description="feed-forward co-processing. Default: one engine computes it all"
    )
    pim: PimMappingSpec = Field(
        default_factory=PimMappingSpec, description="how operators lie in banks that compute"
    )
    offload: OffloadSpec = Field(
        default_factory=OffloadSpec, description="tensors that the engine's own memory cannot hold"
    )
    csd: CsdMappingSpec = Field(
        default_factory=CsdMappingSpec,
        description="how attention lies in drives that compute it, and what it reads",
    )
    sram_lut: SramLutMappingSpec = Field(
        default_factory=SramLutMappingSpec, description="how products lie in compute SRAM"
    )
    flash: FlashMappingSpec | None = Field(
        default=None, description="weights that are read from a drive. Default: all in memory"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Every role has a place, every operator kind an engine; no others are named."""
        place, run = pick_mapping(data, "place"), pick_mapping(data, "run")
        yield from _unknown_keys("place", place, "tensor role", (*ROLES, FAR))
        yield from _unknown_keys("run", run, "operator kind", (DEFAULT, *OPERATOR_KINDS))
        absent = [role for role in ROLES if role not in place]
        if place and absent:
            yield ("place",), f"no place for {', '.join(absent)}; every role needs a memory"
        if run and DEFAULT not in run:
            yield ("run",), "'default' is missing: the engine of all other operator kinds"


def _unknown_keys(
    field: str, found: object, what: str, known: tuple[str, ...]
) -> Iterator[Relation]:
    for key in found if isinstance(found, dict) else ():
        if key not in known:
            yield (field, key, "[key]"), unknown(what, key, list(known))
