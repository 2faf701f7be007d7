"""What a file is, without validating all of it."""

from __future__ import annotations

from pathlib import Path

from bankwidth.spec.files import read_text
from bankwidth.spec.problems import Unreadable, raise_problems
from bankwidth.spec.tree import parse_yaml


def heading_of(path: Path) -> dict[str, str]:
    """Kind and title of a file; empty where it has none. Raises SpecError if it is not YAML."""
    try:
        root, _ = parse_yaml(read_text(path, str(path)), str(path))
    except Unreadable as error:
        raise_problems([error.problem])
    keys = root.children if root else {}
    return {key: str(keys[key].value) if key in keys else "" for key in ("kind", "title")}
