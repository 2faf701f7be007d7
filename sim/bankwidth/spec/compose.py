"""One tree from several files: `include:` and `device:` bring another file in below a mapping.

The keys beside them win, mapping by mapping. Every value keeps the place it was written at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.spec.base import KIND
from bankwidth.spec.files import SUFFIXES, read_text, shipped
from bankwidth.spec.problems import Mark, Problem, Unreadable
from bankwidth.spec.provenance import hand_down
from bankwidth.spec.tree import Node, join, parse_yaml
from bankwidth.spec.version import version_problem, without_version

INCLUDE: Final = "include"
DEVICE: Final = "device"
# Kind of file -> top-level keys whose content is not ours to interpret.
VERBATIM: Final[dict[str, frozenset[str]]] = {"workload": frozenset({"config"})}


@dataclass(slots=True)
class Composer:
    """Reads a file with all that it includes, and collects what is wrong in any of them."""

    problems: list[Problem] = field(default_factory=list)
    _open: list[Path] = field(default_factory=list)  # files being read, outermost first

    def read(self, path: Path, *, needs_version: bool = True) -> Node:
        """The composed tree of a file, without its version. Raises Unreadable if it has none."""
        self._open.append(path)
        try:
            root = self._own_tree(path, needs_version)
            entries = {
                key: child if key in _verbatim(root) else self._composed(child, key, path.parent)
                for key, child in _own_entries(root).items()
            }
            return self._with_others(replace(root, value=entries), root, "", path.parent)
        finally:
            self._open.pop()

    def _own_tree(self, path: Path, needs_version: bool) -> Node:
        shown = str(path)
        root, problems = parse_yaml(read_text(path, shown), shown)
        if root is None or root.value is None:
            raise Unreadable(Mark(shown, 1, 1), "the file is empty")
        if not root.is_mapping:
            raise Unreadable(root.mark, "need keys and values here, such as 'schema_version: 1'")
        version = version_problem(root, is_needed=needs_version)
        root, wrong_sources = hand_down(without_version(root), _verbatim(root))
        self.problems += [*problems, *wrong_sources, *([version] if version else [])]
        return root

    def _composed(self, node: Node, path: str, folder: Path) -> Node:
        if isinstance(node.value, tuple):
            items = enumerate(node.value)
            below = [self._composed(item, join(path, str(i)), folder) for i, item in items]
            return replace(node, value=tuple(below))
        if not isinstance(node.value, Mapping):
            return node
        entries = {
            key: self._composed(child, join(path, key), folder)
            for key, child in _own_entries(node).items()
        }
        return self._with_others(replace(node, value=entries), node, path, folder)

    def _with_others(self, own: Node, node: Node, path: str, folder: Path) -> Node:
        """`own` over the files that `node` refers to."""
        for key, reference in _references(node):
            try:
                own = merged(self._other(reference, key, folder), own)
            except (Unreadable, SpecError) as error:
                own = replace(own, is_broken=True)
                here = Problem(reference.mark, join(path, key), str(error))
                self.problems.append(error.problem if isinstance(error, Unreadable) else here)
        return own

    def _other(self, reference: Node, key: str, folder: Path) -> Node:
        name = reference.value
        if not isinstance(name, str):
            example = "gpu/h200-sxm" if key == DEVICE else "common.yaml"
            raise SpecError(f"need a name or a file, such as {example!r}")
        is_name = key == DEVICE and not name.endswith(SUFFIXES)
        target = shipped("device", name) if is_name else folder / name
        if not target.is_file():
            raise SpecError(f"no such file: {target}")
        if target.resolve() in [path.resolve() for path in self._open]:
            chain = " -> ".join(str(path) for path in [*self._open, target])
            raise SpecError(f"files include each other: {chain}")
        tree = self.read(target, needs_version=key == DEVICE)
        return _kind_at(tree, reference.mark) if key == DEVICE else tree


def _kind_at(root: Node, mark: Mark) -> Node:
    """A device of the wrong kind is a mistake where it is referred to, not in its own file."""
    if KIND not in root.children:
        return root
    kind = replace(root.children[KIND], mark=mark)
    return replace(root, value={**root.children, KIND: kind})


def _own_entries(node: Node) -> Mapping[str, Node]:
    return {key: child for key, child in node.children.items() if key not in (INCLUDE, DEVICE)}


def _references(node: Node) -> Iterator[tuple[str, Node]]:
    """Highest first: the last of several `include:` files, ..., the first, then the `device:`."""
    include = node.children.get(INCLUDE)
    if include is not None and isinstance(include.value, tuple):
        yield from ((INCLUDE, item) for item in reversed(include.value))
    elif include is not None:
        yield INCLUDE, include
    if DEVICE in node.children:
        yield DEVICE, node.children[DEVICE]


def _verbatim(root: Node) -> frozenset[str]:
    kind = root.children.get(KIND)
    return VERBATIM.get(str(kind.value), frozenset()) if kind else frozenset()


def merged(below: Node, above: Node) -> Node:
    """`above` over `below`: mappings key by key, everything else as a whole."""
    if not (isinstance(below.value, Mapping) and isinstance(above.value, Mapping)):
        return above
    entries = dict(below.value)
    for key, child in above.value.items():
        entries[key] = merged(entries[key], child) if key in entries else child
    return replace(above, value=entries, is_broken=above.is_broken or below.is_broken)
