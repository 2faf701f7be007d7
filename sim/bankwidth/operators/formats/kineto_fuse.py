"""Sequences of small calls that are one operator: norms, rotary positions, gates, cache writes.

Eager code writes an RMS norm as power, mean, sum, root and two products; Bankwidth has one operator
for it. A sequence is taken only if its shapes fit; its calls' times are added up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.formats.kineto_items import Item
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.vector import FUNCTIONS, Elementwise, Norm, Rope

_MAX_BEHIND: Final = 4  # calls behind a norm's scaling among which the product with the weight is
_MAX_BEFORE: Final = 12  # calls before an attention among which the writes to its cache are
_COMPLEX: Final = "complex"
_CAST: Final = "_to_copy"
# Writes to a cache -> position of what is written; `cat` has a list.
_SOURCES: Final = {"copy": 1, "index_copy": 3, "index_put": 2, "cat": 0}
_KEY_AND_VALUE: Final = 2
_MAX_RANK_WITHOUT_BATCH: Final = 3
_RANK_SPREAD: Final = 5


class Fused(NamedTuple):
    """A sequence: the item that it is, how many items it takes, and what it is called."""

    item: Item
    used: int
    what: str


def fuse(items: Sequence[Item]) -> tuple[list[Item], Counter[str]]:
    """The items with sequences taken together, and how often each kind of sequence was found."""
    found: Counter[str] = Counter()
    made = _replaced(items, (_rms_norm, _rotary, _complex_rotary), found)
    made = _joined_rotary(made)
    made = _replaced(_late_gates(made), (_gate,), found)
    return _cache_writes(_spread_heads(made, found), found), found


def _replaced(
    items: Sequence[Item],
    rules: Sequence[Callable[[Sequence[Item], int], Fused | None]],
    found: Counter[str],
) -> list[Item]:
    made: list[Item] = []
    at = 0
    while at < len(items):
        fused = next((f for rule in rules if (f := rule(items, at)) is not None), None)
        if fused is None:
            made.append(items[at])
            at += 1
        else:
            made.append(fused.item)
            found[fused.what] += 1
            at += fused.used
    return made


def _names(items: Sequence[Item], at: int, names: Sequence[str]) -> bool:
    """Whether calls of these names follow one another."""
    there = items[at : at + len(names)]
    return len(there) == len(names) and all(
        bool(item.calls) and item.short == name for item, name in zip(there, names, strict=True)
    )


def _item(items: Sequence[Item], operator: Operator) -> Item:
    return Item(tuple(call for item in items for call in item.calls), operator)


def _rms_norm(items: Sequence[Item], at: int) -> Fused | None:
    """[to fp32,] square, mean, add, rsqrt, mul, [to x's dtype,] mul by the weight."""
    has_cast = _names(items, at, (_CAST,))
    first = at + has_cast
    if not any(_names(items, first, (s, "mean", "add", "rsqrt", "mul")) for s in _SQUARES):
        return None
    square, mean, add, _, scale = items[first : first + 5]
    x = square.dims(0)
    means = (*x[:-1], 1)
    is_norm = mean.dims(0) == x and add.dims(0) == means and x in (scale.dims(0), scale.dims(1))
    if not is_norm or (square.short == "mul" and square.dims(1) != x):
        return None
    dtype = items[at].dtype(0)
    if dtype is None or (has_cast and items[at].dims(0) != x):
        return None
    end = _norm_end(items, first + 5, x, dtype)
    norm = Norm(name="?", rows=math.prod(x[:-1]), width=x[-1], style="rms", dtype=dtype)
    return Fused(_item(items[at:end], norm), end - at, "RMS norms")


_SQUARES: Final = ("pow", "square", "mul")


def _norm_end(items: Sequence[Item], first: int, x: tuple[int, ...], dtype: str) -> int:
    """Where the norm of x ends: behind the weight and a cast back, if they are there."""
    weight = x[-1:]
    for at in range(first, min(first + _MAX_BEHIND, len(items))):
        item = items[at]
        if item.calls and item.short == "mul" and {item.dims(0), item.dims(1)} == {x, weight}:
            return at + 1 + _is_cast_back(items, at + 1, x, dtype)
        is_step = item.calls and item.short in (_CAST, "add")
        if not is_step or item.dims(0) not in (x, weight):
            break
    return first + _is_cast_back(items, first, x, dtype)


def _is_cast_back(items: Sequence[Item], at: int, x: tuple[int, ...], dtype: str) -> bool:
    return _names(items, at, (_CAST,)) and items[at].dims(0) == x and items[at].dtype(0) != dtype


def _rotary(items: Sequence[Item], at: int) -> Fused | None:
    """x cos + (-second half, first half) sin."""
    if not _names(items, at, ("mul", "neg", "cat", "mul", "add")):
        return None
    by_cos, negated, _, by_sin, added = items[at : at + 5]
    x, cos, dtype = by_cos.dims(0), by_cos.dims(1), by_cos.dtype(0)
    half = (*x[:-1], x[-1] // 2) if x else ()
    fits = negated.dims(0) == half and by_sin.dims(0) == x and added.dims(0) == added.dims(1) == x
    if not fits or not cos or cos[-1] != x[-1] or dtype is None:
        return None
    return Fused(_item(items[at : at + 5], _rope(x, cos, x[-1], dtype)), 5, "rotary positions")


def _complex_rotary(items: Sequence[Item], at: int) -> Fused | None:
    """[to fp32,] x times exp(i angle) as complex numbers [, to x's dtype]."""
    first = at + _names(items, at, (_CAST,))
    if not _names(items, first, ("mul",)) or _COMPLEX not in items[first].call.signature.dtypes[0]:
        return None
    x, turn = items[first].dims(0), items[first].dims(1)
    dtype = items[at].dtype(0) if first > at else "fp32"
    if not turn or turn[-1] != x[-1] or dtype is None:
        return None
    wide = (*x[:-1], 2 * x[-1])
    end = first + 1 + (first > at and _names(items, first + 1, (_CAST,)))
    item = _item(items[at:end], _rope(wide, turn, wide[-1], dtype))
    return Fused(item, end - at, "rotary positions")


def _rope(x: tuple[int, ...], turn: tuple[int, ...], head_dim: int, dtype: str) -> Rope:
    """Heads are the axes along which the angles do not change, but for a batch in front."""
    turns = (1,) * (len(x) - len(turn)) + turn
    first = 1 if len(x) > _MAX_RANK_WITHOUT_BATCH else 0
    heads = math.prod(x[axis] for axis in range(first, len(x) - 1) if turns[axis] == 1)
    tokens = math.prod(x[:-1]) // heads
    return Rope(name="?", tokens=tokens, heads=heads, head_dim=head_dim, dtype=dtype)


def _joined_rotary(items: Sequence[Item]) -> list[Item]:
    """Queries' and keys' rotary positions, one after the other, are one operator."""
    made: list[Item] = []
    was_joined = False
    for item in items:
        rope, before = item.operator, made[-1].operator if made else None
        if isinstance(rope, Rope) and isinstance(before, Rope) and not was_joined:
            joined = replace(before, heads=before.heads + rope.heads)
            if replace(joined, heads=rope.heads) == rope:
                made[-1] = _item((made[-1], item), joined)
                was_joined = True
                continue
        was_joined = False
        made.append(item)
    return made


def _gate(items: Sequence[Item], at: int) -> Fused | None:
    """f(gate) then mul; the product that makes the other factor may lie between."""
    function = items[at].operator
    if not isinstance(function, Elementwise) or f"{function.function}_mul" not in FUNCTIONS:
        return None
    if _is_product_with(items, at + 1, function):
        name: Any = f"{function.function}_mul"  # a key of FUNCTIONS
        both = replace(function, function=name, num_inputs=2)
        return Fused(_item(items[at : at + 2], both), 2, "gated functions")
    return None


def _is_product_with(items: Sequence[Item], at: int, function: Elementwise) -> bool:
    other = items[at].operator if at < len(items) else None
    return (
        isinstance(other, Elementwise)
        and other.function == "mul"
        and other.num_inputs == _KEY_AND_VALUE
        and other.elements == function.elements
    )


def _late_gates(items: Sequence[Item]) -> list[Item]:
    """f(gate), the product for the other factor, mul: the function moves behind the product."""
    made = list(items)
    for at in range(len(made) - 2):
        function, product = made[at].operator, made[at + 1].operator
        is_gate = isinstance(function, Elementwise) and f"{function.function}_mul" in FUNCTIONS
        if not is_gate or not isinstance(product, Matmul) or not isinstance(function, Elementwise):
            continue
        has_size = product.batch * product.m * product.n == function.elements
        if has_size and _is_product_with(made, at + 2, function):
            made[at], made[at + 1] = made[at + 1], made[at]
    return made


def _spread_heads(items: Sequence[Item], found: Counter[str]) -> list[Item]:
    """Keys and values copied out for every query head: the attention takes them as they were."""
    made: list[Item] = []
    for item in items:
        attention = item.operator
        if isinstance(attention, Attention) and len(made) >= _KEY_AND_VALUE:
            heads = {_heads_before_copy(copy, attention) for copy in made[-_KEY_AND_VALUE:]}
            kv_heads = heads.pop()
            if kv_heads and not heads:
                both = [made.pop(-2), made.pop(), item]
                item = _item(both, replace(attention, n_kv_heads=kv_heads))
                found["attentions with keys and values copied for every query head"] += 1
        made.append(item)
    return made


def _heads_before_copy(item: Item, attention: Attention) -> int:
    """KV heads of [batch, KV heads, copies, tokens, head_dim]; 0 for any other copy."""
    dims = item.dims(0) if item.calls and item.short == "clone" else ()
    if len(dims) != _RANK_SPREAD or dims[1] * dims[2] != attention.n_heads:
        return 0
    fits = dims[0] == attention.batch and dims[3] == attention.kv_len
    return dims[1] if fits and attention.n_kv_heads == attention.n_heads else 0


def _cache_writes(items: Sequence[Item], found: Counter[str]) -> list[Item]:
    """The last two writes before an attention that are as large as its new keys and values."""
    made: list[Item | None] = list(items)
    for at, item in enumerate(items):
        if not isinstance(item.operator, Attention):
            continue
        writes = _writes_before(items, at, item.operator)
        if len(writes) == _KEY_AND_VALUE:
            key, value = writes
            both = [items[key], items[value]]
            made[key], made[value] = None, _item(both, _append(item.operator, both))
            found["writes to the KV cache"] += 1
    return [item for item in made if item is not None]


def _writes_before(items: Sequence[Item], at: int, attention: Attention) -> list[int]:
    writes: list[int] = []
    for place in range(at - 1, max(-1, at - 1 - _MAX_BEFORE), -1):
        item = items[place]
        if isinstance(item.operator, Attention | Matmul | KvAppend) or len(writes) == 2:
            break
        if item.calls and item.short in _SOURCES and _is_write(item, attention):
            writes.insert(0, place)
    return writes


def _is_write(item: Item, attention: Attention) -> bool:
    """Whether the keys or the values of the new tokens are written, of whole heads."""
    if item.short != "cat":
        return _kv_heads(_new_values(item), attention, attention.q_len) > 0
    parts = _parts(item)
    if len(parts) != _KEY_AND_VALUE:
        return False
    before, new = parts
    heads = _kv_heads(new, attention, attention.q_len)
    whole = attention.kv_len - attention.q_len
    return heads > 0 and (not whole or _kv_heads(before, attention, whole) == heads)


def _kv_heads(dims: tuple[int, ...], attention: Attention, tokens: int) -> int:
    """How many KV heads of that many tokens have as many values; 0 if that is no whole number."""
    widths = {attention.head_dim, attention.v_head_dim or attention.head_dim}
    if len(dims) < _KEY_AND_VALUE or dims[-1] not in widths:
        return 0
    heads, rest = divmod(math.prod(dims), attention.batch * tokens * dims[-1])
    return 0 if rest or not heads or attention.n_heads % heads else heads


def _parts(item: Item) -> list[tuple[int, ...]]:
    dims = (item.call.signature.dims or ((),))[0]
    return [part for part in dims if isinstance(part, tuple)]


def _new_values(item: Item) -> tuple[int, ...]:
    if item.short == "cat":
        return _parts(item)[1]
    return item.dims(_SOURCES[item.short])


def _append(attention: Attention, writes: Sequence[Item]) -> KvAppend:
    return KvAppend(
        name="?",
        tokens=attention.batch * attention.q_len,
        kv_heads=_kv_heads(_new_values(writes[0]), attention, attention.q_len),
        head_dim=attention.head_dim,
        dtype=writes[0].dtype(1) or attention.dtype,
        kv_dtype=attention.kv_dtype,
        v_head_dim=attention.v_head_dim,
    )
