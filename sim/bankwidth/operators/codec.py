"""Dataclasses to JSON objects and back, by their type hints; a wrong key is an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import MISSING, Field, fields
from functools import cache
from types import NoneType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from bankwidth.errors import TraceError, did_you_mean

T = TypeVar("T")
JsonObject = dict[str, Any]


def parse_object(line: str) -> JsonObject:
    """The JSON object of one line. Raises TraceError, also for a key given twice and for NaN."""
    try:
        value = json.loads(line, object_pairs_hook=_unique, parse_constant=_no_constant)
    except TraceError:
        raise
    except (ValueError, RecursionError) as error:
        raise TraceError(f"not a line of JSON ({error}): truncated or another format?") from error
    if not isinstance(value, dict):
        raise TraceError(f"must be a JSON object, got {_shown(value)}")
    return value


def encode(instance: Any, leave_out: tuple[str, ...] = ()) -> JsonObject:
    """The fields of a dataclass instance, in order, tuples as lists.

    Its `rare_fields` are left out where they have their default.
    """
    rare = getattr(instance, "rare_fields", ())
    names = [
        field.name
        for field in fields(instance)
        if field.name not in leave_out
        and not (field.name in rare and getattr(instance, field.name) == field.default)
    ]
    values = {name: getattr(instance, name) for name in names}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}


def decode(make: type[T], data: Mapping[str, Any], **given: Any) -> T:
    """An instance from `data` and the fields `given` here.

    Raises TraceError for a key that is unknown or missing, or has a value of the wrong type.
    """
    cls: Any = make  # mypy does not take a type variable's class for hashable
    schema = {name: hint for name, hint in _schema(cls).items() if name not in given}
    check_keys(data, schema, required=_required(cls) & schema.keys())
    for name, value in data.items():
        _check_value(name, value, schema[name])
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
    return make(**values, **given)


def check_keys(data: Mapping[str, Any], known: Mapping[str, Any], required: Set[str]) -> None:
    """Raises TraceError for unknown and for missing keys."""
    for key in data:
        if key not in known:
            hint = did_you_mean(key, known)
            raise TraceError(f"unknown key {key!r}{hint} (known: {', '.join(known)})")
    missing = sorted(required - data.keys())
    if missing:
        raise TraceError(f"{', '.join(missing)} missing")


@cache
def _schema(cls: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


@cache
def _required(cls: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls) if not _has_default(field))


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not any(
        isinstance(item, dict | list) for item in value.values()
    )


# type, without its parameters -> (test, what a value must be)
_RULES: Final[dict[Any, tuple[Callable[[Any], bool], str]]] = {
    int: (_is_int, "a whole number"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    str: (_is_text, "text"),
    tuple: (_is_texts, "a list of texts"),
    Mapping: (_is_object, "an object of plain values"),
}


def _rule(hint: Any) -> tuple[Callable[[Any], bool], str]:
    origin = get_origin(hint)
    if origin is Literal:
        choices = get_args(hint)
        return lambda value: value in choices, f"one of {', '.join(choices)}"
    if NoneType in get_args(hint):
        test, text = _rule(get_args(hint)[0])
        return lambda value: value is None or test(value), f"{text} or null"
    return _RULES[origin or hint]


def _check_value(name: str, value: Any, hint: Any) -> None:
    test, text = _rule(hint)
    if not test(value):
        raise TraceError(f"{name} must be {text}, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise TraceError(f"the key {key!r} is given twice")
    return dict(pairs)


def _no_constant(text: str) -> Any:
    raise TraceError(f"{text} is not allowed")
