"""`activations`: what belongs to a distribution stands beside it, and files are numpy's."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bankwidth.spec.activations import PARAMETERS, ActivationsSpec


def test_nothing_said_is_normal_with_a_seed_of_0_and_no_file() -> None:
    spec = ActivationsSpec()
    assert (spec.distribution, spec.seed, spec.file, spec.scale_block) == ("normal", 0, None, None)
    assert hash(spec) == hash(ActivationsSpec(seed=0))


@pytest.mark.parametrize(("name", "distribution"), PARAMETERS.items())
def test_a_parameter_belongs_to_one_distribution(name: str, distribution: str) -> None:
    given: dict[str, Any] = {name: 0.5, "distribution": distribution}
    assert getattr(ActivationsSpec.model_validate(given), name) == 0.5
    for other in ({}, {"distribution": "normal"}):
        with pytest.raises(ValidationError, match=f"only {distribution} has this"):
            ActivationsSpec.model_validate({name: 0.5} | other)


@pytest.mark.parametrize("name", ["a.npy", "folder/a.npz"])
def test_a_file_is_one_of_numpy_s(name: str) -> None:
    assert ActivationsSpec(file=name).file == name


@pytest.mark.parametrize("name", ["a.csv", "npy", "", "a.npy.gz"])
def test_any_other_file_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"need a \.npy or \.npz file"):
        ActivationsSpec(file=name)


def test_other_widths_than_those_of_a_file_need_one() -> None:
    assert ActivationsSpec(file="a.npy").other_widths == "error"
    assert ActivationsSpec(file="a.npy", other_widths="drawn").other_widths == "drawn"
    with pytest.raises(ValidationError, match="all is drawn without a file"):
        ActivationsSpec(other_widths="drawn")


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 1.5},
        {"distribution": "gaussian"},
        {"distribution": "student_t", "degrees_of_freedom": 0.0},
        {"distribution": "outliers", "outlier_share": 1.5},
        {"scale_block": 0},
        {"file": 3},
        {"sead": 1},
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ActivationsSpec.model_validate(wrong)
