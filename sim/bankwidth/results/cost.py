"""Runs compared by what they cost."""

from __future__ import annotations

from bankwidth.errors import UserError
from bankwidth.results.result import Result


def cost_efficiency(ours: Result, other: Result) -> float:
    """Tokens per dollar of a run over those of another: 2.0 is twice as many for the same money.

    Raises UserError for a run without tokens, or of a machine without a price.
    """
    return _tokens_per_dollar(ours) / _tokens_per_dollar(other)


def _tokens_per_dollar(result: Result) -> float:
    if result.tokens_per_dollar is not None:
        return result.tokens_per_dollar
    if not result.tokens:
        raise UserError(f"{result.title}: no tokens, so there are none per dollar")
    raise UserError(f"{result.title}: what it costs is unknown, set price: of {result.machine!r}")
