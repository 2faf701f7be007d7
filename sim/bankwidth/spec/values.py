"""Single values of a description by their path: read, and changed in a copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from bankwidth.spec.base import Spec, yaml_key
from bankwidth.spec.fit import KeyPath

S = TypeVar("S", bound=Spec)


def value_at(spec: Any, path: KeyPath) -> Any:
    """The value at a path of YAML keys, list items by their place."""
    for key in path:
        spec = getattr(spec, _field_name(spec, str(key))) if _is_model(spec) else spec[key]
    return spec


def with_values(spec: S, values: Mapping[KeyPath, float]) -> S:
    """A copy with other values, in canonical units; all that is not on their paths is shared.

    A whole number stays one. Types are not checked again; `broken_rules` says what else broke.
    """
    for path, value in values.items():
        spec = _with_value(spec, path, value)
    return spec


def broken_rules(spec: Spec, paths: Iterable[KeyPath]) -> list[str]:
    """What is wrong between the fields of the descriptions on the way to some values."""
    above = {path[:depth] for path in paths for depth in range(len(path))}
    around = [value_at(spec, path) for path in sorted(above, key=str)]
    parts = [part for part in around if isinstance(part, Spec)]
    return [message for part in parts for _, message in part.relations(part)]


def _with_value(node: Any, path: KeyPath, value: float) -> Any:
    if not path:
        return round(value) if isinstance(node, int) else value
    key, rest = path[0], path[1:]
    if _is_model(node):
        name = _field_name(node, str(key))
        return node.model_copy(update={name: _with_value(getattr(node, name), rest, value)})
    if isinstance(node, Mapping):
        return {**node, key: _with_value(node[key], rest, value)}
    items = [_with_value(x, rest, value) if at == key else x for at, x in enumerate(node)]
    return type(node)(items)


def _is_model(node: Any) -> bool:
    return isinstance(node, BaseModel)


def _field_name(model: BaseModel, key: str) -> str:
    """`launch` -> `launch_ns`."""
    return next(name for name in type(model).model_fields if yaml_key(name) == key)
