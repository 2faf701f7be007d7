"""A request on CENT: means of its tokens' figures over the lengths that the cache goes through.

CENT's processing takes every 128th length. A prompt is read token by token, as a decode step each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bankwidth.validate.cent_model import Cut, TokenFigures, cent_system, token_figures

PROMPT: Final = 512
STEP: Final = 128
PHASES: Final = ("prefill", "decoding", "end2end")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFigures:
    """One phase of a request: the columns of CENT's processed table."""

    latency_s: float
    tokens_per_s: float
    token_mj: float
    power_w: float


def request_cut(model: str, pipeline: int, tensor: int) -> Cut:
    """The cut of a model; where each layer is a stage, a device's channels are shared out."""
    system = cent_system(model)
    stages = -(-system.layers // system.parallel.devices) if pipeline == system.layers else 1
    return Cut(model=model, pipeline=pipeline, tensor=tensor, channels=system.channels // stages)


def request_figures(cut: Cut, phase: str, total_tokens: int) -> RequestFigures:
    """Figures of a phase of PHASES; the request has `total_tokens`, PROMPT of them its prompt."""
    first, last = {
        "prefill": (0, PROMPT),
        "decoding": (PROMPT, total_tokens),
        "end2end": (0, total_tokens),
    }[phase]
    figures = [token_figures(cut, tokens) for tokens in range(first + STEP, last + 1, STEP)]
    return RequestFigures(
        latency_s=mean(figures, "token_ms") * (last - first) / 1e3,
        tokens_per_s=mean(figures, "tokens_per_s"),
        token_mj=mean(figures, "token_mj"),
        power_w=mean(figures, "power_w"),
    )


def mean(figures: Sequence[TokenFigures], name: str) -> float:
    """Mean of one figure."""
    return math.fsum(getattr(figure, name) for figure in figures) / len(figures)
