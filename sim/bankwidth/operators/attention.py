"""Attention over a KV cache, as one operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.tensor import Tensor, activation, stored, weight

_PHASES: Final = ("prefill", "decode")
KV_ROLES: Final = ("kv", "far", "activation")
TABLE_ENTRY_BYTES: Final = 4  # of a page, in the table of a sequence's pages (vLLM: int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Operator):
    """softmax(q K^T) V for `batch` sequences of `q_len` new tokens over `kv_len` cached ones.

    `kv_len` counts the new tokens too; their keys and values are in the cache already (KvAppend).
    The scores are not stored (Dao et al. 2022, FlashAttention): bytes are q, K, V and the output.
    With `causal`, new token i of q sees the kv - q + i + 1 tokens up to itself, with a `window` the
    last of them only. Values have `v_head_dim`, where it differs from the keys', and `v_dtype`,
    where that differs from `kv_dtype`.

    - `latent`: one tensor is both, V being the first `v_head_dim` columns of K (multi-head latent
      attention with absorbed projections; DeepSeek-V2, arXiv 2405.04434).
    - `residual`: the newest tokens, as many, are kept in `dtype` (KIVI, arXiv 2402.02750).
    - `page`: tokens of a page of the cache; a sequence's last page may be empty in part, and its
      table of pages is read (PagedAttention, arXiv 2309.06180).
    - `stored_len`: tokens that the cache keeps, where it is not those that are read.
    - `kv_role`: where K and V come from: the cache, a part of it kept elsewhere (`far`), or an
      activation that was just made of it.
    - `has_sinks`: a learned score per head beside those of the keys (GPT-OSS).
    - `remat_width`: in place of K and V the cache holds a vector of that width per token, of which
      both are made on the way, by weights in `remat_dtype` (XQuant, arXiv 2508.10395); it may have
      as many `remat_parts`, each of which makes its part of them.
    """

    kind: ClassVar[str] = "attention"
    size_fields: ClassVar[tuple[str, ...]] = (
        "batch", "q_len", "kv_len", "n_heads", "n_kv_heads", "head_dim",
    )  # fmt: skip
    dtype_fields: ClassVar[tuple[str, ...]] = (
        "dtype", "kv_dtype", "v_dtype", "remat_dtype",
    )  # fmt: skip
    rare_fields: ClassVar[tuple[str, ...]] = (
        "v_head_dim", "v_dtype", "window", "latent", "residual", "page", "stored_len", "kv_role",
        "has_sinks", "remat_width", "remat_dtype", "remat_parts",
    )  # fmt: skip

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
    v_head_dim: int | None = None
    v_dtype: str | None = None
    window: int | None = None
    latent: bool = False
    residual: int = 0
    page: int = 0
    stored_len: int | None = None
    kv_role: Literal["kv", "far", "activation"] = "kv"
    has_sinks: bool = False
    remat_width: int = 0
    remat_dtype: str | None = None
    remat_parts: int = 1

    def check(self) -> None:
        check_choice(self, "phase", _PHASES)
        check_choice(self, "kv_role", KV_ROLES)
        if self.n_heads % self.n_kv_heads:
            raise invalid(
                self, f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.n_kv_heads}"
            )
        if self.causal and self.q_len > self.kv_len:
            raise invalid(self, f"causal, but q_len {self.q_len} exceeds kv_len {self.kv_len}")
        self._check_cache()

    def _check_cache(self) -> None:
        for field, least in (("v_head_dim", 1), ("window", 1), ("residual", 0), ("page", 0),
                             ("remat_width", 0)):  # fmt: skip
            value = getattr(self, field)
            if value is not None and value < least:
                raise invalid(self, f"{field} must be at least {least}, got {value}")
        if self.stored_len is not None and self.stored_len < 0:
            raise invalid(self, f"stored_len must be at least 0, got {self.stored_len}")
        if bool(self.remat_width) != bool(self.remat_dtype):
            raise invalid(self, "remat_width and remat_dtype are given together")
        if self.remat_parts < 1 or self.remat_width % self.remat_parts:
            raise invalid(self, f"{self.remat_width} are not {self.remat_parts} equal remat_parts")
        if self.latent and (self.v_head_dim or 0) > self.head_dim:
            raise invalid(self, f"latent: v_head_dim {self.v_head_dim} exceeds {self.head_dim}")

    @property
    def value_dim(self) -> int:
        """Width of a head's value."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim

    @property
    def read_len(self) -> int:
        """Cached tokens of a sequence that its new ones see, taken together."""
        if self.window is None or not self.causal:
            return self.kv_len
        return min(self.kv_len, self.window + self.q_len - 1)

    @property
    def _kept_len(self) -> int:
        """Cached tokens of a sequence that a next one may see as well."""
        return self.kv_len if self.window is None else min(self.kv_len, self.window)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        q = activation(self.input_name(0), self._shape(self.q_len, self.n_heads), self.dtype)
        return (q, *self._cached(self.read_len), *self._tables, *self._weights)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        shape = (self.batch, self.q_len, self.n_heads, self.value_dim)
        return (activation(self.output_name, shape, self.dtype),)

    @property
    def flops(self) -> int:
        """2 d for each score computed, a dot product with K; 2 d of V to scale and add it.

        The softmax is not in it; an engine that charges for it has `score_elements`.
        """
        attended = 2 * (self.head_dim + self.value_dim) * self.score_elements
        return attended + self.remat_flops

    @property
    def remat_flops(self) -> int:
        """Of making K and V again, of every token that is read."""
        inner = self.remat_width // self.remat_parts
        return 2 * self.batch * self.read_len * inner * self._made_width

    @property
    def pairs(self) -> int:
        """(new token, visible token) pairs of one head of one sequence."""
        if not self.causal:
            return self.q_len * self.kv_len
        before = self.q_len * (self.kv_len - self.q_len)
        return before + self.q_len * (self.q_len + 1) // 2 - self._beyond_window

    @property
    def score_elements(self) -> int:
        """Scores over all heads and sequences: the exponentials of the softmax."""
        return self.batch * self.n_heads * self.pairs

    @property
    def stored_bytes(self) -> int:
        return self._stored("kv")

    @property
    def far_stored_bytes(self) -> int:
        return self._stored("far")

    @property
    def _beyond_window(self) -> int:
        """Pairs that a causal mask allows and the window does not."""
        if self.window is None or self.window >= self.kv_len:
            return 0
        most = self.kv_len - self.window  # hidden from the last new token
        least = max(0, most - self.q_len + 1)  # from the first that has any hidden
        return (most + least) * (most - least + 1) // 2

    def _stored(self, role: str) -> int:
        if self.kv_role != role:
            return 0
        tokens = self._kept_len if self.stored_len is None else self.stored_len
        if self.page:
            tokens = -(-tokens // self.page) * self.page
        return sum(t.size_bytes for t in (*self._cached(tokens), *self._tables))

    def _cached(self, tokens: int) -> tuple[Tensor, ...]:
        """K and V of the last `tokens` tokens: the newest plain, the others as they are packed."""
        if self.remat_width:
            shape = (self.batch, tokens, self.remat_width)
            return (stored(f"{self.name}.x", shape, self.kv_dtype, self.kv_role),)
        newest = min(self.residual, tokens)
        parts = [("", tokens - newest, self.kv_dtype, self.v_dtype or self.kv_dtype)]
        parts.append((".new", newest, self.dtype, self.dtype))
        return tuple(
            stored(f"{self.name}.{which}{part}", self._kv_shape(count, width), dtype, self.kv_role)
            for part, count, k_dtype, v_dtype in parts
            for which, width, dtype in self._kinds(k_dtype, v_dtype)
            if count
        )

    @property
    def _made_width(self) -> int:
        """Columns of a token's K and V together."""
        return self.n_kv_heads * (self.head_dim + self.value_dim)

    def _kinds(self, k_dtype: str, v_dtype: str) -> tuple[tuple[str, int, str], ...]:
        """What is stored of a token and head, its width and how."""
        if self.latent:
            return (("k", self.head_dim, k_dtype),)
        return (("k", self.head_dim, k_dtype), ("v", self.value_dim, v_dtype))

    def _kv_shape(self, tokens: int, width: int) -> tuple[int, int, int, int]:
        return (self.batch, tokens, self.n_kv_heads, width)

    @property
    def _tables(self) -> tuple[Tensor, ...]:
        if not self.page or self.kv_role == "activation":
            return ()
        entries = self.batch * -(-self.read_len // self.page)
        shape = (entries, TABLE_ENTRY_BYTES)
        return (stored(f"{self.name}.pages", shape, "int8", self.kv_role),)

    @property
    def _weights(self) -> Iterator[Tensor]:
        if self.has_sinks:
            yield weight(f"{self.name}.sinks", (self.n_heads,), self.dtype)
        if self.remat_dtype is not None:
            shape = (self.remat_width // self.remat_parts, self._made_width)
            yield weight(f"{self.name}.remat", shape, self.remat_dtype)

    def _shape(self, tokens: int, heads: int) -> tuple[int, int, int, int]:
        return (self.batch, tokens, heads, self.head_dim)
