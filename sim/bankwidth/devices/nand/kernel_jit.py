"""How the kernels of a drive are compiled."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from numba import njit

F = TypeVar("F")


class Compiles(Protocol):
    """A decorator that leaves the type of what it decorates."""

    def __call__(self, function: F) -> F: ...


_OPTIONS: dict[str, Any] = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
# Called by kernels only: without the wrappers for Python, which take half of the compile time, and
# without counting references, as nothing is allocated. What Python calls is cached, these within.
inner: Compiles = njit(**_OPTIONS)
