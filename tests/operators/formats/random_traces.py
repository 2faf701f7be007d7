"""Random traces of every kind of operator, for round trips: built from the classes' own fields."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hypothesis import reject
from hypothesis import strategies as st

from bankwidth.errors import TraceError
from bankwidth.operators import DTYPE_BITS, KINDS, Block, Operator, Trace

SIZE = st.sampled_from([1, 2, 3, 4, 8, 12, 96])
DTYPE = st.sampled_from(sorted(DTYPE_BITS))
TEXTS = {
    "routing": st.sampled_from(["balanced", "power_law_1.2"]),
    "what": st.sampled_from(["data", " keys, and 'values\""]),
}
NAME = st.text(min_size=1, max_size=8).filter(lambda name: not name.startswith("@"))


def _values(kind: type[Operator], name: str, hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if type(None) in get_args(hint):
        return st.none() | _values(kind, name, get_args(hint)[0])
    if name in kind.dtype_fields:
        return DTYPE
    rest = {bool: st.booleans(), int: SIZE, str: TEXTS.get(name, st.text(max_size=8))}
    return rest[hint]


@st.composite
def operators(draw: st.DrawFn) -> Operator:
    kind = draw(st.sampled_from(list(KINDS.values())))
    hints = get_type_hints(kind)
    given: dict[str, Any] = {"name": "?", "layer": draw(st.integers(-1, 90))}
    for field in fields(kind):
        if field.name in ("name", "layer", "deps"):
            continue
        if field.default is MISSING or draw(st.booleans()):
            given[field.name] = draw(_values(kind, field.name, hints[field.name]))
    try:
        return kind(**given)
    except TraceError:
        reject()


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Operators with distinct names, each waiting for some before it."""
    found = draw(st.lists(operators(), min_size=1, max_size=4))
    names = draw(st.lists(NAME, min_size=len(found), max_size=len(found), unique=True))
    named = []
    for index, operator in enumerate(found):
        deps = draw(st.lists(st.sampled_from([*names[:index], "@prev"]), max_size=3))
        named.append(replace(operator, name=names[index], deps=tuple(deps)))
    return Block(
        name=draw(st.text(max_size=8)), repeat=draw(st.integers(1, 4)), operators=tuple(named)
    )


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
BYTES = st.integers(0, 2**60)
TRACES = st.builds(
    Trace,
    model=st.text(max_size=8),
    phase=st.text(max_size=8),
    batch=SIZE,
    context=BYTES,
    output_tokens=st.integers(0, 9),
    dtypes=st.dictionaries(st.sampled_from(["weight", "activation", "kv"]), DTYPE),
    blocks=st.lists(blocks(), min_size=1, max_size=3).map(tuple),
    weight_bytes=BYTES,
    kv_bytes=BYTES,
    activation_bytes=BYTES,
    meta=st.dictionaries(st.text(max_size=8), PLAIN | FINITE, max_size=3),
    far_bytes=BYTES,
)
