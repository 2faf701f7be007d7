"""Tensors as the streams that a memory sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bankwidth.operators import Tensor


def streams(parts: Iterable[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, int]]:
    """Bytes of each tensor; keys and values are one stream: pages of a cache hold both together.

    As two streams their rows would meet in the same banks, and a memory would serve both at half
    its speed.
    """
    listed = list(parts)
    cached_bytes = sum(size for tensor, size in listed if tensor.role == "kv")
    for tensor, size in listed:
        if tensor.role != "kv":
            yield tensor, size
        elif cached_bytes:
            yield tensor, cached_bytes
            cached_bytes = 0
