"""Quantised activations: drawn from a distribution, or read from a file of numpy's.

Symmetric and per token: the largest magnitude of a token (or of a block of its channels) becomes
the largest integer, 0 stays 0. Where outliers lie is drawn once for a width: they are the same
channels in every token (Dettmers et al., LLM.int8(), NeurIPS 2022, has about a thousandth of
them, up to 20 times larger; recalled).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.sram_lut.lookups import range_of
from bankwidth.errors import SpecError
from bankwidth.spec.activations import ActivationsSpec

Floats = NDArray[np.floating]
Integers = NDArray[np.int16]
_REMEMBERED: Final = 16  # draws
_OUTLIER_STREAM: Final = 1  # apart from the numbers, whose stream is 0


def activations(spec: ActivationsSpec, tokens: int, width: int, bits: int) -> Integers:
    """[tokens, width] integers of `bits` bits, read-only; the same ones again for the same asked.

    Raises SpecError where a file has not what is needed, or holds anything but numbers.
    """
    stamp = _stamp(Path(spec.file)) if spec.file else None
    return _remembered(spec, tokens, width, bits, stamp)


@lru_cache(maxsize=_REMEMBERED)
def _remembered(
    spec: ActivationsSpec, tokens: int, width: int, bits: int, stamp: tuple[int, int] | None
) -> Integers:
    found = _of_file(spec, tokens, width, bits) if spec.file else None
    values = _drawn(spec, tokens, width, bits) if found is None else found
    values.flags.writeable = False
    return values


def quantised(numbers: Floats, bits: int, block: int | None = None) -> Integers:
    """Integers nearest to the numbers times their scale, rounding halves to even."""
    low, high = range_of("twos", bits)
    tokens, width = numbers.shape
    block = min(block or width, width)
    padded = np.pad(numbers, ((0, 0), (0, -width % block))).reshape(tokens, -1, block)
    exact = np.result_type(numbers.dtype, np.float64)
    largest = np.abs(padded).max(axis=2, keepdims=True).astype(exact)
    # numbers first divided: a scale of the smallest floats would overflow
    shares = padded / np.where(largest == 0, 1.0, largest)
    integers = np.clip(np.rint(shares * max(high, 1)), low, high).astype(np.int16)
    return np.ascontiguousarray(integers.reshape(tokens, -1)[:, :width])


# ---- drawn


def _drawn(spec: ActivationsSpec, tokens: int, width: int, bits: int) -> Integers:
    draw = _DRAWS[spec.distribution]
    return quantised(draw(spec, _stream(spec, 0), (tokens, width)), bits, spec.scale_block)


def _stream(spec: ActivationsSpec, which: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([spec.seed, which]))


def _outliers(spec: ActivationsSpec, random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    numbers: Floats = random.normal(size=shape)
    count = ceil(spec.outlier_share * shape[1])
    channels = _stream(spec, _OUTLIER_STREAM).permutation(shape[1])[:count]
    numbers[:, channels] *= spec.outlier_scale
    return numbers


_Draw = Callable[[ActivationsSpec, np.random.Generator, tuple[int, int]], Floats]
_DRAWS: Final[Mapping[str, _Draw]] = {
    "normal": lambda spec, random, shape: random.normal(size=shape),
    "laplace": lambda spec, random, shape: random.laplace(size=shape),
    "student_t": lambda spec, random, shape: random.standard_t(spec.degrees_of_freedom, size=shape),
    "uniform": lambda spec, random, shape: random.uniform(-1.0, 1.0, size=shape),
    "outliers": _outliers,
}


# ---- from a file


def _of_file(spec: ActivationsSpec, tokens: int, width: int, bits: int) -> Integers | None:
    """None where the file lacks the width, and such are to be drawn."""
    path = Path(spec.file or "")
    arrays = _read(path)
    for shown, array in arrays.items():
        _check_kind(shown, array)
    wide = {shown: array for shown, array in arrays.items() if array.shape[-1] == width}
    if not wide and spec.other_widths == "drawn":
        return None
    if len(wide) != 1:
        raise SpecError(_no_width(path, arrays, tokens, width))
    shown, array = next(iter(wide.items()))
    if array.ndim == 2 and len(array) < tokens:
        raise SpecError(
            f"{shown}: {_shape(array)}: need {tokens} tokens or more, [{tokens}, {width}]"
        )
    rows = np.broadcast_to(array, (tokens, width)) if array.ndim == 1 else array[:tokens]
    return _integers(shown, rows, bits, spec.scale_block)


def _integers(shown: str, rows: NDArray[Any], bits: int, block: int | None) -> Integers:
    if rows.dtype.kind == "f":
        _refuse_any(shown, rows, ~np.isfinite(rows), "need finite numbers")
        return quantised(rows, bits, block)
    low, high = range_of("twos", bits)
    wrong = (rows < low) | (rows > high)
    _refuse_any(shown, rows, wrong, f"activations of {bits} bits are {low} to {high}")
    return rows.astype(np.int16)


def _refuse_any(shown: str, rows: NDArray[Any], wrong: NDArray[np.bool_], need: str) -> None:
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise SpecError(f"{shown}: {rows[place].item()} at {list(place)}: {need}")


def _check_kind(shown: str, array: NDArray[Any]) -> None:
    if array.dtype.kind not in "iuf":
        raise SpecError(f"{shown}: of type {array.dtype}: need integers or floats")
    if array.ndim not in (1, 2) or not array.size:
        raise SpecError(f"{shown}: {_shape(array)}: need [tokens, channels] or [channels]")


def _no_width(path: Path, arrays: Mapping[str, NDArray[Any]], tokens: int, width: int) -> str:
    found = ", ".join(_shape(array) for array in arrays.values()) or "no arrays"
    return (
        f"{path}: {found}: need one array [{tokens}, {width}] or [{width}]; a .npz has several "
        "widths, `other_widths: drawn` draws those that a file lacks"
    )


def _shape(array: NDArray[Any]) -> str:
    return f"shape {list(array.shape)}"


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        about = path.stat()
    except OSError as error:
        raise SpecError(f"{path}: {_reason(error)}, need a .npy or .npz file") from error
    return about.st_mtime_ns, about.st_size


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by the name to show; nothing in it is ever executed (no pickles)."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong with a file is said below
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {str(path): found}
            return {f"{path}[{name}]": np.asarray(found[name]) for name in found.files}
    except OSError as error:
        raise SpecError(f"{path}: {_reason(error)}, need a .npy or .npz file") from error
    except Exception as error:  # of a damaged file: whatever numpy's, zip's and Python's parsers do
        raise SpecError(
            f"{path}: no arrays of numbers that can be read: need what numpy.save or numpy.savez "
            "writes of integers or floats"
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
