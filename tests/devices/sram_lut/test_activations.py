"""Activations: the same again for a seed, quantised as stated, and files that are refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bankwidth.devices.sram_lut.activations import activations, quantised
from bankwidth.errors import UserError
from bankwidth.spec.activations import ActivationsSpec, Distribution

DISTRIBUTIONS = get_args(Distribution)
Put = Callable[..., str]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes an array, or several by name, to a file; gives its path."""

    def to(array: Any = None, **named: Any) -> str:
        path = tmp_path / ("a.npz" if array is None else "a.npy")
        if array is None:
            np.savez(path, **named)
        else:
            np.save(path, np.asarray(array))
        return str(path)

    return to


def of_file(file: str, tokens: int = 2, width: int = 3, bits: int = 8, **more: Any) -> Any:
    return activations(ActivationsSpec(file=file, **more), tokens, width, bits)


# ---- drawn


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_seed_draws_the_same_and_a_smaller_batch_is_the_first_of_it(distribution: Any) -> None:
    spec = ActivationsSpec(distribution=distribution, seed=7)
    values = activations(spec, 5, 40, 8)
    again = activations(ActivationsSpec(distribution=distribution, seed=7), 5, 40, 8)
    assert again is values, "it is remembered"
    assert (activations(spec, 2, 40, 8) == values[:2]).all()
    other = activations(ActivationsSpec(distribution=distribution, seed=8), 5, 40, 8)
    assert (other != values).any()


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_each_token_s_largest_magnitude_is_the_largest_integer(
    distribution: Any, bits: int
) -> None:
    values = activations(ActivationsSpec(distribution=distribution), 6, 50, bits)
    assert (np.abs(values.astype(int)).max(axis=1) == 2 ** (bits - 1) - 1).all()


def test_what_is_drawn_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        activations(ActivationsSpec(), 1, 4, 8)[0, 0] = 1


def test_distributions_have_the_moments_they_are_named_for() -> None:
    """Mean of squares over square of the mean magnitude: pi/2, 2 and 4/3."""
    for distribution, expected in (("normal", np.pi / 2), ("laplace", 2.0), ("uniform", 4 / 3)):
        spec = ActivationsSpec.model_validate({"distribution": distribution})
        values = activations(spec, 1, 200_000, 16).astype(float)
        assert np.mean(values**2) / np.mean(np.abs(values)) ** 2 == pytest.approx(expected, 0.02)


def test_fewer_degrees_of_freedom_have_heavier_tails() -> None:
    def spread(freedom: float) -> float:
        spec = ActivationsSpec(distribution="student_t", degrees_of_freedom=freedom)
        return float(np.abs(activations(spec, 4, 2000, 12)).mean())

    assert spread(2.0) < spread(5.0) < spread(100.0)


def test_outliers_are_the_same_channels_in_every_token_and_so_many() -> None:
    def large(seed: int) -> list[int]:
        spec = ActivationsSpec(
            distribution="outliers", outlier_share=0.009, outlier_scale=1e4, seed=seed
        )
        is_large = np.abs(activations(spec, 8, 300, 16)) > 1000
        assert is_large.sum() > 8, "in many of the tokens"
        return np.flatnonzero(is_large.any(axis=0)).tolist()

    assert len(large(0)) == 3
    assert large(0) != large(1)


# ---- quantised


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20),
    st.integers(2, 16),
    st.none() | st.integers(1, 6),
)
def test_an_integer_is_the_nearest_to_its_number(
    numbers: list[float], bits: int, block: int | None
) -> None:
    row = np.array([numbers])
    values = quantised(row, bits, block)[0].astype(float)
    most = 2 ** (bits - 1) - 1
    for first in range(0, len(numbers), block or len(numbers)):
        part = slice(first, first + (block or len(numbers)))
        largest = np.abs(row[0, part]).max()
        exact = row[0, part] / (largest or 1.0) * most
        assert (np.abs(values[part] - exact) <= 0.5000001).all()


def test_numbers_of_half_precision_are_scaled_in_double() -> None:
    numbers = np.random.default_rng(0).normal(size=(3, 500)).astype(np.float16)
    assert (quantised(numbers, 16) == quantised(numbers.astype(float), 16)).all()


def test_a_token_of_zeros_stays_zeros_and_the_smallest_floats_have_a_scale() -> None:
    assert quantised(np.zeros((1, 4)), 8).tolist() == [[0, 0, 0, 0]]
    assert quantised(np.array([[5e-324, -1e-323]]), 8).tolist() == [[64, -127]]


def test_one_bit_of_two_s_complement_is_0_or_minus_1() -> None:
    assert quantised(np.array([[1.0, -1.0, 0.1]]), 1).tolist() == [[0, -1, 0]]


# ---- from a file


def test_integers_are_taken_as_they_are_and_the_first_tokens(put: Put) -> None:
    rows = [[1, -128, 127], [4, 5, 6], [7, 8, 9]]
    assert of_file(put(rows)).tolist() == rows[:2]


def test_floats_are_quantised_by_token(put: Put) -> None:
    found = of_file(put([[0.5, -1.0, 0.0], [2.0, 4.0, -4.0]]))
    assert found.tolist() == [[64, -127, 0], [64, 127, -127]]


def test_one_row_is_that_of_every_token(put: Put) -> None:
    assert of_file(put([1, 2, 3]), tokens=3).tolist() == [[1, 2, 3]] * 3


def test_an_archive_has_an_array_for_each_width(put: Put) -> None:
    file = put(a=np.ones((2, 3), dtype=np.int8), b=np.full(2, 5))
    assert of_file(file, width=3).tolist() == [[1, 1, 1]] * 2
    assert of_file(file, width=2).tolist() == [[5, 5]] * 2


def test_widths_that_a_file_lacks_are_drawn_where_that_is_said(put: Put) -> None:
    file = put([[1, 2, 3]] * 2)
    drawn = activations(ActivationsSpec(distribution="laplace", seed=3), 2, 9, 8)
    more: dict[str, Any] = {"distribution": "laplace", "seed": 3, "other_widths": "drawn"}
    assert (of_file(file, width=9, **more) == drawn).all()
    assert of_file(file, **more).tolist() == [[1, 2, 3]] * 2
    with pytest.raises(UserError, match=r"shape \[2, 3\]: need one array \[2, 9\]"):
        of_file(file, width=9, distribution="laplace")


def test_a_file_that_changes_is_read_again(put: Put) -> None:
    assert of_file(put([[1, 2, 3]] * 2))[0, 0] == 1
    assert of_file(put([[11, 2, 3]] * 3))[0, 0] == 11


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([[1, 2, 3, 4]] * 2, r"shape \[2, 4\]: need one array \[2, 3\] or \[3\]"),
        ([[1, 2, 3]], r"shape \[1, 3\]: need 2 tokens or more"),
        (np.zeros((2, 1, 3)), r"shape \[2, 1, 3\]: need \[tokens, channels\] or \[channels\]"),
        (3.0, r"shape \[\]: need"),
        (np.zeros((0, 3)), r"shape \[0, 3\]: need"),
        ([["a", "b", "c"]], "of type <U1: need integers or floats"),
        ([[1j, 2, 3]] * 2, "of type complex128: need integers or floats"),
        ([[True, False, True]] * 2, "of type bool"),
        ([[0.0, 1.0, 2.0], [0.0, np.nan, 1.0]], r"nan at \[1, 1\]: need finite numbers"),
        ([[0.0, 1.0, -np.inf]] * 2, r"-inf at \[0, 2\]: need finite numbers"),
        ([[0, 0, 128]] * 2, r"128 at \[0, 2\]: activations of 8 bits are -128 to 127"),
        ([[0, 0, 0], [-129, 0, 0]], r"-129 at \[1, 0\]"),
        (np.full((2, 3), 2**64 - 1, dtype=np.uint64), "18446744073709551615 at"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(put: Put, array: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"a\.npy: .*{said}"):
        of_file(put(array))


def test_two_arrays_of_one_width_are_refused(put: Put) -> None:
    with pytest.raises(UserError, match=r"shape \[3\], shape \[3\]: need one array"):
        of_file(put(a=np.ones(3), b=np.ones(3)))


def test_an_archive_s_wrong_array_is_named(put: Put) -> None:
    with pytest.raises(UserError, match=r"a\.npz\[b\]: of type <U1"):
        of_file(put(a=np.ones(3), b=np.array(["x"])))


class Bomb:
    """What a pickle would do when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("loaded",)


@pytest.mark.parametrize("how", ["save", "pickle"])
def test_pickles_are_never_loaded(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.npy"
    if how == "save":
        np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="no arrays of numbers that can be read"):
        of_file(str(path))
    assert capsys.readouterr().out == ""


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npy: no such file or directory, need"):
        of_file(str(tmp_path / "none.npy"))
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(UserError, match=r"folder\.npy: is a directory, need"):
        of_file(str(tmp_path / "folder.npy"))


@given(
    seed=st.integers(0, 2**32 - 1),
    changes=st.integers(0, 5),
    end=st.integers(0, 400),
    is_archive=st.booleans(),
)
def test_a_damaged_file_is_refused_or_gives_integers(
    tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int, end: int, is_archive: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / ("f.npz" if is_archive else "f.npy")
    if is_archive:
        np.savez_compressed(path, a=np.ones((2, 3)))
    else:
        np.save(path, np.ones((2, 3)))
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(data), size=changes):
        data[place] = random.integers(256)
    path.write_bytes(data[: max(0, len(data) - end)] if end else data)
    with suppress(UserError):
        assert of_file(str(path), seed=seed).shape == (2, 3)
