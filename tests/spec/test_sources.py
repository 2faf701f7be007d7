"""`source:` keys: how they cover values, and that shipped files leave none uncovered."""

from __future__ import annotations

from pathlib import Path

import pytest

from bankwidth.spec import sources_of
from bankwidth.spec.files import ROOT
from bankwidth.spec.provenance import hand_down, physical_values
from bankwidth.spec.tree import Node, parse_yaml, plain

from .conftest import Said, Write

SHIPPED = sorted([*(ROOT / "arch").rglob("*.yaml"), *(ROOT / "workloads").glob("*.yaml")])


def handed_down(text: str) -> Node:
    root, _ = parse_yaml(text, "f.yaml")
    assert root is not None
    return hand_down(root, frozenset({"config"}))[0]


def sources(text: str) -> dict[str, str | None]:
    return {path: node.source for path, node in physical_values(handed_down(text))}


def test_the_nearest_source_covers_a_value() -> None:
    text = """
source: file
a: 1 ns
b: {value: 2 ns, source: own}
c: {source: group, d: 3 ns, e: {f: 4 ns}, g: [{h: 5}]}
"""
    assert sources(text) == {
        "a": "file",
        "b": "own",
        "c.d": "group",
        "c.e.f": "group",
        "c.g.0.h": "group",
    }


def test_wrapped_values_and_group_sources_leave_only_values() -> None:
    text = "{a: {value: 1 ns, source: s}, b: {source: t, c: 2}, l: {value: [{m: 1}], source: u}}"
    assert plain(handed_down(text)) == {"a": "1 ns", "b": {"c": 2}, "l": [{"m": 1}]}


def test_a_wrapped_value_keeps_its_own_place() -> None:
    node = handed_down("a: {source: s, value: 1 ns}").children["a"]
    assert (node.mark.column, node.at.column) == (23, 1)


def test_texts_are_not_physical_values() -> None:
    assert sources("{name: x, title: H100 SXM, flag: true, none: null, n: 3, q: 3 ns}") == {
        "n": None,
        "q": None,
    }


def test_verbatim_content_is_not_interpreted_but_covered() -> None:
    text = "{kind: workload, source: s, config: {value: 3, source: x, other: 1}}"
    assert plain(handed_down(text))["config"] == {"value": 3, "source": "x", "other": 1}
    assert sources(text)["config.other"] == "s"


@pytest.mark.parametrize("source", ["3", "''", "[a]", "~"])
def test_a_source_must_be_a_text(source: str, said: Said) -> None:
    said_lines = said(f"schema_version: 1\nkind: gpu\nsms: {{value: 3, source: {source}}}\n")
    assert any(line.startswith("f.yaml:3:25: sms.source: must be a text") for line in said_lines)


def test_a_misspelt_source_gets_a_suggestion(said: Said) -> None:
    lines = said("schema_version: 1\nkind: gpu\nsms: {value: 3, sorce: x}\n")
    (line,) = [line for line in lines if "sorce" in line]
    assert line.startswith("f.yaml:3:17: sms.sorce: unknown key 'sorce', allowed: value, source")
    assert line.endswith(", did you mean 'source'?")


def test_an_overriding_value_does_not_inherit_the_source_of_what_it_replaces(write: Write) -> None:
    write("below.yaml", "{source: datasheet, a: {source: table 3, x: 1 ns, y: 2 ns}, b: 3 ns}")
    found = sources_of(write("f.yaml", "schema_version: 1\ninclude: below.yaml\na: {x: 9 ns}\n"))
    assert found == {"a.x": None, "a.y": "table 3", "b": "datasheet"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_value_of_a_shipped_file_has_a_source(path: Path) -> None:
    found = sources_of(path)
    assert found
    assert [key for key, source in found.items() if source is None] == []
