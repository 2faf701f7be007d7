"""Weights in flash: what of a model stays in memory, and how the rest comes in for each token.

After Alizadeh et al., "LLM in a flash" (ACL 2024): feed-forward parts most of whose neurons are 0
for a token need only the rows and columns of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, NsOrZero, Relation, Spec, pick, unknown

Share = Annotated[float, Field(gt=0, le=1)]


class NeuronsSpec(Spec):
    """Which neurons of a feed-forward part tokens use, and what is kept of those read.

    The share that any of k tokens in a row uses grows as k to a power: `active` k^`growth`.
    """

    active: Share = Field(description="share of a layer's neurons that are read for one token")
    growth: Share = Field(
        description="1: every token uses other neurons; near 0: all tokens use the same"
    )
    window: Annotated[int, Field(ge=0)] = Field(
        default=0, description="tokens whose neurons stay in memory; 0: none stay"
    )
    bundled: bool = Field(
        default=False,
        description="what belongs to a neuron lies together and is read as one piece, else its "
        "row of each matrix is a piece",
    )

    def used(self, tokens: int) -> float:
        """Share of the neurons that any of some tokens in a row uses."""
        return min(1.0, self.active * tokens**self.growth) if tokens else 0.0

    def held(self, tokens: int) -> float:
        """Share in memory while `tokens` new tokens compute."""
        return self.used(max(self.window, tokens))

    def read(self, tokens: int) -> float:
        """Share that is read for `tokens` new tokens: those that the window does not hold."""
        return self.used(self.window + tokens) - self.used(self.window)


class PredictorSpec(Spec):
    """Some layers' product of two thin matrices, which tells the neurons that a token uses."""

    layers: Count = Field(description="so many layers, from where those named before end")
    rank: Count = Field(description="width between the two matrices")


class FlashMappingSpec(Spec):
    """Weights that lie in a drive; `place.weights` is where those lie that are in memory.

    Reading waits for what comes before it, and what uses it waits for all of it.
    """

    memory: str = Field(description="the drive that holds all weights")
    resident: Literal["nothing", "fitting", "attention"] = Field(
        description="nothing: each product's weights are read for each token; fitting: what the "
        "memory has no room for is, of each product the same share; attention: feed-forward "
        "parts are"
    )
    neurons: NeuronsSpec | None = Field(
        default=None, description="with resident: attention. Default: feed-forward parts are whole"
    )
    predictor: list[PredictorSpec] = Field(
        default_factory=list, description="layer by layer; default: the neurons are known for free"
    )
    staging: str | None = Field(
        default=None,
        description="memory that neurons are read into, to be copied from there to the weights'. "
        "Default: the weights' own",
    )
    reader: str | None = Field(
        default=None, description="engine that reads neurons; default: the one that uses them"
    )
    bookkeeping_ns: NsOrZero = Field(
        default=0.0, description="per layer and token: which neurons leave and come, without copies"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Neurons are those of feed-forward parts; what belongs to them needs them."""
        resident, neurons = pick(data, "resident"), pick(data, "neurons")
        if neurons is not None and resident in ("nothing", "fitting"):
            yield ("neurons",), f"weights are whole with resident: {resident}; set it to attention"
        for field in ("predictor", "staging", "reader"):
            if pick(data, field) and neurons is None:
                yield (field,), "belongs to neurons, of which there are none: describe neurons too"

    def rank_of(self, layer: int) -> int:
        """Rank of a layer's predictor; the last one's goes on, 0 is none."""
        first = 0
        for part in self.predictor:
            first += part.layers
            if layer < first:
                return part.rank
        return self.predictor[-1].rank if self.predictor else 0


def wrong_flash_names(
    mapping: object, engines: list[str], memories: list[str]
) -> Iterator[Relation]:
    """Every name that `mapping.flash` refers to exists."""
    flash = pick(mapping, "flash")
    for field, what, known in (
        ("memory", "memory", memories),
        ("staging", "memory", memories),
        ("reader", "engine", engines),
    ):
        name = pick(flash, field)
        if isinstance(name, str) and name not in known:
            yield ("mapping", "flash", field), unknown(what, name, known)
