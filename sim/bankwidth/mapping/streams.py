"""Tensors as the streams that a memory sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bankwidth.operators import Tensor

CACHED: Final = ("kv", "far")  # roles of keys and values, by where they are


def streams(parts: Iterable[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, int]]:
    """Bytes of each tensor; keys and values are one stream: pages of a cache hold both together.

    As two streams their rows would meet in the same banks, and a memory would serve both at half
    its speed.
    """
    listed = list(parts)
    cached_bytes = {
        role: sum(size for tensor, size in listed if tensor.role == role) for role in CACHED
    }
    for tensor, size in listed:
        if tensor.role not in cached_bytes:
            yield tensor, size
        elif cached_bytes[tensor.role]:
            yield tensor, cached_bytes[tensor.role]
            cached_bytes[tensor.role] = 0
