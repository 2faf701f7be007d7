"""Which description stands where: types of fields, followed along a path of keys."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, WithJsonSchema
from pydantic.fields import FieldInfo

from bankwidth.spec.base import yaml_key
from bankwidth.units import article


def below(annotation: Any, item: int | str) -> tuple[Any, bool]:
    """Type of an entry, and whether pydantic put `item` in to name the member of a union."""
    annotation = _bare(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return _member(arguments, item), True
    if origin is dict:
        return arguments[1], False
    if origin in (list, tuple):
        is_each = isinstance(item, int) and item < len(arguments) and Ellipsis not in arguments
        return arguments[item if is_each and isinstance(item, int) else 0], False
    model = model_of(annotation)
    field = field_of(model, str(item)) if model else None
    return (field.annotation if field else None), False


def ruled(annotation: Any, item: int | str) -> Any:
    """Type of an entry as `below` gives it, with the rules of its field."""
    model = model_of(annotation)
    field = field_of(model, str(item)) if model else None
    if field is None or not field.metadata:
        return below(annotation, item)[0]
    return Annotated.__class_getitem__((field.annotation, *field.metadata))  # type: ignore[attr-defined]


def member_of(annotation: Any, tag: object) -> Any:
    """Of a union of descriptions that with a tag; any other type as it is."""
    annotation = _bare(annotation)
    is_union = get_origin(annotation) in (Union, UnionType)
    return _member(get_args(annotation), str(tag)) if is_union else annotation


def dimension_of(annotation: Any) -> str:
    """Dimension of a type of quantities; empty for any other type."""
    rules = getattr(annotation, "__metadata__", ())
    schemas = [rule.json_schema for rule in rules if isinstance(rule, WithJsonSchema)]
    found = [schema["title"] for schema in schemas if schema]
    members = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return next(iter([*found, *filter(None, map(dimension_of, members))]), "")


def _bare(annotation: Any) -> Any:
    """Without Annotated[...] and `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _member(members: tuple[Any, ...], tag: int | str) -> Any:
    return next((member for member in members if tag in _tags(member)), None)


def _tags(member: Any) -> list[Any]:
    """Values of the Literal fields of a description; its tag in a union is one of them."""
    model = model_of(member)
    fields = model.model_fields.values() if model else ()
    return [value for f in fields if get_origin(f.annotation) is Literal
            for value in get_args(f.annotation)]  # fmt: skip


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The description a type is, if it is one."""
    annotation = _bare(annotation)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def field_of(model: type[BaseModel], key: str) -> FieldInfo | None:
    """Field of a description by its key in YAML."""
    return next((f for name, f in model.model_fields.items() if yaml_key(name) == key), None)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Keys of a description in YAML, in the order of its fields; `source` last."""
    keys = [yaml_key(name) for name in model.model_fields]
    return sorted(keys, key=lambda key: key == "source")


def need_of(field: FieldInfo) -> str:
    """What a field must be given: its dimension with an example, and its description."""
    schemas = [m.json_schema for m in field.metadata if isinstance(m, WithJsonSchema)]
    quantity = [f"{article(s['title'])} such as {s['examples'][0]!r}" for s in schemas if s]
    return ": ".join(quantity + ([field.description] if field.description else []))
