"""Techniques, in the order in which they are applied. To add one: a file, a line here, and its
options in spec/techniques."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bankwidth.errors import SpecError
from bankwidth.operators.techniques import (
    attention_at_kv,
    chunked_prefill,
    eviction,
    expert_cache,
    heads,
    kv_offload,
    kv_quant,
    moe_routing,
    paged,
    parallel,
    phase_split,
    shared_prefix,
    sparse_attention,
    speculative,
    weight_quant,
    weight_streaming,
    xquant,
)
from bankwidth.operators.techniques.base import Technique
from bankwidth.spec.techniques import TechniquesSpec
from bankwidth.spec.techniques.kv import contradictory

_WIDEST: Final = 40  # of a list of options, in what a run says of itself
_NONE: Final[tuple[Any, ...]] = ([], {}, None)

TECHNIQUES: Final[tuple[Technique, ...]] = (
    heads.TECHNIQUE,
    shared_prefix.TECHNIQUE,
    speculative.TECHNIQUE,
    chunked_prefill.TECHNIQUE,
    moe_routing.TECHNIQUE,
    eviction.TECHNIQUE,
    sparse_attention.TECHNIQUE,
    kv_quant.TECHNIQUE,
    paged.TECHNIQUE,
    xquant.TECHNIQUE,
    kv_offload.TECHNIQUE,
    parallel.TECHNIQUE,
    weight_quant.TECHNIQUE,
    expert_cache.TECHNIQUE,
    weight_streaming.TECHNIQUE,
    attention_at_kv.TECHNIQUE,
    phase_split.TECHNIQUE,
)


def chosen(spec: TechniquesSpec | None) -> list[tuple[Technique, Any]]:
    """Techniques that are on, with their options, in the order of application.

    Raises SpecError for those that make no sense together, wherever each was turned on.
    """
    if spec is None:
        return []
    problems = [f"techniques: {name}: {why}" for (name,), why in contradictory(spec)]
    if problems:
        raise SpecError("\n".join(problems))
    given = [(technique, getattr(spec, technique.name)) for technique in TECHNIQUES]
    return [(technique, options) for technique, options in given if options is not None]


def described(steps: Sequence[tuple[Technique, Any]]) -> str:
    """Techniques that are on as a command line has them: `kv_quant:keys=2,group=32, paged`."""
    return ", ".join(_described(technique.name, options) for technique, options in steps)


def _described(name: str, options: Any) -> str:
    given = options.model_dump(exclude_unset=True, exclude={"source"}, by_alias=True)
    values = ",".join(
        f"{key}={_short(value)}" for key, value in given.items() if value not in _NONE
    )
    return f"{name}:{values}" if values else name


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _WIDEST or not isinstance(value, list | dict) else f"({len(value)})"
