"""What is measured: operators by their sizes and number formats, and the bytes and FLOPs of each.

`columns()` of a shape are the cells of the measured table that identify it. Memory traffic is
split by temperature: `cold_bytes` (weights, KV cache) come from device memory whenever a model
runs, `warm_bytes` (activations in) and `out_bytes` were or will be used by a neighbour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Final

from gpucap.dtypes import RESULT_BYTES, size_bytes

Cell = str | int

# function -> inputs
FUNCTIONS: Final[dict[str, int]] = {
    "add": 2, "mul": 2, "relu": 1, "gelu": 1, "silu": 1, "silu_mul": 2,
}  # fmt: skip
COLLECTIVES: Final = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape(ABC):
    """One operator; `operator` is its name in the measured table."""

    operator: str
    dtype: str
    rate: ClassVar[str] = "vector"  # or "tensor": the units that do its arithmetic

    @property
    @abstractmethod
    def cold_bytes(self) -> int: ...

    @property
    @abstractmethod
    def warm_bytes(self) -> int: ...

    @property
    @abstractmethod
    def out_bytes(self) -> int: ...

    @property
    def flops(self) -> int:
        """Arithmetic that can bound the time; the vector operators are bound by their bytes."""
        return 0

    def columns(self) -> dict[str, Cell]:
        """Fields by name; a truth value as `true` or `false`."""
        cells = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: str(v).lower() if isinstance(v, bool) else v for k, v in cells.items()}

    def label(self) -> str:
        """`gemm m=1 n=4096 k=4096 bf16`."""
        own = {k: v for k, v in self.columns().items() if k not in ("operator", "dtype")}
        return f"{self.operator} {' '.join(f'{k}={v}' for k, v in own.items())} {self.dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm(Shape):
    """y[m, n] = x[m, k] W[k, n] + bias, `batch` independent times. W is cold."""

    rate: ClassVar[str] = "tensor"
    m: int
    n: int
    k: int
    batch: int = 1
    bias: bool = False
    weight_dtype: str

    @property
    def cold_bytes(self) -> int:
        bias_bytes = size_bytes(self.n, self.dtype) if self.bias else 0
        return size_bytes(self.batch * self.k * self.n, self.weight_dtype) + bias_bytes

    @property
    def warm_bytes(self) -> int:
        return size_bytes(self.batch * self.m * self.k, self.dtype)

    @property
    def out_bytes(self) -> int:
        elements = self.batch * self.m * self.n
        return elements * RESULT_BYTES.get(self.dtype, size_bytes(1, self.dtype))

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.m * self.n * self.k


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Shape):
    """softmax(q K^T) V. `kv_len` counts the new tokens too; with `causal`, new token i sees the
    kv_len - q_len + i + 1 tokens up to itself. K and V are cold."""

    rate: ClassVar[str] = "tensor"
    batch: int
    q_len: int
    kv_len: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    causal: bool = True
    kv_dtype: str

    @property
    def cold_bytes(self) -> int:
        values = self.batch * self.kv_len * self.n_kv_heads * self.head_dim
        return 2 * size_bytes(values, self.kv_dtype)

    @property
    def warm_bytes(self) -> int:
        return size_bytes(self.batch * self.q_len * self.n_heads * self.head_dim, self.dtype)

    @property
    def out_bytes(self) -> int:
        return self.warm_bytes

    @property
    def flops(self) -> int:
        before = self.q_len * (self.kv_len - self.q_len)
        causal = before + self.q_len * (self.q_len + 1) // 2
        pairs = causal if self.causal else self.q_len * self.kv_len
        return 4 * self.head_dim * self.batch * self.n_heads * pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWise(Shape):
    """layernorm, rmsnorm or softmax of `rows` vectors of `width`."""

    rows: int
    width: int

    @property
    def cold_bytes(self) -> int:
        return 0  # the vectors of scales and biases are too small to matter

    @property
    def warm_bytes(self) -> int:
        vectors = {"rmsnorm": 1, "layernorm": 2, "softmax": 0}[self.operator]
        return self.out_bytes + vectors * size_bytes(self.width, self.dtype)

    @property
    def out_bytes(self) -> int:
        return size_bytes(self.rows * self.width, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Shape):
    """`elements` results of add, mul, relu, gelu, silu or silu_mul."""

    elements: int

    @property
    def cold_bytes(self) -> int:
        return 0

    @property
    def warm_bytes(self) -> int:
        return FUNCTIONS[self.operator] * self.out_bytes

    @property
    def out_bytes(self) -> int:
        return size_bytes(self.elements, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope(Shape):
    """Rotary positions on `heads` query and key heads of `tokens` tokens."""

    tokens: int
    heads: int
    head_dim: int

    @property
    def cold_bytes(self) -> int:
        return 0

    @property
    def warm_bytes(self) -> int:
        return size_bytes(self.tokens * self.heads * self.head_dim, self.dtype)

    @property
    def out_bytes(self) -> int:
        return self.warm_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Shape):
    """`tokens` rows of a table of `vocab` rows; only the rows looked up are read."""

    tokens: int
    width: int
    vocab: int

    @property
    def cold_bytes(self) -> int:
        return size_bytes(self.tokens * self.width, self.dtype)

    @property
    def warm_bytes(self) -> int:
        return 8 * self.tokens  # token numbers, int64

    @property
    def out_bytes(self) -> int:
        return self.cold_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KvAppend(Shape):
    """Keys and values of `tokens` new tokens go to their places in the cache."""

    tokens: int
    kv_heads: int
    head_dim: int
    kv_dtype: str

    @property
    def cold_bytes(self) -> int:
        return 2 * size_bytes(self.tokens * self.kv_heads * self.head_dim, self.kv_dtype)

    @property
    def warm_bytes(self) -> int:
        return 2 * size_bytes(self.tokens * self.kv_heads * self.head_dim, self.dtype)

    @property
    def out_bytes(self) -> int:
        return 0  # the cache is written in place


@dataclass(frozen=True, slots=True, kw_only=True)
class Moe(Shape):
    """A mixture-of-experts feed-forward: gather, gate and up, silu, down, weighted sum.

    `distribution` is `balanced` or `power_law_A` (see case_moe.popularity). Names of the columns
    are those of the public tables of this kind.
    """

    rate: ClassVar[str] = "tensor"
    num_tokens: int
    hidden_size: int
    inter_size: int
    topk: int
    num_experts: int
    distribution: str = "balanced"

    @property
    def cold_bytes(self) -> int:
        """Weights of the experts that have a token, at most all."""
        active = min(self.num_experts, self.num_tokens * self.topk)
        return size_bytes(3 * active * self.hidden_size * self.inter_size, self.dtype)

    @property
    def weight_bytes(self) -> int:
        """Weights of all experts."""
        return size_bytes(3 * self.num_experts * self.hidden_size * self.inter_size, self.dtype)

    @property
    def warm_bytes(self) -> int:
        return size_bytes(self.num_tokens * self.hidden_size, self.dtype)

    @property
    def out_bytes(self) -> int:
        return self.warm_bytes

    @property
    def flops(self) -> int:
        return 6 * self.num_tokens * self.topk * self.hidden_size * self.inter_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective(Shape):
    """Read so that tables and traces that have them are understood; needs several GPUs to run."""

    bytes: int
    n_gpu: int

    @property
    def cold_bytes(self) -> int:
        return 0

    @property
    def warm_bytes(self) -> int:
        return self.bytes

    @property
    def out_bytes(self) -> int:
        return self.bytes


# Every shape column of a measured table, in its order.
SHAPE_COLUMNS: Final = (
    "operator", "m", "n", "k", "batch", "bias",
    "q_len", "kv_len", "n_heads", "n_kv_heads", "head_dim", "causal",
    "rows", "width", "elements", "tokens", "heads", "kv_heads", "vocab",
    "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "distribution",
    "dtype", "weight_dtype", "kv_dtype",
)  # fmt: skip
