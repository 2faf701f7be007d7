"""Where tensors live and which engine runs what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import Field

from bankwidth.spec.base import Relation, Spec, pick_mapping, unknown

ROLES: Final = ("weights", "kv", "activations")
OPERATOR_KINDS: Final = (
    "matmul", "attention", "norm", "softmax", "elementwise", "rope", "embedding", "kv_append",
    "moe", "collective",
)  # fmt: skip
DEFAULT: Final = "default"


class MappingSpec(Spec):
    """`place`: tensor role -> memory. `run`: operator kind -> engine, `default` for the rest."""

    place: dict[str, str] = Field(description="memory that holds weights, kv and activations")
    run: dict[str, str] = Field(description="engine that runs an operator kind; needs `default`")

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """Every role has a place, every operator kind an engine; no others are named."""
        place, run = pick_mapping(data, "place"), pick_mapping(data, "run")
        yield from _unknown_keys("place", place, "tensor role", ROLES)
        yield from _unknown_keys("run", run, "operator kind", (DEFAULT, *OPERATOR_KINDS))
        absent = [role for role in ROLES if role not in place]
        if place and absent:
            yield ("place",), f"no place for {', '.join(absent)}; every role needs a memory"
        if run and DEFAULT not in run:
            yield ("run",), "'default' is missing: the engine of all other operator kinds"


def _unknown_keys(
    field: str, found: object, what: str, known: tuple[str, ...]
) -> Iterator[Relation]:
    for key in found if isinstance(found, dict) else ():
        if key not in known:
            yield (field, key, "[key]"), unknown(what, key, list(known))
