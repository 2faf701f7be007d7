"""Options of the techniques that change how weights are stored, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Relation, Spec, pick

Share = Annotated[float, Field(gt=0, le=1)]
KEEP = "keep"  # in place of a format: as it is without the technique


class WeightQuantSpec(Spec):
    """Formats of weights: GPTQ, AWQ, MARLIN, SparseGPT, DFloat11 and their like.

    A format is a name of the grammar of operators/dtypes.py, such as int4_g128 or int4_g128_2of4.
    """

    format: str = Field(
        default="int4_g128", description="of the products of the layers, experts included"
    )
    head: str = Field(default=KEEP, description="of the head; `keep`: as it is")
    embedding: str = Field(default=KEEP, description="of the tables that are looked up")
    router: str = Field(default=KEEP, description="of the product that chooses experts")
    modules: dict[str, str] = Field(
        default_factory=dict,
        description="format by operator name, with * and ?, a layer's number before it where it is "
        "meant: {down: int8, 'shared_*': keep, 0.qkv: bf16}; goes before what is said above",
    )
    keep_layers: list[int] = Field(
        default_factory=list, description="numbers of layers that stay as they are, from 0"
    )
    activations: str | None = Field(
        default=None,
        description="format that the products are computed in, such as fp8 or int8; results are as "
        "before. Default: that of the activations, weights are converted on the way",
    )
    unpack: Literal["fused", "block"] | None = Field(
        default=None,
        description="fused: products read packed weights; block: a layer's are unpacked into a "
        "buffer before it. Default: block for dfloat11, fused for all others",
    )


class WeightStreamingSpec(Spec):
    """Weights in a memory further away: FlexGen; of neurons that are used: LLM in a flash.

    The share that any of k tokens in a row uses grows as k to a power: `active` k^`growth`.
    """

    near: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the layers' weights that stay near; of neurons: those that tokens "
        "use most",
    )
    active: Share | None = Field(
        default=None,
        description="share of a feed-forward part's neurons that a token uses. Default: all, every "
        "product of a layer is streamed; with it only feed-forward parts are",
    )
    growth: Share = Field(
        default=1.0, description="1: every token uses other neurons; near 0: all use the same"
    )
    near_hits: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="share of the used neurons that are among the near ones. Default: `near`",
    )
    rank: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="width between the two matrices of the predictor of each layer; 0: the "
        "neurons are known for free",
    )
    window: Annotated[int, Field(ge=0)] = Field(
        default=0, description="tokens whose neurons stay near; 0: none stay"
    )
    bundled: bool = Field(
        default=False,
        description="what belongs to a neuron lies together and is read as one piece",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """What is said of neurons needs a share of them."""
        if pick(data, "active") is not None:
            return
        for field in ("growth", "near_hits", "rank", "window", "bundled"):
            if pick(data, field) not in (None, cls.model_fields[field].default):
                yield (field,), "is said of neurons that tokens use: set active, their share"
