"""`schema_version:`, the first key of every file."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.spec.problems import Problem, Unreadable
from bankwidth.spec.tree import Node

SCHEMA_VERSION: Final = 1
VERSION_KEY: Final = "schema_version"


def version_problem(root: Node, *, is_needed: bool) -> Problem | None:
    """What is wrong with a file's version. Raises Unreadable for a newer one: the rest is noise."""
    found = root.children.get(VERSION_KEY)
    if found is None:
        message = f"missing, write '{VERSION_KEY}: {SCHEMA_VERSION}'"
        return Problem(root.mark, VERSION_KEY, message) if is_needed else None
    if type(found.value) is int and found.value > SCHEMA_VERSION:
        raise Unreadable(
            found.mark,
            f"the file is of version {found.value}, this bankwidth reads up to {SCHEMA_VERSION}; "
            "a newer bankwidth is needed",
            VERSION_KEY,
        )
    if type(found.value) is not int or found.value != SCHEMA_VERSION:
        return Problem(found.mark, VERSION_KEY, f"must be {SCHEMA_VERSION}, not {found.value!r}")
    return None


def without_version(root: Node) -> Node:
    """The tree without the key, which no model has."""
    entries = {key: child for key, child in root.children.items() if key != VERSION_KEY}
    return replace(root, value=entries)
