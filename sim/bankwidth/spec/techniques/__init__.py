"""Options of the techniques that change what a model computes, reads and keeps.

To add one: its options in a file here, a line below, and what it does in operators/techniques.
"""

from __future__ import annotations

from bankwidth.spec.base import Spec

__all__ = ["TechniquesSpec"]


class TechniquesSpec(Spec):
    """Techniques that are on, each with its options. docs/techniques.md describes them."""
