"""Attention over a KV cache, as one operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.tensor import Tensor, activation, cached

_PHASES: Final = ("prefill", "decode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Operator):
    """softmax(q K^T) V for `batch` sequences of `q_len` new tokens over `kv_len` cached ones.

    `kv_len` counts the new tokens too; their keys and values are in the cache already (KvAppend).
    The scores are not stored (Dao et al. 2022, FlashAttention): bytes are q, K, V and the output.
    With `causal`, new token i of q sees the kv - q + i + 1 tokens up to itself.
    """

    kind: ClassVar[str] = "attention"
    size_fields: ClassVar[tuple[str, ...]] = (
        "batch", "q_len", "kv_len", "n_heads", "n_kv_heads", "head_dim",
    )  # fmt: skip
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "kv_dtype")

    phase: Literal["prefill", "decode"]
    batch: int
    q_len: int
    kv_len: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    causal: bool = True
    dtype: str
    kv_dtype: str

    def check(self) -> None:
        check_choice(self, "phase", _PHASES)
        if self.n_heads % self.n_kv_heads:
            raise invalid(
                self, f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.causal and self.q_len > self.kv_len:
            raise invalid(self, f"causal, but q_len {self.q_len} exceeds kv_len {self.kv_len}")

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        q = activation(self.input_name(0), self._shape(self.q_len, self.n_heads), self.dtype)
        kv_shape = self._shape(self.kv_len, self.n_kv_heads)
        k = cached(f"{self.name}.k", kv_shape, self.kv_dtype)
        v = cached(f"{self.name}.v", kv_shape, self.kv_dtype)
        return (q, k, v)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        shape = self._shape(self.q_len, self.n_heads)
        return (activation(self.output_name, shape, self.dtype),)

    @property
    def flops(self) -> int:
        """4 d for each score computed: a dot product of d with K, then d of V scaled and added.

        The softmax is not in it; an engine that charges for it has `score_elements`.
        """
        return 4 * self.head_dim * self.score_elements

    @property
    def pairs(self) -> int:
        """(new token, visible token) pairs of one head of one sequence."""
        if not self.causal:
            return self.q_len * self.kv_len
        before = self.q_len * (self.kv_len - self.q_len)
        return before + self.q_len * (self.q_len + 1) // 2

    @property
    def score_elements(self) -> int:
        """Scores over all heads and sequences: the exponentials of the softmax."""
        return self.batch * self.n_heads * self.pairs

    def _shape(self, tokens: int, heads: int) -> tuple[int, int, int, int]:
        return (self.batch, tokens, heads, self.head_dim)
