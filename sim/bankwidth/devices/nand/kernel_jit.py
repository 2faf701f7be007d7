"""How the kernels of a drive are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])
# Called by kernels only: without the wrappers for Python, which take half of the compile time, and
# without counting references, as nothing is allocated. What Python calls is cached, these within.
_OPTIONS: dict[str, Any] = {
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}
inner: Callable[[F], F] = njit(**_OPTIONS)
