"""pydantic's errors as problems: where in which file, in our words, with what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bankwidth.errors import did_you_mean
from bankwidth.spec.annotations import below, field_of, keys_of, model_of, need_of
from bankwidth.spec.base import KIND, RELATION, unknown
from bankwidth.spec.problems import Problem
from bankwidth.spec.tree import Node, join

_KEY: Final = "[key]"  # pydantic's mark of an error of a key, not of its value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an error is: its node, or the one above it when the node itself is absent."""

    node: Node
    path: str
    parent: type[BaseModel] | None  # description that the last key belongs to
    is_key: bool
    is_there: bool
    is_below_broken: bool  # something above it was reported already

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The key; of an entry of a list that of the list."""
        return next(key for key in reversed(self.path.split(".")) if not key.isdigit())

    @property
    def parent_path(self) -> str:
        return self.path.rpartition(".")[0]


def problems_of(error: ValidationError, root: Node, model: type[BaseModel]) -> list[Problem]:
    """All that a validation found wrong, less what follows from problems reported already."""
    details = error.errors(include_url=False)
    found = [(detail, _place(detail["loc"], root, model)) for detail in details]
    extra = [place for detail, place in found if detail["type"] == "extra_forbidden"]
    foreign = [p.parent_path for d, p in found if p.key == KIND and d["type"] == "literal_error"]
    return [
        _problem(detail, place)
        for detail, place in found
        if not _is_consequence(detail, place)
        and not _is_misspelt(detail, place, extra)
        and not _is_foreign(place, foreign)
    ]


def problem_of_value(error: ValidationError, node: Node, path: str) -> Problem:
    """The first that is wrong with one value, validated on its own."""
    place = _Place(
        node=node, path=path, parent=None, is_key=False, is_there=True, is_below_broken=False
    )
    return _problem(error.errors(include_url=False)[0], place)


def _place(loc: Iterable[int | str], root: Node, model: type[BaseModel]) -> _Place:
    node, path, is_there = root, "", True
    annotation: Any = model
    parent: type[BaseModel] | None = None
    is_key, is_broken = False, root.is_broken
    for item in loc:
        if item == _KEY:
            is_key = True
            continue
        above = model_of(annotation)
        annotation, is_tag = below(annotation, item)
        if is_tag:
            continue
        parent, path = above, join(path, str(item))
        child = node.children.get(str(item)) if is_there else None
        is_there, node = child is not None, child or node
        is_broken = is_broken or node.is_broken
    return _Place(
        node=node, path=path, parent=parent, is_key=is_key, is_there=is_there,
        is_below_broken=is_broken,
    )  # fmt: skip


def _is_consequence(detail: ErrorDetails, place: _Place) -> bool:
    """Of a value that could not be read, or of a file that could not be included."""
    if detail["type"] == "union_tag_invalid" and _tag_key(detail) not in place.node.children:
        return True  # the tag was taken from another key, which has its own problem
    if detail["type"] == RELATION or not place.is_there:
        return place.is_below_broken
    return place.node.is_broken


def _is_misspelt(detail: ErrorDetails, place: _Place, extra: list[_Place]) -> bool:
    """Whether a missing key is there under a wrong spelling, which is reported by itself."""
    return detail["type"] == "missing" and any(
        other.parent_path == place.parent_path and did_you_mean(other.key, [place.key])
        for other in extra
    )


def _is_foreign(place: _Place, foreign: list[str]) -> bool:
    """Whether it is in a description of a kind not needed there; only the kind is said."""
    parents = (f"{path}." if path else "" for path in foreign)
    return place.key != KIND and any(place.path.startswith(parent) for parent in parents)


def _problem(detail: ErrorDetails, place: _Place) -> Problem:
    if detail["type"] == "union_tag_invalid":
        return _wrong_kind(detail, place)
    explain = _TEXTS.get(detail["type"])
    message = explain(detail, place) if explain else _lowered(detail["msg"])
    mark = place.node.at if _is_of_entry(detail, place) else place.node.mark
    return Problem(mark, place.path, message)


def _is_of_entry(detail: ErrorDetails, place: _Place) -> bool:
    """Whether to point to the key: something is absent below it, or the key itself is wrong."""
    is_group = detail["type"] == RELATION and bool(place.node.children)
    return is_group or place.is_key or not place.is_there or detail["type"] == "extra_forbidden"


def _wrong_kind(detail: ErrorDetails, place: _Place) -> Problem:
    key, context = _tag_key(detail), detail["ctx"]
    message = unknown(key, context["tag"], _quoted(context["expected_tags"]))
    return Problem(place.node.children[key].mark, join(place.path, key), message)


def _tag_key(detail: ErrorDetails) -> str:
    return str(detail["ctx"]["discriminator"]).strip("'")


def _quoted(text: str) -> list[str]:
    """`'a', 'b' or 'c'` -> a, b, c."""
    return re.findall(r"'([^']*)'", text)


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return repr(value)


def _missing(detail: ErrorDetails, place: _Place) -> str:
    if isinstance(detail["loc"][-1], int):
        return "missing, the list is too short"
    field = field_of(place.parent, place.key) if place.parent else None
    need = need_of(field) if field else ""
    return f"missing, need {need}" if need else "missing"


def _extra(detail: ErrorDetails, place: _Place) -> str:
    known = keys_of(place.parent) if place.parent else []
    hint = did_you_mean(place.key, known)
    return f"unknown key {place.key!r}{hint}" if hint else unknown("key", place.key, known)


def _need(what: str) -> Callable[[ErrorDetails, _Place], str]:
    return lambda detail, _: f"need {what}, got {_shown(detail['input'])}"


def _bound(words: str, limit: str) -> Callable[[ErrorDetails, _Place], str]:
    return lambda detail, _: (
        f"must be {words} {detail['ctx'][limit]}, got {_shown(detail['input'])}"
    )


def _length(words: str, limit: str) -> Callable[[ErrorDetails, _Place], str]:
    return lambda detail, _: (
        f"need {words} {detail['ctx'][limit]} entries, got {detail['ctx']['actual_length']}"
    )


def _no_tag(detail: ErrorDetails, place: _Place) -> str:
    key = _tag_key(detail)
    return f"{key!r} is missing" + (", or 'device:' that brings it" if key == KIND else "")


_MAPPING: Final = _need("a mapping of keys to values")
_LIST: Final = _need("a list")
_WHOLE: Final = _need("a whole number")
_TEXTS: Final[dict[str, Callable[[ErrorDetails, _Place], str]]] = {
    "missing": _missing,
    "extra_forbidden": _extra,
    "union_tag_not_found": _no_tag,
    "value_error": lambda detail, _: str(detail["ctx"]["error"]),
    "literal_error": lambda detail, place: unknown(
        place.name, detail["input"], _quoted(detail["ctx"]["expected"])
    ),
    RELATION: lambda detail, _: detail["msg"],
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "string_type": _need("a text (quote a number to make it one)"),
    "string_too_short": lambda *_: "must not be empty",
    "bool_type": _need("true or false"),
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _need("a number"),
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "too_short": _length("at least", "min_length"),
    "too_long": _length("at most", "max_length"),
}
