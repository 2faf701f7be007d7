"""Finding the cached tokens that matter: scores of some columns or pages, and the best of them.

Two-phase sparse attention (SparQ, arXiv 2312.04985; Quest, arXiv 2406.10774) reads little of the
cache to choose, and only what it chose to attend to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.tensor import KvRole, Tensor, activation, stored

INDEX_BYTES: Final = 4  # of a chosen row's number: int32


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Operator):
    """Products of queries with `rows` cached rows of `width` per KV head: tokens, or pages.

    The rows are part of the keys (some columns of each, as SparQ reads them), or, with `is_stored`,
    something kept beside them (summaries of pages, as Quest's; keys lying the other way round).
    Scores are written whole, for `Select` to read.
    """

    kind: ClassVar[str] = "score"
    size_fields: ClassVar[tuple[str, ...]] = (
        "batch", "q_len", "rows", "n_heads", "n_kv_heads", "width",
    )  # fmt: skip
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "kv_dtype")

    batch: int
    q_len: int
    rows: int
    n_heads: int
    n_kv_heads: int
    width: int
    dtype: str
    kv_dtype: str
    kv_role: KvRole = "kv"
    is_stored: bool = False

    def check(self) -> None:
        check_choice(self, "kv_role", ("kv", "far", "activation"))
        if self.n_heads % self.n_kv_heads:
            raise invalid(
                self, f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.n_kv_heads}"
            )

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        shape = (self.batch, self.q_len, self.n_heads, self.width)
        return (activation(self.input_name(0), shape, self.dtype), self._rows)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        shape = (self.batch, self.n_heads, self.q_len, self.rows)
        return (activation(self.output_name, shape, self.dtype),)

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.n_heads * self.q_len * self.rows * self.width

    @property
    def stored_bytes(self) -> int:
        return self._rows.size_bytes if self.is_stored and self.kv_role == "kv" else 0

    @property
    def far_stored_bytes(self) -> int:
        return self._rows.size_bytes if self.is_stored and self.kv_role == "far" else 0

    @property
    def _rows(self) -> Tensor:
        shape = (self.batch, self.rows, self.n_kv_heads, self.width)
        return stored(f"{self.name}.rows", shape, self.kv_dtype, self.kv_role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Operator):
    """The `k` largest of each of `rows` rows of `width`: their numbers, 4 bytes each.

    One comparison per value is counted, as a selection by digits or a threshold does at least.
    """

    kind: ClassVar[str] = "select"
    size_fields: ClassVar[tuple[str, ...]] = ("rows", "width", "k")

    rows: int
    width: int
    k: int
    dtype: str

    def check(self) -> None:
        if self.k > self.width:
            raise invalid(self, f"k {self.k} is more than the {self.width} of a row")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return (activation(self.input_name(0), (self.rows, self.width), self.dtype),)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, (self.rows, self.k, INDEX_BYTES), "int8"),)

    @property
    def flops(self) -> int:
        return self.rows * self.width
