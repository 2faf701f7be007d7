"""A drive's three arrays, and views of their parts by name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.nand import kernel_state as w

Ints = NDArray[np.int64]
Words = NDArray[np.int32]


@dataclass(slots=True)
class State:
    """Views into `m`, `f` and `x`; rebuilt when one of the three is replaced."""

    m: Ints
    f: Words
    x: Ints
    units: Ints = field(init=False)
    channels: Ints = field(init=False)
    pages: Ints = field(init=False)
    groups: Ints = field(init=False)
    sources: Ints = field(init=False)
    phases: Ints = field(init=False)
    heap_ps: Ints = field(init=False)
    heap_order: Ints = field(init=False)
    heap_event: Ints = field(init=False)
    commands: Ints = field(init=False)
    transfers: Ints = field(init=False)
    cores: Ints = field(init=False)
    touched: Ints = field(init=False)
    lanes: Ints = field(init=False)
    read_ps: Ints = field(init=False)
    program_ps: Ints = field(init=False)
    planes: Ints = field(init=False)
    counts: Ints = field(init=False)
    waits: Ints = field(init=False)
    mapped: Words = field(init=False)
    holder: Words = field(init=False)
    pending: Words = field(init=False)
    stale: Words = field(init=False)
    erases: Words = field(init=False)
    written: Words = field(init=False)
    free_blocks: Words = field(init=False)
    latencies: Ints = field(init=False)
    log: Ints = field(init=False)
    trace: Ints = field(init=False)
    shapes: dict[str, tuple[int, ...]] = field(init=False)

    def arrays(self) -> tuple[Ints, Words, Ints]:
        """What the kernels take."""
        return self.m, self.f, self.x


# Parts in the order in which they lie: name -> word of its base.
IN_M: Final = {
    name: getattr(w, f"B_{name.upper()}")
    for name in (
        "units", "channels", "sources", "phases", "commands", "transfers", "cores", "touched",
        "lanes", "read_ps", "program_ps", "planes", "pages", "groups", "heap_ps", "heap_order",
        "heap_event",
    )
}  # fmt: skip
IN_F: Final = {
    name: getattr(w, f"B_{name.upper()}")
    for name in ("mapped", "holder", "pending", "stale", "erases", "written", "free_blocks")
}
REQUEST_COLUMNS: Final = ("offsets", "sizes", "writes", "arrivals", "latencies")
IN_X: Final = {name: getattr(w, f"B_{name.upper()}") for name in (*REQUEST_COLUMNS, "log", "trace")}
_VIEWS: Final = {each.name for each in fields(State)}


def build(shapes: dict[str, tuple[int, ...]], old: State | None = None) -> State:
    """Arrays with room for parts of these shapes; what `old` has is carried over.

    `f` is carried over as it is: its parts keep their sizes.
    """
    bases: dict[int, int] = {}
    sizes = [_lay(shapes, IN_M, w.FIXED_WORDS, bases), 0, _lay(shapes, IN_X, 0, bases)]
    if old is None:
        sizes[1] = _lay(shapes, IN_F, 0, bases)
    m = np.zeros(sizes[0], dtype=np.int64)
    f = np.zeros(sizes[1], dtype=np.int32) if old is None else old.f
    z = State(m, f, np.zeros(sizes[2], dtype=np.int64))
    if old is not None:
        m[: w.FIXED_WORDS] = old.m[: w.FIXED_WORDS]
    for word, base in bases.items():
        m[word] = base
    m[w.Z_COMMANDS], m[w.Z_TRANSFERS] = shapes["commands"][1], shapes["transfers"][1]
    m[w.Z_HEAP], m[w.Z_LOG] = shapes["heap_ps"][0], shapes["log"][0]
    m[w.Z_TRACE] = shapes["trace"][0]
    _view(z, shapes)
    if old is not None:
        _carry(old, z)
    return z


def _lay(
    shapes: dict[str, tuple[int, ...]], parts: dict[str, int], first: int, bases: dict[int, int]
) -> int:
    """Bases of parts that lie one behind the other; the end."""
    for name, word in parts.items():
        bases[word] = first
        first += int(np.prod(shapes[name], dtype=np.int64))
    return first


def _view(z: State, shapes: dict[str, tuple[int, ...]]) -> None:
    z.shapes = shapes
    z.counts, z.waits = z.m[w.END_S : w.END_N], z.m[w.END_N : w.END_W]
    whole: tuple[tuple[Any, dict[str, int]], ...] = ((z.m, IN_M), (z.f, IN_F), (z.x, IN_X))
    for array, parts in whole:
        for name, word in parts.items():
            if name in _VIEWS:
                shape = shapes[name]
                base, size = int(z.m[word]), int(np.prod(shape, dtype=np.int64))
                setattr(z, name, array[base : base + size].reshape(shape))


def _carry(old: State, new: State) -> None:
    for name in (*IN_M, "log", "trace"):
        before, part = getattr(old, name), getattr(new, name)
        kept = tuple(slice(min(a, b)) for a, b in zip(before.shape, part.shape, strict=True))
        part[kept] = before[kept]
    for name in REQUEST_COLUMNS:
        size, word = min(old.shapes[name][0], new.shapes[name][0]), IN_X[name]
        start, base = int(old.m[word]), int(new.m[word])
        new.x[base : base + size] = old.x[start : start + size]
