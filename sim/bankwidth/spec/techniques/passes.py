"""Options of the techniques that change which tokens go through the model together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick

Probability = Annotated[float, Field(ge=0, le=1)]


class ChunkedPrefillSpec(Spec):
    """Sarathi: a prompt in chunks, decode steps of other sequences along with them."""

    chunk: Count = Field(
        default=512, description="prompt tokens of a pass, of all sequences together"
    )
    decodes: Annotated[int, Field(ge=0)] = Field(
        default=0, description="other sequences that take a decode step with every chunk"
    )
    decode_context: Count = Field(
        default=1024, description="tokens that each of these attends to, the new one included"
    )


class SpeculativeSpec(Spec):
    """A draft of `gamma` tokens, checked in one pass of the model (Leviathan et al. 2023)."""

    draft: str | None = Field(
        default=None, description="the model that drafts: a shipped workload or a file of one"
    )
    layers: Count | None = Field(
        default=None,
        description="in place of another model: the first so many layers of the same, with its "
        "head and its cache (LayerSkip)",
    )
    gamma: Count = Field(default=4, description="tokens of a draft")
    acceptance: Probability = Field(
        default=0.8, description="probability that a drafted token is accepted, each as the others"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Somebody drafts."""
        given = [field for field in ("draft", "layers") if pick(data, field) is not None]
        if len(given) != 1:
            yield (
                (given[-1] if given else "draft",),
                "either `draft`, a model, or `layers`, the first of the same one, must be given",
            )

    @property
    def expected_tokens(self) -> float:
        """Of one step of a sequence: accepted ones and the one that the check gives (eq. 1)."""
        if self.acceptance == 1.0:
            return self.gamma + 1.0
        return float((1 - self.acceptance ** (self.gamma + 1)) / (1 - self.acceptance))


class PhaseSplitSpec(Spec):
    """Prompts on one machine, decode steps on another (Splitwise, DistServe)."""

    side: Literal["prefill", "decode"] = Field(
        description="whose part is run: prompts, whose keys and values are sent; or decode steps, "
        "which wait for them to arrive"
    )
    transfer: Literal["by_layer", "whole"] = Field(
        default="by_layer",
        description="by_layer: each layer's keys and values behind their products; whole: all of "
        "them at the end. Decode steps wait for all either way",
    )
