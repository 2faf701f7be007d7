"""A Hugging Face `config.json` as a workload of its own."""

from __future__ import annotations

import json
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
    start = Mark(shown, 1, 1)
    try:
        config = json.loads(read_text(path, shown), object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        mark = Mark(shown, error.lineno, error.colno)
        raise Unreadable(mark, f"not JSON: {error.msg.lower()}") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(start, f"not a configuration: {error}") from error
    if not isinstance(config, dict):
        raise Unreadable(start, "need the fields of a Hugging Face config.json here")
    name = model_name(config, path)
    entries = {"kind": "workload", "name": name, "title": name, "source": shown, "config": config}
    return _node(entries, start)


def model_name(config: dict[str, Any], path: Path) -> str:
    """Its `_name_or_path`, else the file's name, else that of its folder."""
    stated = config.get("_name_or_path")
    stem = path.stem if path.stem != "config" else path.resolve().parent.name
    return Path(stated).name if isinstance(stated, str) and Path(stated).name else stem


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise ValueError(f"key {key!r} is there twice")
        fields[key] = value
    return fields


def _node(value: Any, mark: Mark) -> Node:
    if isinstance(value, dict):
        return Node(value={str(k): _node(v, mark) for k, v in value.items()}, mark=mark)
    if isinstance(value, list):
        return Node(value=tuple(_node(item, mark) for item in value), mark=mark)
    return Node(value=value, mark=mark)
