"""How attention lies in drives that compute it, and how much of it they read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from bankwidth.spec.base import Count, Relation, Spec, pick

Share = Annotated[float, Field(gt=0, le=1)]


class CsdMappingSpec(Spec):
    """Choices of machines whose drives compute attention.

    The defaults are those of InstInfer (HPCA 2025): dense, or with sparf two steps of selection,
    first of channels of the keys, then of tokens.
    """

    attention: Literal["dense", "sparf"] = Field(
        default="dense", description="dense: all keys and values; sparf: those that matter"
    )
    compression: Annotated[float, Field(ge=1)] = Field(
        default=8.0, description="sparf: one of so many channels of a key, and tokens, is selected"
    )
    rank: Count | None = Field(
        default=None, description="sparf: channels selected; default: head_dim / compression"
    )
    tokens: Count | None = Field(
        default=None, description="sparf: tokens selected; default: tokens / compression"
    )
    pages: Literal["share", "clustered"] = Field(
        default="share",
        description="sparf, pages that hold what was selected. share: by `page_level`; clustered: "
        "channels anywhere, tokens in runs of `run_tokens`",
    )
    page_level: Share = Field(
        default=0.5,
        description="share of the compression that choosing whole pages reaches. InstInfer: about "
        "half; the rest is filtered out behind the flash",
    )
    run_tokens: Count = Field(default=1, description="selected tokens that follow one another")
    key_channels: Count = Field(
        default=8,
        description="channels per page of the second copy of K, next to each other. InstInfer: 2 "
        "to 8, of 1024 to 256 tokens",
    )
    reserve_tokens: Count | None = Field(
        default=None,
        description="tokens per sequence that pages are kept for; default: those of the run",
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Choices of sparf do nothing in dense attention: naming them there is a mistake."""
        if pick(data, "attention") == "sparf":
            return
        for choice in ("compression", "rank", "tokens", "pages", "page_level", "run_tokens"):
            if isinstance(data, dict) and choice in data:
                yield (choice,), "only sparf selects: set attention: sparf, or leave this out"
