"""Operators in their order as blocks: what repeats exactly becomes one block with `repeat`.

A layer is the shortest sequence that repeats at once and has an attention in it (a product, where
there is no attention). Nothing is taken for equal that is not, so unrolling the blocks gives the
operators back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.formats.one_block import unique_names
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.movement import Collective, Embedding
from bankwidth.operators.trace import Block
from bankwidth.operators.vector import Elementwise, Norm

MAX_PERIOD: Final = 4096  # operators of a layer, or of a group of layers that repeats


class Part(NamedTuple):
    """`repeat` times the operators from `first` on, `period` of them each time."""

    first: int
    period: int
    repeat: int

    @property
    def end(self) -> int:
        return self.first + self.period * self.repeat


def folded_blocks(
    operators: Sequence[Operator], names_given: Sequence[str | None] | None = None
) -> tuple[tuple[Block, ...], list[Part]]:
    """The blocks, and which of the operators each holds. Dependencies are given anew.

    So are the names, after what an operator is, unless one is given.
    """
    parts = folded(operators)
    wanted = names_given or [None] * len(operators)
    layer = 0
    names: list[str] = []
    made: list[tuple[Operator, ...]] = []
    for part in parts:
        places = slice(part.first, part.first + part.period)
        members = operators[places]
        if isinstance(members[0], Embedding):
            layer = 0  # another pass through the layers
        is_layers = part.repeat > 1
        names.append(_block_name(members, part, layer))
        made.append(_in_order(members, wanted[places], layer if is_layers else OUTSIDE))
        layer += part.repeat if is_layers else 0
    blocks = tuple(
        Block(name=name, repeat=part.repeat, operators=members)
        for name, part, members in zip(unique_names(names), parts, made, strict=True)
    )
    return blocks, parts


def _block_name(members: Sequence[Operator], part: Part, layer: int) -> str:
    if part.repeat > 1:
        return f"layers {layer}-{layer + part.repeat - 1}"
    if isinstance(members[0], Embedding):
        return "embed"
    return "head" if layer else "all"


def _in_order(
    operators: Sequence[Operator], wanted: Sequence[str | None], layer: int
) -> tuple[Operator, ...]:
    """Under names of their own; each waits for the one before."""
    pairs = zip(wanted, operators, strict=True)
    names = unique_names(name or _base_name(operator) for name, operator in pairs)
    before = [PREVIOUS, *names]
    return tuple(
        replace(operator, name=name, layer=layer, deps=(dep,))
        for operator, name, dep in zip(operators, names, before, strict=False)
    )


def _base_name(operator: Operator) -> str:
    if isinstance(operator, Elementwise | Collective):
        return operator.function
    return operator.kind


def folded(operators: Sequence[Operator]) -> list[Part]:
    """Parts in order that hold every operator once, repeated ones as long as they can be."""
    numbers: dict[Operator, int] = {}
    keys = np.array([numbers.setdefault(_plain(op), len(numbers)) for op in operators])
    anchor = Attention if any(isinstance(op, Attention) for op in operators) else Matmul
    anchors = np.array([isinstance(op, anchor) for op in operators], dtype=np.int64)
    counts = np.concatenate(([0], np.cumsum(anchors)))
    taken = np.zeros(len(operators), dtype=bool)
    repeated: list[Part] = []
    for period in range(1, min(MAX_PERIOD, len(operators) // 2) + 1):
        for part in _runs(keys, taken, period):
            has_anchor = counts[part.first + period] > counts[part.first]
            if not has_anchor or taken[part.first : part.end].any():
                continue
            part = _rotated(part, operators, keys, taken)
            repeated.append(part)
            taken[part.first : part.end] = True
    return _with_rest(sorted(repeated), operators)


def _plain(operator: Operator) -> Operator:
    """What equal operators have in common: all but their place."""
    return replace(operator, name="?", layer=OUTSIDE, deps=())


def _runs(keys: NDArray[np.int64], taken: NDArray[np.bool_], period: int) -> list[Part]:
    """Longest stretches, not taken yet, in which each operator equals the one `period` later."""
    same = (keys[:-period] == keys[period:]) & ~taken[:-period] & ~taken[period:]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False]))))
    found = []
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        repeat = 1 + (end - first) // period
        if repeat > 1:
            found.append(Part(first, period, repeat))
    return found


def _rotated(
    part: Part, operators: Sequence[Operator], keys: NDArray[np.int64], taken: NDArray[np.bool_]
) -> Part:
    """The same repeats begun a few operators later, at a norm, if the stretch is long enough."""
    slack = 0
    while (
        slack < part.period
        and part.end + slack < len(keys)
        and not taken[part.end + slack]
        and keys[part.first + slack] == keys[part.end + slack]
    ):
        slack += 1
    for shift in range(slack + 1):
        if isinstance(operators[part.first + shift], Norm):
            return part._replace(first=part.first + shift)
    return part


def _with_rest(repeated: Sequence[Part], operators: Sequence[Operator]) -> list[Part]:
    """The operators between the repeated ones as parts of their own; a look-up begins another."""
    parts: list[Part] = []
    at = 0
    for part in (*repeated, Part(len(operators), 0, 1)):
        for index in range(at, part.first):
            is_look_up = isinstance(operators[index], Embedding)
            if index == at or (is_look_up and not isinstance(operators[index - 1], Embedding)):
                parts.append(Part(index, 0, 1))
            parts[-1] = parts[-1]._replace(period=parts[-1].period + 1)
        if part.period:
            parts.append(part)
        at = part.end
    return parts
