"""Operators that move data and compute nothing: look-up, KV append, collectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from bankwidth.operators.base import Operator, check_choice
from bankwidth.operators.tensor import Tensor, activation, cached, weight

COLLECTIVES: Final = (
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Operator):
    """`tokens` rows of a table of `vocab` rows: only the rows looked up are read.

    The token numbers themselves are not counted.
    """

    kind: ClassVar[str] = "embedding"
    size_fields: ClassVar[tuple[str, ...]] = ("tokens", "width", "vocab")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "weight_dtype")

    tokens: int
    width: int
    vocab: int
    dtype: str
    weight_dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (weight(f"{self.name}.weight", (self.tokens, self.width), self.weight_dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.tokens, self.width), self.dtype),)

    @property
    def flops(self) -> int:
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KvAppend(Operator):
    """The keys and values of `tokens` new tokens go to the cache, in the cache's dtype."""

    kind: ClassVar[str] = "kv_append"
    size_fields: ClassVar[tuple[str, ...]] = ("tokens", "kv_heads", "head_dim")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "kv_dtype")

    tokens: int
    kv_heads: int
    head_dim: int
    dtype: str
    kv_dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (
            activation(self.input_name(0), self._shape, self.dtype),
            activation(self.input_name(1), self._shape, self.dtype),
        )

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (
            cached(f"{self.name}.k", self._shape, self.kv_dtype),
            cached(f"{self.name}.v", self._shape, self.kv_dtype),
        )

    @property
    def flops(self) -> int:
        return 0

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.tokens, self.kv_heads, self.head_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective(Operator):
    """A message of `size_bytes`, exchanged among `ways` participants.

    The size is the larger of one participant's input and output, as in nccl-tests: the output of
    an all_gather, the input of a reduce_scatter or an all_to_all. `dtype` is that of what a
    reduction adds (a 16-bit float when it is not said); the additions are not counted as FLOPs.
    """

    kind: ClassVar[str] = "collective"
    size_fields: ClassVar[tuple[str, ...]] = ("size_bytes", "ways")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype",)

    function: Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]
    size_bytes: int
    ways: int
    dtype: str | None = None

    def check(self) -> None:
        check_choice(self, "function", COLLECTIVES)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (activation(self.input_name(0), (self._bytes("all_gather"),), "int8"),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self._bytes("reduce_scatter"),), "int8"),)

    @property
    def flops(self) -> int:
        return 0

    def _bytes(self, shared_out: str) -> int:
        """The message, or one participant's part of it in the function `shared_out`."""
        return -(-self.size_bytes // (self.ways if self.function == shared_out else 1))
