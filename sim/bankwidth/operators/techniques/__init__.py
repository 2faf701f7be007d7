"""Techniques, in the order in which they are applied. To add one: a file, a line here, and its
options in spec/techniques."""

from __future__ import annotations

from typing import Any, Final

from bankwidth.operators.techniques.base import Technique
from bankwidth.spec.techniques import TechniquesSpec

TECHNIQUES: Final[tuple[Technique, ...]] = ()


def chosen(spec: TechniquesSpec | None) -> list[tuple[Technique, Any]]:
    """Techniques that are on, with their options, in the order of application."""
    if spec is None:
        return []
    given = [(technique, getattr(spec, technique.name)) for technique in TECHNIQUES]
    return [(technique, options) for technique, options in given if options is not None]
