"""A Hugging Face `config.json` as a workload of its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from bankwidth.spec.files import read_text
from bankwidth.spec.problems import Mark, Unreadable
from bankwidth.spec.tree import Node


def is_hf_config(path: Path) -> bool:
    """JSON files are; our own files are YAML."""
    return path.suffix == ".json"


def read_hf_config(path: Path) -> Node:
    """The tree of a workload with the file's fields. Raises Unreadable."""
    shown = str(path)
    try:
        text = read_text(path, shown)
    except ValueError as error:
        raise Unreadable(Mark(shown, 1, 1), f"not a configuration: {error}") from error
    stem = path.stem if path.stem != "config" else path.resolve().parent.name
    return hf_config_node(text, shown, stem)


def hf_config_node(text: str, shown: str, stem: str) -> Node:
    """The tree of a workload with the fields of a JSON text, named `stem` if they do not name it.

    Raises Unreadable with line and column of `shown`.
    """
    start = Mark(shown, 1, 1)
    try:
        config = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        mark = Mark(shown, error.lineno, error.colno)
        raise Unreadable(mark, f"not JSON: {error.msg.lower()}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(start, f"not a configuration: {error}") from error
    if not isinstance(config, dict):
        raise Unreadable(start, "need the fields of a Hugging Face config.json here")
    name = model_name(config, stem)
    entries = {"kind": "workload", "name": name, "title": name, "source": shown}
    fields = {key: _placed(key, value, text, start) for key, value in config.items()}
    root = {**_node(entries, start).children, "config": Node(value=fields, mark=start)}
    return Node(value=root, mark=start)


def model_name(config: dict[str, Any], stem: str) -> str:
    """Its `_name_or_path`, else `stem`."""
    stated = config.get("_name_or_path")
    return Path(stated).name if isinstance(stated, str) and Path(stated).name else stem


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"key {key!r} is there twice")
        fields[key] = value
    return fields


def _placed(key: str, value: Any, text: str, start: Mark) -> Node:
    """A field where its name first stands in the text; those of an object likewise."""
    found = re.search(rf"{re.escape(json.dumps(key))}\s*:", text)
    at = found.start() if found else 0
    mark = Mark(start.file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
    if isinstance(value, dict):
        inner = {str(name): _placed(str(name), each, text, mark) for name, each in value.items()}
        return Node(value=inner, mark=mark, key_mark=mark)
    return replace(_node(value, mark), key_mark=mark)


def _node(value: Any, mark: Mark) -> Node:
    if isinstance(value, dict):
        return Node(value={str(k): _node(v, mark) for k, v in value.items()}, mark=mark)
    if isinstance(value, list):
        return Node(value=tuple(_node(item, mark) for item in value), mark=mark)
    return Node(value=value, mark=mark)
