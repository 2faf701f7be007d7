"""Options on the command line, `NAME:key=value,key=value`, as the tree of a description."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import ValidationError

from bankwidth.spec.base import Spec
from bankwidth.spec.explain import problems_of
from bankwidth.spec.problems import Mark, Problem, Unreadable, raise_problems
from bankwidth.spec.tree import Node, parse_yaml, plain

S = TypeVar("S", bound=Spec)


def parse_options(option: str, texts: Sequence[str], model: type[S], base: S) -> S:
    """`base` with what `texts` say, one entry each: `kv_quant:k_bits=2,group=32`, or only a name.

    Values are YAML scalars, or lists in brackets. An entry replaces that of `base` as a whole.
    `option` is what the user typed before the text, for messages. Raises SpecError with every
    mistake and its column.
    """
    entries: dict[str, Node] = {}
    problems: list[Problem] = []
    for text in texts:
        try:
            name, node = _entry(f"{option} {text}", text, len(option) + 1)
        except Unreadable as error:
            problems.append(error.problem)
            continue
        if name in entries:
            problems.append(Problem(node.at, name, "given twice"))
        entries[name] = node
    root = Node(value=entries, mark=Mark(option, 1, 1))
    spec = _validated(root, problems, model)
    given = {name: getattr(spec, name) for name in spec.model_fields_set}
    return base.model_copy(update=given)


def parse_values(option: str, text: str, model: type[S]) -> S:
    """A description of `key=value,key=value`. Raises SpecError with every mistake, by column."""
    shown = f"{option} {text}"
    try:
        values = _values(shown, text, len(option) + 1)
    except Unreadable as error:
        raise_problems([error.problem])
    return _validated(Node(value=values, mark=Mark(shown, 1, 1)), [], model)


def _validated(root: Node, problems: list[Problem], model: type[S]) -> S:
    """The description; raises SpecError with its mistakes and those found already."""
    try:
        spec = model.model_validate(plain(root))
    except ValidationError as error:
        problems = problems + problems_of(error, root, model)
    if problems:
        raise_problems(problems)
    return spec


def _entry(shown: str, text: str, column: int) -> tuple[str, Node]:
    name, colon, rest = text.partition(":")
    mark = Mark(shown, 1, column + 1)
    if not name.strip():
        raise Unreadable(mark, "need NAME or NAME:key=value,key=value")
    values = _values(shown, rest, column + len(name) + len(colon))
    return name.strip(), Node(value=values, mark=mark, key_mark=mark)


def _values(shown: str, text: str, at: int) -> dict[str, Node]:
    """Pairs of a text that begins at a column, counted from 0."""
    values: dict[str, Node] = {}
    for part in _parts(text):
        key, value = _pair(shown, part, at)
        if key in values:
            raise Unreadable(Mark(shown, 1, at + 1), f"{key!r} is given twice")
        values[key] = value
        at += len(part) + 1
    return values


def _parts(text: str) -> Iterator[str]:
    """Pieces between commas that are in no brackets."""
    depth, piece = 0, ""
    for char in text:
        depth += (char in "[{") - (char in "]}")
        if char == "," and depth == 0:
            yield piece
            piece = ""
        else:
            piece += char
    if piece or text.endswith(","):
        yield piece


def _pair(shown: str, part: str, at: int) -> tuple[str, Node]:
    key, equals, value = part.partition("=")
    mark = Mark(shown, 1, at + 1)
    if not equals or not key.strip() or not value.strip():
        raise Unreadable(mark, f"need key=value, found {part!r}")
    here = Mark(shown, 1, at + len(key) + 2)
    return key.strip(), Node(value=_value(value, here).value, mark=here, key_mark=mark)


def _value(text: str, mark: Mark) -> Node:
    try:
        node, problems = parse_yaml(text, mark.file)
    except Unreadable as error:
        raise Unreadable(mark, error.problem.message) from error
    if node is None or problems:
        raise Unreadable(mark, problems[0].message if problems else f"need a value, found {text!r}")
    return node
