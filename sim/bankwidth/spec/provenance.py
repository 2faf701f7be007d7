"""`source:` keys: a value's own in `{value:, source:}`, or that of a group around it.

Sources are handed down to the values before files are merged, so that a value that overrides
another never inherits the source of what it replaced. The same holds for the bounds in `fit:`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from bankwidth.errors import did_you_mean
from bankwidth.spec.base import unknown
from bankwidth.spec.problems import Problem
from bankwidth.spec.tree import Node, join
from bankwidth.units import is_quantity

VALUE: Final = "value"
SOURCE: Final = "source"
FIT: Final = "fit"  # bounds of a value that calibration may change
_WRAPPER: Final = [VALUE, SOURCE, FIT]
_NOT_PHYSICAL: Final = frozenset({"schema_version"})


def hand_down(root: Node, verbatim: frozenset[str]) -> tuple[Node, list[Problem]]:
    """The tree with `{value:, source:}` unwrapped, group sources taken out, and every value's set.

    The root keeps its own `source`; top-level keys in `verbatim` are left as they are.
    """
    problems: list[Problem] = []
    source = _source_of(root, None, "", problems)
    entries = {
        key: _covered(child, source)
        if key in verbatim or key == SOURCE
        else _walk(child, source, key, problems)
        for key, child in root.children.items()
    }
    return replace(root, value=entries), problems


def _covered(node: Node, source: str | None) -> Node:
    """The same tree, every value of it covered by one source."""
    if isinstance(node.value, tuple):
        return replace(node, value=tuple(_covered(item, source) for item in node.value))
    if isinstance(node.value, Mapping):
        below = {key: _covered(child, source) for key, child in node.value.items()}
        return replace(node, value=below)
    return replace(node, source=source)


def _walk(node: Node, source: str | None, path: str, problems: list[Problem]) -> Node:
    if isinstance(node.value, tuple):
        items = [
            _walk(item, source, join(path, str(index)), problems)
            for index, item in enumerate(node.value)
        ]
        return replace(node, value=tuple(items), source=source)
    if not isinstance(node.value, Mapping):
        return replace(node, source=source)
    source = _source_of(node, source, path, problems)
    if VALUE in node.value:
        return _unwrapped(node, source, path, problems)
    if FIT in node.value:
        return _without_value(node, path, problems)
    entries = {
        key: _walk(child, source, join(path, key), problems)
        for key, child in node.value.items()
        if key != SOURCE
    }
    return replace(node, value=entries, source=source)


def _unwrapped(node: Node, source: str | None, path: str, problems: list[Problem]) -> Node:
    for key, child in node.children.items():
        if key not in _WRAPPER:
            message = unknown("key", key, _WRAPPER)
            problems.append(Problem(child.at, join(path, key), message))
    inner = _walk(node.children[VALUE], source, path, problems)
    return replace(inner, key_mark=node.key_mark, fit=node.children.get(FIT, inner.fit))


def _without_value(node: Node, path: str, problems: list[Problem]) -> Node:
    """Bounds that stand beside no value."""
    others = [key for key in node.children if key not in _WRAPPER]
    meant = [key for key in others if did_you_mean(key, [VALUE])]
    hint = f", did you mean it by {meant[0]!r}?" if meant else ""
    message = f"bounds need the {VALUE!r} that they are for beside them{hint}"
    problems.append(Problem(node.children[FIT].at, join(path, FIT), message))
    return replace(node, is_broken=True)


def _source_of(node: Node, inherited: str | None, path: str, problems: list[Problem]) -> str | None:
    found = node.children.get(SOURCE)
    if found is None:
        return inherited
    if isinstance(found.value, str) and found.value.strip():
        return found.value
    message = "must be a text: a document and table, 'calibrated on ...', or 'assumed: ...'"
    problems.append(Problem(found.mark, join(path, SOURCE), message))
    return inherited


def physical_values(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Key path and node of every number and every quantity with a unit."""
    for key, child in node.children.items():
        below = join(path, key)
        if child.children:
            yield from physical_values(child, below)
        elif below not in _NOT_PHYSICAL and _is_physical(child):
            yield below, child


def _is_physical(node: Node) -> bool:
    if isinstance(node.value, str):
        return is_quantity(node.value)
    return isinstance(node.value, int | float) and not isinstance(node.value, bool)
