"""What a technique can change: the model's shape, its number formats, its passes, its operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bankwidth.operators.model import ModelShape
from bankwidth.operators.passes import Dtypes, Pass
from bankwidth.operators.trace import Trace

NamedPass = tuple[str, Pass]  # prefix of its blocks' names, and the pass


def _same_shape(model: ModelShape, options: Any) -> ModelShape:
    return model


def _same_dtypes(dtypes: Dtypes, options: Any) -> Dtypes:
    return dtypes


def _same_passes(passes: list[NamedPass], options: Any) -> list[NamedPass]:
    return passes


def _same_trace(trace: Trace, options: Any, model: ModelShape) -> Trace:
    return trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Technique:
    """A technique by the paper it follows; `options` of each step are its model in spec/techniques.

    Steps run in this order, each for all techniques before the next step: `shape` of the model,
    `dtypes`, `passes` (in prefill, decode and generate), `trace`: the operators. `trace` may leave
    kv_bytes, far_bytes and activation_bytes as they are: they are worked out from the operators
    afterwards; weight_bytes are its own to keep right. Steps raise SpecError for options that make
    no sense for the model or together. `example` is what a command line says, after --with.
    """

    name: str
    paper: str
    example: str
    shape: Callable[[ModelShape, Any], ModelShape] = _same_shape
    dtypes: Callable[[Dtypes, Any], Dtypes] = _same_dtypes
    passes: Callable[[list[NamedPass], Any], list[NamedPass]] = _same_passes
    trace: Callable[[Trace, Any, ModelShape], Trace] = _same_trace
