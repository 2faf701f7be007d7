"""A workload: a model, by the fields of its Hugging Face `config.json`, and techniques."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from bankwidth.spec.base import Relation, Spec, pick_mapping
from bankwidth.spec.techniques import TechniquesSpec


class WorkloadSpec(Spec):
    """One model. `config` is read by the model families in bankwidth.operators."""

    kind: Literal["workload"]
    name: str = Field(min_length=1)
    title: str
    config: dict[str, Any] = Field(description="fields of a Hugging Face config.json, verbatim")
    techniques: TechniquesSpec = Field(
        default=TechniquesSpec(), description="what changes operators, bytes and capacity"
    )

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The configuration says which family it is of."""
        config = pick_mapping(data, "config")
        if config and not isinstance(config.get("model_type"), str):
            yield ("config",), "'model_type' is missing: the family, such as 'llama' or 'gpt2'"
