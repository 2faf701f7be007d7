"""The tree of exceptions, and suggestions."""

from __future__ import annotations

import pytest

from bankwidth import errors


@pytest.mark.parametrize("name", ["SpecError", "TraceError", "MappingError", "OutputError"])
def test_what_the_user_can_fix_is_a_user_error(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.UserError)
    assert issubclass(kind, errors.BankwidthError)


def test_our_bugs_are_not_the_users() -> None:
    assert not issubclass(errors.SimulationError, errors.UserError)
    assert issubclass(errors.SimulationError, RuntimeError)


@pytest.mark.parametrize("name", ["SpecError", "TraceError"])
def test_wrong_input_is_also_a_value_error(name: str) -> None:
    assert issubclass(getattr(errors, name), ValueError)


def test_the_tree_in_the_docstring_names_every_exception() -> None:
    tree = errors.__doc__ or ""
    public = [
        n
        for n, v in vars(errors).items()
        if isinstance(v, type) and v.__module__ == errors.__name__
    ]
    assert len(public) == 7
    assert [name for name in public if name not in tree] == []


@pytest.mark.parametrize(
    ("found", "known", "hint"),
    [
        ("h20", ["h100", "h200"], ", did you mean 'h200'?"),
        ("H200", ["h100", "h200"], ", did you mean 'h200'?"),
        ("clok", ["clock", "sms"], ", did you mean 'clock'?"),
        ("zzz", ["clock", "sms"], ""),
        ("x", [], ""),
    ],
)
def test_a_close_name_is_suggested_and_a_far_one_not(
    found: str, known: list[str], hint: str
) -> None:
    assert errors.did_you_mean(found, known) == hint
