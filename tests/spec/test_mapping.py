"""Mapping rules name the operator kinds there are."""

from __future__ import annotations

import pytest

from bankwidth.spec import DTYPES, OPERATOR_KINDS


def test_the_operator_kinds_are_those_of_the_operators() -> None:
    kinds = pytest.importorskip("bankwidth.operators.kinds")
    assert set(OPERATOR_KINDS) == set(kinds.KINDS)


def test_every_number_format_of_operators_may_have_a_rate() -> None:
    dtypes = pytest.importorskip("bankwidth.operators.dtypes")
    assert set(dtypes.DTYPE_BITS) <= set(DTYPES)
