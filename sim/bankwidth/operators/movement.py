"""Operators that move data and compute nothing: look-up, KV append, collectives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.tensor import Tensor, activation, stored, weight

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
    """The keys and values of `tokens` new tokens go to the cache, in the cache's dtype.

    As in `Attention`: values may have another width and dtype, `latent` ones lie in the keys, and
    `kv_role` says where the cache is. `stored_len` are the tokens that it then holds, of all
    sequences together, where no attention that reads it says so.
    """

    kind: ClassVar[str] = "kv_append"
    size_fields: ClassVar[tuple[str, ...]] = ("tokens", "kv_heads", "head_dim")
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "kv_dtype", "v_dtype")
    rare_fields: ClassVar[tuple[str, ...]] = (
        "v_head_dim", "v_dtype", "latent", "kv_role", "stored_len",
    )  # fmt: skip

    tokens: int
    kv_heads: int
    head_dim: int
    dtype: str
    kv_dtype: str
    v_head_dim: int | None = None
    v_dtype: str | None = None
    latent: bool = False
    kv_role: Literal["kv", "far"] = "kv"
    stored_len: int = 0

    def check(self) -> None:
        check_choice(self, "kv_role", ("kv", "far"))
        if self.v_head_dim is not None and self.v_head_dim < 1:
            raise invalid(self, f"v_head_dim must be at least 1, got {self.v_head_dim}")
        if self.stored_len < 0:
            raise invalid(self, f"stored_len must be at least 0, got {self.stored_len}")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(
            activation(self.input_name(index), self._shape(width), self.dtype)
            for index, (_, width, _) in enumerate(self._kinds)
        )

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(
            stored(f"{self.name}.{which}", self._shape(width), dtype, self.kv_role)
            for which, width, dtype in self._kinds
        )

    @property
    def flops(self) -> int:
        return 0

    @property
    def stored_bytes(self) -> int:
        return self._stored("kv")

    @property
    def far_stored_bytes(self) -> int:
        return self._stored("far")

    def _stored(self, role: str) -> int:
        elements = self.stored_len * self.kv_heads
        kinds = self._kinds if role == self.kv_role else ()
        return sum(packed_bytes(elements * width, dtype) for _, width, dtype in kinds)

    @property
    def _kinds(self) -> tuple[tuple[str, int, str], ...]:
        """Which of both, its width and how it is stored."""
        keys = ("k", self.head_dim, self.kv_dtype)
        if self.latent:
            return (keys,)
        return (keys, ("v", self.v_head_dim or self.head_dim, self.v_dtype or self.kv_dtype))

    def _shape(self, width: int) -> tuple[int, int, int]:
        return (self.tokens, self.kv_heads, width)


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
