"""Which entries of a table are looked up: index bits of integers as patterns, recoded exactly.

A table of `group` numbers holds the sums of all their subsets; entry p has those whose bit in p is
set, the first number being bit 0. A vector's integers are cut into groups of as many. The bits that
a group has at one position (a plane) are the pattern that a look-up indexes the table with; the
entry is added at the plane's weight, a power of two, or subtracted.

Two ways to look up less. They change no result, whatever the table holds:

* zeros: the entry of no number is 0 and is not looked up.
* runs: a pattern p on several planes stands for table[p] times the sum N of their weights. N is
  recoded as sums and differences of powers of two in non-adjacent form: 1 + 2 + 4 = 8 - 1, and a
  run that reaches the sign is one subtraction (4 + 8 - 16 = -4). No signed form of N has fewer
  terms (Reitwiesner 1960). So the count is least as long as entries are taken for unrelated
  numbers; that table[3] is table[1] + table[2] is not used.

Members of a batch have accumulators of their own: a pattern that two of them share still takes an
addition for each. What can be shared is the sum of a whole group, where two members have the same
integers in it (`first_alike`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.errors import SpecError

Coding = Literal["twos", "unsigned", "ternary", "binary"]
Ints = NDArray[np.signedinteger]

MAX_BITS: Final = 24  # of an index; sums of plane weights stay far below 32 bits
MAX_GROUP: Final = 16
# Formats of operators whose values are not two's complement of their width: the q formats of GGUF
# files have a zero point that makes them so, but q2_k, whose blocks have minima of their own.
CODINGS: Final[dict[str, Coding]] = {"int1": "binary", "ternary": "ternary", "q2_k": "unsigned"}
_CELLS: Final = 1 << 22  # recoded at once: so much memory in bytes, several times


@dataclass(frozen=True, slots=True)
class Plane:
    """One bit of every integer, and the weight +-2^shift that it counts with."""

    reads: Literal["bit", "positive", "negative", "ones"]  # bit: that at position `shift`
    shift: int
    negate: bool

    @property
    def weight(self) -> int:
        """What a set bit counts."""
        return -(1 << self.shift) if self.negate else 1 << self.shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """One entry per look-up: by group, then member, then shift."""

    groups: int
    members: int
    group_size: int
    group: NDArray[np.int32]
    member: NDArray[np.int32]
    pattern: NDArray[np.int32]
    shift: NDArray[np.int32]
    negate: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pattern)


def coding_of(dtype: str) -> Coding:
    """How a format of integers codes them."""
    return CODINGS.get(dtype, "twos")


def planes_of(coding: Coding, bits: int) -> tuple[Plane, ...]:
    """The planes of integers of `bits` bits, least weight first.

    Ternary values are those above 0 less those below; binary ones, -1 and 1, twice those above 0
    less all. Both have a width of their own, whatever `bits` says.
    """
    if coding == "ternary":
        return Plane("positive", 0, False), Plane("negative", 0, True)
    if coding == "binary":
        return Plane("ones", 0, True), Plane("positive", 1, False)
    if not 1 <= bits <= MAX_BITS:
        raise SpecError(f"integers of {bits} bits: an index has 1 to {MAX_BITS}")
    sign = bits - 1 if coding == "twos" else bits
    return tuple(Plane("bit", shift, shift == sign) for shift in range(bits))


def range_of(coding: Coding, bits: int) -> tuple[int, int]:
    """Least and greatest integer of a coding."""
    if coding in ("ternary", "binary"):
        return -1, 1
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if coding == "twos" else (0, (1 << bits) - 1)


def lookups(
    values: Ints,  # [members, k]
    bits: int,
    group: int,
    *,
    coding: Coding = "twos",
    zeros: bool = True,
    runs: bool = True,
) -> Lookups:
    """The look-ups of each member; numbers that the last group lacks are taken for 0.

    Raises SpecError where an integer is not in the coding, or a group has no size to look up.
    """
    planes = planes_of(coding, bits)
    check(values, coding, bits)
    patterns = patterns_of(values, planes, group)
    weights = np.array([plane.weight for plane in planes], dtype=np.int32)
    parts = []
    for first, part in _in_parts(patterns):
        found = _recoded(part, weights, zeros) if runs else _as_they_are(part, planes, zeros)
        parts.append(_Found(found.group + np.int32(first), *found[1:]))
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, groups, members = patterns.shape
    named = zip(_Found._fields, columns, strict=True)
    return Lookups(groups=groups, members=members, group_size=group, **dict(named))


def check(values: Ints, coding: Coding, bits: int) -> None:
    """Raises SpecError unless these are integers [members, k] of the coding."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "iu":
        found = f"{values.dtype} of shape {list(values.shape)}"
        raise SpecError(f"values of look-ups are integers of shape [members, k], found {found}")
    low, high = range_of(coding, bits)
    wrong = (values < low) | (values > high)
    if coding == "binary":
        wrong |= values == 0
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        allowed = "-1 or 1" if coding == "binary" else f"{low} to {high}"
        raise SpecError(
            f"{int(values[place])} at {list(place)}, {coding} of {bits} bits: {allowed}"
        )


def patterns_of(values: Ints, planes: tuple[Plane, ...], group: int) -> NDArray[np.uint16]:
    """[planes, groups, members]: the pattern that each plane has."""
    if not 1 <= group <= MAX_GROUP:
        raise SpecError(f"a group of {group} numbers: a table is of 1 to {MAX_GROUP}")
    whole = _grouped(values, group)
    patterns = np.zeros((len(planes), *whole.shape[1:]), dtype=np.uint16)
    lacking = -values.shape[1] % group
    for plane, pattern in zip(planes, patterns, strict=True):
        for place, numbers in enumerate(whole):
            pattern |= _bit(numbers, plane) << np.uint16(place)
        if plane.reads == "ones":
            pattern[-1] >>= np.uint16(lacking)
    return patterns


def needed(looked_up: Lookups) -> NDArray[np.bool_]:
    """[groups, 2^group_size]: entries that look-ups need, and those that these are built from."""
    entries = np.zeros((looked_up.groups, 1 << looked_up.group_size), dtype=np.bool_)
    entries[looked_up.group, looked_up.pattern] = True
    return with_origins(entries)


def with_origins(entries: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[..., 2^group_size], changed in place: those that the marked ones are built from as well.

    An entry is one number, its lowest, added to the entry of the others, so that what an entry
    needs is found from the largest down. An entry of one number is that number.
    """
    for entry in range(entries.shape[-1] - 1, 0, -1):
        if others := entry & (entry - 1):
            entries[..., others] |= entries[..., entry]
    return entries


def first_alike(values: Ints, group: int) -> NDArray[np.intp]:
    """[groups, members]: the first member that has the same integers in a group.

    Members alike can share the sum of the group: it is added up once, and once to each of them.
    """
    alike = _alike(_grouped(values, group))
    order = np.argsort(alike, axis=1, kind="stable")
    ordered = np.take_along_axis(alike, order, axis=1)
    is_first = np.ones(alike.shape, dtype=np.bool_)
    is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.where(is_first, np.arange(alike.shape[1]), 0)
    first = np.empty_like(order)
    of_ordered = np.take_along_axis(order, np.maximum.accumulate(places, axis=1), axis=1)
    np.put_along_axis(first, order, of_ordered, axis=1)
    return first


def _alike(whole: Ints) -> NDArray[np.int64]:
    """[groups, members]: equal where all numbers of a group are."""
    alike = np.zeros(whole.shape[1:], dtype=np.int64)
    for numbers in whole:
        least = int(numbers.min())
        keys = alike * (int(numbers.max()) - least + 1) + (numbers.astype(np.int64) - least)
        alike = np.unique(keys, return_inverse=True)[1].reshape(keys.shape)
    return alike


def _grouped(values: Ints, group: int) -> Ints:
    """[group, groups, members]: the first number of each group, then the second, ..."""
    members, k = values.shape
    padded = np.pad(values, ((0, 0), (0, -k % group)))
    return np.ascontiguousarray(padded.reshape(members, -1, group).transpose(2, 1, 0))


def _bit(numbers: Ints, plane: Plane) -> NDArray[np.uint16]:
    match plane.reads:
        case "bit":
            return ((numbers >> plane.shift) & 1).astype(np.uint16)
        case "positive":
            return (numbers > 0).astype(np.uint16)
        case "negative":
            return (numbers < 0).astype(np.uint16)
        case "ones":
            return np.ones(numbers.shape, dtype=np.uint16)


# ---- from patterns to look-ups


class _Found(NamedTuple):
    """Columns of `Lookups`."""

    group: NDArray[np.int32]
    member: NDArray[np.int32]
    pattern: NDArray[np.int32]
    shift: NDArray[np.int32]
    negate: NDArray[np.bool_]


def _in_parts(patterns: NDArray[np.uint16]) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """Some groups at a time, with the number of the first."""
    planes, groups, members = patterns.shape
    step = max(1, _CELLS // (planes * (planes + 1) * members))
    for first in range(0, groups, step):
        yield first, patterns[:, first : first + step]


def _as_they_are(patterns: NDArray[np.uint16], planes: tuple[Plane, ...], zeros: bool) -> _Found:
    """A look-up for each plane."""
    by_group = np.ascontiguousarray(patterns.transpose(1, 2, 0))  # [groups, members, planes]
    flat = np.flatnonzero(by_group) if zeros else np.arange(by_group.size)
    sequence, plane = np.divmod(flat, len(planes))
    group, member = np.divmod(sequence, patterns.shape[2])
    return _Found(
        group.astype(np.int32),
        member.astype(np.int32),
        by_group.reshape(-1)[flat].astype(np.int32),
        np.array([p.shift for p in planes], dtype=np.int32)[plane],
        np.array([p.negate for p in planes])[plane],
    )


def _recoded(patterns: NDArray[np.uint16], weights: NDArray[np.int32], zeros: bool) -> _Found:
    """For each different pattern of a sequence, the terms of the sum of its planes' weights."""
    sums = _sums(patterns, weights, zeros).transpose(1, 2, 0)
    tripled = 3 * sums
    terms = np.ascontiguousarray(tripled ^ sums) >> 1  # non-adjacent form: a bit for each term,
    lesser = np.ascontiguousarray(sums & ~tripled) >> 1  # and those that are subtracted
    shifts = np.arange(max(1, int(terms.max()).bit_length()), dtype=np.int32)
    # [groups, members, shifts, planes]
    is_term = (terms[:, :, None, :] >> shifts[:, None]) & 1
    flat = np.flatnonzero(is_term)
    rest, plane = np.divmod(flat, len(weights))
    sequence, shift = np.divmod(rest, len(shifts))
    group, member = np.divmod(sequence, patterns.shape[2])
    return _Found(
        group.astype(np.int32),
        member.astype(np.int32),
        patterns[plane, group, member].astype(np.int32),
        shift.astype(np.int32),
        (lesser[group, member, plane] >> shift) & 1 == 1,
    )


def _sums(
    patterns: NDArray[np.uint16], weights: NDArray[np.int32], zeros: bool
) -> NDArray[np.int32]:
    """[planes, ...]: what a pattern counts in all; 0 where an earlier plane has it too."""
    sums = np.zeros(patterns.shape, dtype=np.int32)
    for plane, pattern in enumerate(patterns):
        is_new = pattern != 0 if zeros else np.ones(pattern.shape, dtype=np.bool_)
        for earlier in patterns[:plane]:
            is_new &= earlier != pattern
        for later, weight in zip(patterns[plane:], weights[plane:], strict=True):
            sums[plane] += weight * (later == pattern)
        sums[plane] *= is_new
    return sums
