"""Reading fields: aliases, nulls, and one message for all problems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.errors import SpecError
from bankwidth.operators.fields import Config, Fields, text_config


def fields(**config: object) -> Fields:
    return Fields(config, where="mine", family="llama")


def problems(read: Fields) -> list[str]:
    try:
        read.finish()
    except SpecError as error:
        return str(error).split("\n  ")[1:]
    return []


def test_an_alias_is_read_where_the_name_is_absent_or_null() -> None:
    assert fields(b=3).integer("a", "b") == 3
    assert fields(a=None, b=3).integer("a", "b") == 3
    assert fields(a=2, b=3).integer("a", "b") == 2


def test_null_and_absent_differ_where_a_class_says_so() -> None:
    assert fields(a=None).is_null("a")
    assert not fields().is_null("a")
    assert not fields(a=1).is_null("a")
    assert fields(a=None).optional("a", default=4) == 4


def test_zero_is_allowed_where_it_means_none() -> None:
    assert fields(a=0).integer("a", least=0) == 0
    read = fields(a=0)
    read.integer("a")
    assert problems(read) == ["a must be a whole number of at least 1, got 0"]


def test_all_problems_are_named_once() -> None:
    read = fields(a="x")
    for _ in range(2):
        read.integer("a")
        read.integer("b")
        read.flag("a", default=True)
        read.number("a", default=1.0)
    assert problems(read) == [
        "a must be a whole number of at least 1, got 'x'",
        "b is missing",
        "a must be true or false, got 'x'",
        "a must be a number over 0, got 'x'",
    ]


@pytest.mark.parametrize("value", ["12", 3, [1.5], [True], {"a": 1}, [-1]])
def test_a_list_of_numbers_is_one(value: object) -> None:
    read = fields(a=value)
    assert read.integers("a") is None
    assert len(problems(read)) == 1


def test_an_empty_list_is_as_if_absent_or_empty() -> None:
    assert fields().integers("a") is None
    assert not fields(a=[]).integers("a")
    assert fields(a=[0, 2]).integers("a") == (0, 2)


def test_only_the_usual_value_passes() -> None:
    for value in (None, True):
        read = fields(a=value)
        read.only("a", True)
        assert problems(read) == []
    read = fields(a=False)
    read.only("a", True, "no such layer")
    assert problems(read) == ["a must be true: no such layer"]


def test_what_no_getter_asked_for_is_refused() -> None:
    read = fields(a=1, b=2, c=0)
    read.integer("a")
    read.refuse_unread({"a": "one", "b": "two", "c": "three", "d": "four"})
    assert problems(read) == ["b is 2 (two), which the family llama does not have"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers(-3, 3) | st.text()))
def test_reading_never_stops_at_a_problem(config: dict[str, object]) -> None:
    read = Fields(config, where="mine", family="llama")
    for name in "abcdef":
        assert read.integer(name, default=1) >= 1
        assert read.number(name, default=1.0) > 0
        assert read.flag(name, default=False) in (True, False)
    assert all(text[0] in "abcdef" for text in problems(read))


def test_a_flat_configuration_is_its_own_text_part() -> None:
    flat: Config = {"hidden_size": 8, "text_config": {"hidden_size": 4}}
    assert text_config(flat) is flat
    assert text_config({"text_config": None, "a": 1}) == {"text_config": None, "a": 1}
