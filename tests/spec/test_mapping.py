"""Mapping rules name the operator kinds there are."""

from __future__ import annotations

import pytest
from tests.spec.conftest import Said

from bankwidth.spec import DTYPES, OPERATOR_KINDS, PimMappingSpec


def test_the_operator_kinds_are_those_of_the_operators() -> None:
    kinds = pytest.importorskip("bankwidth.operators.kinds")
    assert set(OPERATOR_KINDS) == set(kinds.KINDS)


def test_every_number_format_of_operators_may_have_a_rate() -> None:
    dtypes = pytest.importorskip("bankwidth.operators.dtypes")
    assert set(dtypes.DTYPE_BITS) <= set(DTYPES)


def test_every_choice_has_its_default_and_says_what_it_does() -> None:
    for name, field in PimMappingSpec.model_fields.items():
        assert name == "source" or (field.description and not field.is_required())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pim: {haeds: per_channel}", "'haeds'"),
        ("pim: {heads: per_bank}", "allowed: concatenated, per_channel, did you mean"),
        ("pim: {reserve_tokens: 0}", "must be above 0, got 0"),
        ("pim: {activation_function: bank}", "set reuse: result or partial_sums: bank"),
    ],
)
def test_a_wrong_choice_is_told_with_its_line(said: Said, line: str, message: str) -> None:
    text = f"""
    schema_version: 1
    kind: machine
    name: mine
    title: mine
    source: assumed
    engines: {{asic: {{device: asic/pim-gpt-asic}}, pim: {{device: pim/gddr6-aim, memory: m}}}}
    memories: {{m: {{device: dram/gddr6-16, channels: 8}}}}
    links:
      - {{name: l, ends: [asic, m], bandwidth: 256 GB/s, latency: 10 ns, energy: 5 pJ/bit}}
    mapping:
      place: {{weights: m, kv: m, activations: m}}
      run: {{matmul: pim, attention: pim, kv_append: pim, default: asic}}
      {line}
    """
    found = said(text)
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("f.yaml:14:")


def test_functions_in_the_banks_with_sums_there() -> None:
    assert PimMappingSpec(activation_function="bank", reuse="result").partial_sums == "host"
    assert PimMappingSpec(activation_function="bank", partial_sums="bank").reuse == "vector"
