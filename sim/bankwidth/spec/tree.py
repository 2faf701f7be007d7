"""YAML text to a tree of nodes that know where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml

from bankwidth.spec.problems import Mark, Problem, Unreadable
from bankwidth.spec.scalars import Scalar, plain_scalar

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is 10 times faster
MAX_DEPTH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A scalar, mapping or list, with its place, its key's place and the source of its value.

    `fit` are the bounds beside a value that calibration may change. `is_broken` says that a problem
    was reported for it already: what it lacks is no news.
    """

    value: Scalar | Mapping[str, Node] | tuple[Node, ...]
    mark: Mark
    key_mark: Mark | None = None
    source: str | None = None
    fit: Node | None = None
    is_broken: bool = False

    @property
    def children(self) -> Mapping[str, Node]:
        """Entries of a mapping; items of a list under their index; nothing for a scalar."""
        if isinstance(self.value, tuple):
            return {str(index): item for index, item in enumerate(self.value)}
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, Mapping)

    @property
    def at(self) -> Mark:
        """Where to point to when the whole entry is meant."""
        return self.key_mark or self.mark


def plain(node: Node) -> Any:
    """The bare data of a tree."""
    if isinstance(node.value, Mapping):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, tuple):
        return [plain(item) for item in node.value]
    return node.value


def parse_yaml(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of one document and what is wrong in it; no tree for an empty document.

    Raises Unreadable where the text cannot be read on: a syntax error, or too deep a nesting.
    """
    reader = _Reader(text, file)
    return reader.document(), reader.problems


class _Reader:
    """Builds nodes from the events of PyYAML's parser, which resolves nothing by itself."""

    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._events = self._checked(text)

    def document(self) -> Node | None:
        next(self._events)  # StreamStart
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        root = self._node(next(self._events), "", 0)
        next(self._events)  # DocumentEnd
        extra = next(self._events)
        if not isinstance(extra, yaml.StreamEndEvent):
            self._problem(extra, "", "a second document starts here, write one per file")
        return root

    def _checked(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            detail = " ".join(filter(None, (error.context, error.problem)))
            place = Mark(self._file, mark.line + 1, mark.column + 1) if mark else self._start
            raise Unreadable(place, f"not YAML: {detail}") from error
        except yaml.YAMLError as error:
            detail = " ".join(str(error).split())
            raise Unreadable(self._start, f"not YAML: {detail}") from error

    @property
    def _start(self) -> Mark:
        return Mark(self._file, 1, 1)

    def _mark(self, event: Any) -> Mark:
        return Mark(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _problem(self, event: Any, path: str, message: str) -> None:
        self.problems.append(Problem(self._mark(event), path, message))

    def _node(self, event: Any, path: str, depth: int) -> Node:
        mark = self._mark(event)
        if depth > MAX_DEPTH:
            raise Unreadable(mark, f"nested deeper than {MAX_DEPTH} levels")
        is_broken = self._has_extras(event, path)
        value: Scalar | Mapping[str, Node] | tuple[Node, ...]
        if isinstance(event, yaml.MappingStartEvent):
            value = self._entries(path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = tuple(self._items(path, depth))
        else:
            value = self._scalar(event)
        return Node(value=value, mark=mark, is_broken=is_broken)

    def _has_extras(self, event: Any, path: str) -> bool:
        if isinstance(event, yaml.AliasEvent):
            self._problem(event, path, f"alias *{event.anchor} is not allowed, use include:")
            return True
        if event.tag is not None:
            self._problem(event, path, f"tag {event.tag} is not allowed")
            return True
        return False

    @staticmethod
    def _scalar(event: Any) -> Scalar:
        if isinstance(event, yaml.AliasEvent):
            return None
        text = str(event.value)
        return plain_scalar(text) if event.style in (None, "") and event.implicit[0] else text

    def _items(self, path: str, depth: int) -> Iterator[Node]:
        index = 0
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, join(path, str(index)), depth + 1)
            index += 1

    def _entries(self, path: str, depth: int) -> Mapping[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path, depth)
            below = join(path, key)
            if key in entries:
                first = entries[key].at
                self._problem(event, below, f"key {key!r} is there already, in line {first.line}")
            node = self._node(next(self._events), below, depth + 1)
            entries.setdefault(key, replace(node, key_mark=self._mark(event)))
        return entries

    def _key(self, event: Any, path: str, depth: int) -> str:
        if isinstance(event, yaml.ScalarEvent):
            self._has_extras(event, path)
            return str(event.value)
        self._problem(event, path, "a key must be a word, not a list, mapping or alias")
        self._node(event, path, depth + 1)
        return ""


def join(path: str, key: str) -> str:
    """`a.b` and `c` -> `a.b.c`."""
    return f"{path}.{key}" if path else key
