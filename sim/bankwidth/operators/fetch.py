"""What comes in before it is used: out of a memory further away, or unpacked out of the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.tensor import KvRole, Tensor, activation, stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch(Operator):
    """`size_bytes` out of the memory further away to where activations are, beside the computing.

    `what` says what they are ("keys and values", "experts"), `pieces` in how many contiguous pieces
    they lie there; `kept_bytes` how much of that memory what they are taken from fills, by default
    as much as is fetched. With `deps` it waits for them, as a choice of what to fetch does. Without
    any it is a prefetch: it starts as soon as a buffer is free, of which there are two for each
    `what`.
    """

    kind: ClassVar[str] = "fetch"
    size_fields: ClassVar[tuple[str, ...]] = ("size_bytes", "pieces")
    dtype_fields: ClassVar[tuple[str, ...]] = ()
    rare_fields: ClassVar[tuple[str, ...]] = ("kept_bytes",)

    size_bytes: int
    what: str = "data"
    pieces: int = 1
    kept_bytes: int | None = None

    def check(self) -> None:
        if self.kept_bytes is not None and self.kept_bytes < 0:
            raise invalid(self, f"kept_bytes must be at least 0, got {self.kept_bytes}")
        if self.pieces > self.size_bytes:
            raise invalid(self, f"{self.size_bytes} bytes cannot lie in {self.pieces} pieces")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (stored(f"{self.name}.far", (self.size_bytes,), "int8", "far"),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.size_bytes,), "int8"),)

    @property
    def flops(self) -> int:
        return 0

    @property
    def is_prefetch(self) -> bool:
        """Whether it waits for nothing but room."""
        return not self.deps

    @property
    def far_stored_bytes(self) -> int:
        return self.size_bytes if self.kept_bytes is None else self.kept_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KvRead(Operator):
    """`tokens` stored hidden states of `width` out of the cache, as an activation of `dtype`.

    What XQuant (arXiv 2508.10395) keeps in place of keys and values. Where they are stored in fewer
    bits, each is scaled and moved on the way: two operations.
    """

    kind: ClassVar[str] = "kv_read"
    size_fields: ClassVar[tuple[str, ...]] = ("tokens", "width")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "kv_dtype")

    tokens: int
    width: int
    dtype: str
    kv_dtype: str
    kv_role: KvRole = "kv"

    def check(self) -> None:
        check_choice(self, "kv_role", ("kv", "far"))

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        shape = (self.tokens, self.width)
        return (stored(f"{self.name}.states", shape, self.kv_dtype, self.kv_role),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.tokens, self.width), self.dtype),)

    @property
    def flops(self) -> int:
        return 0 if self.kv_dtype == self.dtype else 2 * self.tokens * self.width

    @property
    def stored_bytes(self) -> int:
        return self.inputs[0].size_bytes if self.kv_role == "kv" else 0

    @property
    def far_stored_bytes(self) -> int:
        return self.inputs[0].size_bytes if self.kv_role == "far" else 0
