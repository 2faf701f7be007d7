"""Instruction counts by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Counts = Mapping[str, float]  # class -> instructions


def times(counts: Counts, factor: float) -> dict[str, float]:
    """Each count times a factor."""
    return {name: count * factor for name, count in counts.items()}


def total(parts: Iterable[Counts]) -> dict[str, float]:
    """Class by class."""
    summed: dict[str, float] = {}
    for part in parts:
        for name, count in part.items():
            summed[name] = summed.get(name, 0.0) + count
    return summed
