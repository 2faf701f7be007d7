"""Strict YAML: what words mean, and where nodes are."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.spec.problems import Mark, Unreadable
from bankwidth.spec.scalars import plain_scalar
from bankwidth.spec.tree import Node, parse_yaml, plain


def tree(text: str) -> Node:
    root, problems = parse_yaml(dedent(text), "f.yaml")
    assert problems == []
    assert root is not None
    return root


def complaints(text: str) -> list[str]:
    return [str(problem) for problem in parse_yaml(dedent(text), "f.yaml")[1]]


@pytest.mark.parametrize(
    "word", ["off", "on", "no", "yes", "n", "Y", "OFF", "True", "TRUE", "False"]
)
def test_only_true_and_false_are_booleans(word: str) -> None:
    assert plain(tree(f"a: {word}")) == {"a": word}


def test_true_and_false_are_booleans() -> None:
    assert plain(tree("{a: true, b: false}")) == {"a": True, "b": False}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-9", 1e-9),
        ("1E6", 1e6),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("12", 12),
        ("-7", -7),
        ("1_000", 1000),
        ("0", 0),
    ],
)
def test_numbers_are_read_as_written(text: str, value: float) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["16:30", "010", "0o10", "0x1F", "1.2.3", ".inf", ".nan", "2024-01-01", "1e999", "<<", "="],
)
def test_what_other_readers_turn_into_something_stays_a_text(text: str) -> None:
    assert plain_scalar(text) == text


@pytest.mark.parametrize("text", ["~", "null", ""])
def test_nothing_is_none(text: str) -> None:
    assert plain(tree(f"a: {text}")) == {"a": None}


@pytest.mark.parametrize("quoted", ['"1"', "'1'", '"1e-9"', '"true"', '""'])
def test_a_quoted_word_is_a_text(quoted: str) -> None:
    assert plain(tree(f"a: {quoted}")) == {"a": quoted[1:-1]}


def test_keys_are_always_texts() -> None:
    assert plain(tree("{on: 1, 2: 3, true: 4}")) == {"on": 1, "2": 3, "true": 4}


TEXTS = st.text("ab01 :#'\"\\\n-{[*&!~äö€", max_size=5)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_reads_as_itself(value: object) -> None:
    root, problems = parse_yaml(json.dumps(value, ensure_ascii=False), "f.json")
    assert problems == []
    assert (plain(root) if root else None) == value


def test_nodes_know_line_and_column_of_value_and_key() -> None:
    root = tree(
        """\
        a: 1
        list:
          - x
          - {k: v}
        """
    )
    item = root.children["list"].children["1"].children["k"]
    assert item.mark == Mark("f.yaml", 4, 9)
    assert item.key_mark == Mark("f.yaml", 4, 6)
    assert root.children["list"].key_mark == Mark("f.yaml", 2, 1)


def test_columns_count_characters_not_bytes() -> None:
    assert tree("{ä: 1, ö: 2}").children["ö"].mark == Mark("f.yaml", 1, 11)


def test_a_duplicate_key_is_an_error_that_names_the_first() -> None:
    assert complaints("a: 1\nb: {c: 2, c: 3}\n") == [
        "f.yaml:2:11: b.c: key 'c' is there already, in line 2"
    ]


def test_aliases_are_refused_so_that_files_cannot_explode() -> None:
    assert complaints("a: &x [1]\nb: *x\nc: *x\n") == [
        "f.yaml:2:4: b: alias *x is not allowed, use include:",
        "f.yaml:3:4: c: alias *x is not allowed, use include:",
    ]


def test_a_recursive_alias_is_refused_too() -> None:
    assert complaints("a: &x [*x]") == ["f.yaml:1:8: a.0: alias *x is not allowed, use include:"]


def test_tags_are_refused() -> None:
    assert complaints("a: !!python/object/apply:os.system [ls]") == [
        "f.yaml:1:4: a: tag tag:yaml.org,2002:python/object/apply:os.system is not allowed"
    ]


def test_a_key_that_is_a_list_is_refused() -> None:
    assert complaints("? [a, b]\n: 1\n") == [
        "f.yaml:1:3: a key must be a word, not a list, mapping or alias"
    ]


def test_a_second_document_is_refused() -> None:
    assert complaints("a: 1\n---\nb: 2\n") == [
        "f.yaml:2:1: a second document starts here, write one per file"
    ]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_an_empty_text_has_no_tree(text: str) -> None:
    assert parse_yaml(text, "f.yaml") == (None, [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2\nb: 3\n", "f.yaml:2:2"),
        ("a: 'x\n", "f.yaml:2:1"),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1"),
    ],
)
def test_a_syntax_error_says_where(text: str, place: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_yaml(text, "f.yaml")
    assert str(caught.value.problem).startswith(f"{place}: not YAML: ")


@pytest.mark.parametrize(
    "text", ["[" * 400 + "]" * 400, "- " * 400 + "x", "{a: " * 300 + "1" + "}" * 300]
)
def test_absurd_nesting_is_one_message(text: str) -> None:
    with pytest.raises(Unreadable, match="nested deeper than 50 levels"):
        parse_yaml(text, "f.yaml")


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{a: off, b: 1e-9, c: '3', d: [x, y], e: {f: ~}}"
    fast = tree(text)
    monkeypatch.setattr("bankwidth.spec.tree.LOADER", yaml.SafeLoader)
    assert tree(text) == fast
