"""A workload: a model, by the fields of its Hugging Face `config.json`, and techniques."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, PrivateAttr

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

    _places: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def config_places(self) -> Mapping[str, str]:
        """`file:line:col` of the fields of `config` by their names, and of all of it under "".

        Those of a field within a field are there as well. Empty for one that was not read.
        """
        return self._places

    def placed(self, places: Mapping[str, str]) -> WorkloadSpec:
        """The same workload, which knows where its configuration stands."""
        twin = self.model_copy()
        twin._places = dict(places)
        return twin

    @classmethod
    def relations(cls, data: object) -> Iterator[Relation]:
        """The configuration says which family it is of."""
        config = pick_mapping(data, "config")
        if config and not isinstance(config.get("model_type"), str):
            yield ("config",), "'model_type' is missing: the family, such as 'llama' or 'gpt2'"
