"""Recurrences in place of attention, and the short convolution before them.

A recurrence keeps a state of `state` values for each of its channels, whatever the context. FLOPs
are those of the form that runs:

- one new token: the recurrence itself, as its paper writes it;
- several: selective and elementwise ones run the same recurrence token by token; the others go
  through chunks of `chunk` tokens as products of matrices, whole squares of a chunk computed and
  the masked half thrown away. That is more arithmetic than the recurrence; tensor cores do it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from bankwidth.operators.base import Operator, check_choice, invalid
from bankwidth.operators.model import Recurrence
from bankwidth.operators.tensor import Tensor, activation, stored, weight

# Tokens of a chunk, as the published kernels have it: mamba_ssm's default for Mamba-2, those of
# flash-linear-attention for the others.
CHUNKS: Final[dict[str, int]] = {"ssd": 256, "delta": 64, "gated": 64}
RECURRENCES: Final = ("selective", "ssd", "delta", "gated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan(Operator):
    """`q_len` new tokens of `batch` sequences through `heads` x `head_dim` recurrent channels.

    Each channel has `state` values h; the heads of a group share B and C (keys and queries).

    | recurrence | per token                                       | paper                         |
    | ---------- | ----------------------------------------------- | ----------------------------- |
    | selective  | h = exp(d A) h + d B x, y = C h + D x           | Mamba, arXiv 2312.00752       |
    | ssd        | the same with one A per head                    | Mamba-2, arXiv 2405.21060     |
    | delta      | h = a (1 - b k k') h + b k v', y = q h          | Gated DeltaNet, 2412.06464    |
    | gated      | h = f h + (1 - f) i', y = q h                   | HGRN2, arXiv 2404.07904       |
    | gated      | with `state` 1: h = f h + (1 - f) i, y = h      | MatMul-free LM, 2406.02528    |

    It takes in one activation of all that changes with the token (`in_width` columns) and leaves y.
    `parameters` are its own weights: A, D and the bias of the step, if they are stored with it. The
    state is read and written once, in `state_dtype`, in the cache.
    """

    kind: ClassVar[str] = "scan"
    size_fields: ClassVar[tuple[str, ...]] = (
        "batch", "q_len", "heads", "head_dim", "state", "groups",
    )  # fmt: skip
    dtype_fields: ClassVar[tuple[str, ...]] = ("dtype", "state_dtype")
    rare_fields: ClassVar[tuple[str, ...]] = ("parameters", "chunk")

    recurrence: Recurrence
    batch: int
    q_len: int
    heads: int
    head_dim: int
    state: int
    groups: int = 1
    dtype: str
    state_dtype: str = "fp32"
    parameters: int = 0
    chunk: int | None = None  # None: that of the published kernels

    def check(self) -> None:
        check_choice(self, "recurrence", RECURRENCES)
        if self.heads % self.groups:
            raise invalid(self, f"heads {self.heads} must be a multiple of groups {self.groups}")
        if self.parameters < 0:
            raise invalid(self, f"parameters must be at least 0, got {self.parameters}")
        if self.chunk is not None and self.chunk < 1:
            raise invalid(self, f"chunk must be at least 1, got {self.chunk}")

    @property
    def channels(self) -> int:
        return self.heads * self.head_dim

    @property
    def state_elements(self) -> int:
        """Of one sequence."""
        return self.channels * self.state

    @property
    def in_width(self) -> int:
        """Values that a token brings: x and what its state changes by."""
        return _IN_WIDTHS[self.recurrence](self)

    @property
    def is_chunked(self) -> bool:
        """Whether it runs as products of chunks; with few tokens no chunk is worth it."""
        return self.q_len > 1 and self.state > 1 and self.recurrence in CHUNKS

    @property
    def chunk_tokens(self) -> int:
        return self.chunk or CHUNKS.get(self.recurrence, 1)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        x = activation(self.input_name(0), (self.batch, self.q_len, self.in_width), self.dtype)
        own = (weight(f"{self.name}.weight", (self.parameters,), self.dtype),)
        return (x, *(own if self.parameters else ()), self._state)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        shape = (self.batch, self.q_len, self.channels)
        return (activation(self.output_name, shape, self.dtype), self._state)

    @property
    def flops(self) -> int:
        """Of the form that runs; see above."""
        if not self.is_chunked:
            return self.batch * self.q_len * _TOKEN_FLOPS[self.recurrence](self)
        return self.batch * (self.product_flops + self._chunk_sum(_CHUNK_VECTORS[self.recurrence]))

    @property
    def product_flops(self) -> int:
        """Those of one sequence that are products of matrices; 0 for a recurrence by token."""
        return self._chunk_sum(_CHUNK_PRODUCTS[self.recurrence]) if self.is_chunked else 0

    @property
    def stored_bytes(self) -> int:
        return self._state.size_bytes

    def _chunk_sum(self, of_chunk: Callable[[Scan, int], int]) -> int:
        """Whole chunks, and the rest as a shorter one."""
        whole, rest = divmod(self.q_len, self.chunk_tokens)
        return whole * of_chunk(self, self.chunk_tokens) + (of_chunk(self, rest) if rest else 0)

    @property
    def _state(self) -> Tensor:
        shape = (self.batch, self.heads, self.head_dim, self.state)
        return stored(f"{self.name}.state", shape, self.state_dtype, "kv")


def _selective_width(op: Scan) -> int:
    """x and the step of each channel, B and C."""
    return 2 * op.channels + 2 * op.groups * op.state


def _ssd_width(op: Scan) -> int:
    """x, the step of each head, B and C."""
    return op.channels + op.heads + 2 * op.groups * op.state


def _delta_width(op: Scan) -> int:
    """v, decay and rate of each head, q and k."""
    return op.channels + 2 * op.heads + 2 * op.groups * op.state


def _gated_width(op: Scan) -> int:
    """The input, and of each group the forget gate and q; without a state, a gate per channel."""
    return 2 * op.channels if op.state == 1 else op.channels + 2 * op.groups * op.state


_IN_WIDTHS: Final[dict[str, Callable[[Scan], int]]] = {
    "selective": _selective_width,
    "ssd": _ssd_width,
    "delta": _delta_width,
    "gated": _gated_width,
}


def _selective_token(op: Scan) -> int:
    """Per value: d A, its exponential, B d x, decay and sum, C h. Per channel: d x, D x, sum."""
    return 7 * op.state_elements + 3 * op.channels


def _ssd_token(op: Scan) -> int:
    """Per value: B times d x, decay and sum, C h; the decay is one product and exp per head."""
    return 5 * op.state_elements + 3 * op.channels + 2 * op.heads


def _delta_token(op: Scan) -> int:
    """Per value: decay, k h, k times the change and sum, q h. Change: v less k h, times b.

    Keys and queries of a group are made as long as 1 on the way: square, sum, scale.
    """
    return 7 * op.state_elements + 2 * op.channels + op.heads + 6 * op.groups * op.state


def _gated_token(op: Scan) -> int:
    """Per value: decay, product with 1 - f and sum, then q h where there is a state to read."""
    if op.state == 1:
        return 4 * op.channels
    return 5 * op.state_elements + op.groups * op.state


_TOKEN_FLOPS: Final[dict[str, Callable[[Scan], int]]] = {
    "selective": _selective_token,
    "ssd": _ssd_token,
    "delta": _delta_token,
    "gated": _gated_token,
}


def _ssd_products(op: Scan, tokens: int) -> int:
    """Listing 1 of Mamba-2: C B' of a group, its masked product with x, states in, states out."""
    square = tokens * tokens
    return (
        2 * square * op.state * op.groups
        + 2 * square * op.channels
        + 4 * tokens * op.state_elements
    )


def _delta_products(op: Scan, tokens: int) -> int:
    """The WY form (DeltaNet, arXiv 2406.06484, section 3.2): k k', its inverse, W, U, q k', output.

    Keys and queries are those of each head here, as the kernels compute them. The inverse of a
    triangle with ones on its diagonal takes n^3 / 3.
    """
    square = tokens * tokens
    keys = 3 * 2 * square * op.state * op.heads  # k k', q k', W
    values = 2 * 2 * square * op.channels  # U, and the chunk's own part of the output
    inverse = op.heads * (tokens**3 // 3)
    return keys + values + inverse + 3 * 2 * tokens * op.state_elements


def _gated_products(op: Scan, tokens: int) -> int:
    """As linear attention with decays (GLA, arXiv 2312.06635, section 4): q k', output, states."""
    square = tokens * tokens
    keys = 2 * square * op.state * op.heads
    return keys + 2 * square * op.channels + 4 * tokens * op.state_elements


def _ssd_vectors(op: Scan, tokens: int) -> int:
    """Decays between tokens of a chunk (difference, exp, product), of states; d x and D x."""
    square = tokens * tokens
    return 3 * square * op.heads + 2 * op.state_elements + tokens * (4 * op.channels + 2 * op.heads)


def _delta_vectors(op: Scan, tokens: int) -> int:
    """Decays of both squares, of the state; b k and b v, the change of v, lengths of k and q."""
    square = 3 * 2 * tokens * tokens * op.heads
    scaled = tokens * (op.heads * op.state + 3 * op.channels + 6 * op.groups * op.state)
    return square + scaled + 2 * op.state_elements


def _gated_vectors(op: Scan, tokens: int) -> int:
    """Decays are on q and k; 1 - f; the state's own decay."""
    return tokens * 5 * op.heads * op.state + 2 * op.state_elements


_CHUNK_PRODUCTS: Final[dict[str, Callable[[Scan, int], int]]] = {
    "ssd": _ssd_products,
    "delta": _delta_products,
    "gated": _gated_products,
}
_CHUNK_VECTORS: Final[dict[str, Callable[[Scan, int], int]]] = {
    "ssd": _ssd_vectors,
    "delta": _delta_vectors,
    "gated": _gated_vectors,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Operator):
    """Causal convolution of each of `width` channels with its own `taps` weights (Mamba).

    The last `taps` - 1 inputs of a sequence are kept for its next token, in `dtype`.
    """

    kind: ClassVar[str] = "conv"
    size_fields: ClassVar[tuple[str, ...]] = ("batch", "q_len", "width", "taps")

    batch: int
    q_len: int
    width: int
    taps: int
    has_bias: bool = False
    dtype: str

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        x = activation(self.input_name(0), self._shape, self.dtype)
        return (x, *self.weights, *self._state)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        taps = weight(f"{self.name}.weight", (self.width, self.taps), self.dtype)
        bias = weight(f"{self.name}.bias", (self.width,), self.dtype)
        return (taps, bias) if self.has_bias else (taps,)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return (activation(self.output_name, self._shape, self.dtype), *self._state)

    @property
    def flops(self) -> int:
        """A product and a sum per tap; the bias is in the first sum."""
        return 2 * self.taps * self.batch * self.q_len * self.width

    @property
    def stored_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self._state)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.batch, self.q_len, self.width)

    @property
    def _state(self) -> tuple[Tensor, ...]:
        if self.taps == 1:
            return ()
        shape = (self.batch, self.width, self.taps - 1)
        return (stored(f"{self.name}.state", shape, self.dtype, "kv"),)
