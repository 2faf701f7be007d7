"""A small model computed through the programs of computing banks, and plainly in numpy.

`walk` runs the operators of a trace in order. Norms, residuals and softmaxes are the host's, in
float32; products with weights, the cache of keys and values, and attention go to a `Products`: the
banks, with the very programs of the plan that a simulation runs, or plain numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.functional import FUNCTIONS
from bankwidth.devices.pim.numbers import FORMATS, Floats
from bankwidth.errors import MappingError
from bankwidth.operators import (
    Attention,
    Elementwise,
    Embedding,
    KvAppend,
    Matmul,
    Norm,
    Operator,
    Rope,
    Trace,
)

NORM_EPSILON: Final = 1e-5  # layer_norm_epsilon of GPT-2's config.json
ROPE_BASE: Final = 1e4  # Su et al. 2021


class Products(Protocol):
    """What computing banks may take off the host."""

    def matmul(self, op: Matmul, index: int, x: Floats) -> Floats:
        """x W + bias, [m, n]; with the function that follows, where that is fused."""

    def append(self, op: KvAppend, index: int, keys: Floats, values: Floats) -> None:
        """Keys and values, each [token, head, element], behind those that are there."""

    def attention(self, op: Attention, index: int, queries: Floats) -> Floats:
        """softmax(q K^T / sqrt(d)) V of [token, head, element], of the same shape."""

    def is_fused(self, index: int) -> bool:
        """Whether the product before has computed the operator already."""


class Parameters:
    """Parameters of a model, drawn when they are first used; bf16 numbers, as the banks hold them.

    Weights have the deviation 1 / sqrt(k), so that results keep the size of their inputs.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._known: dict[str, Floats] = {}

    def draw(self, name: str, shape: tuple[int, ...], scale: float = 1.0) -> Floats:
        """A tensor, the same whenever it is asked for."""
        if name not in self._known:
            rng = np.random.default_rng([self._seed, *name.encode()])
            self._known[name] = FORMATS["bf16"].round(scale * rng.standard_normal(shape))
        return self._known[name]

    def weights(self, op: Matmul) -> Floats:
        """W[k, n]"""
        return self.draw(f"{op.layer}/{op.name}", (op.k, op.n), op.k**-0.5)

    def bias(self, op: Matmul) -> Floats:
        """One value per output; zeros where the product has no bias."""
        if not op.bias:
            return np.zeros(op.n, dtype=np.float32)
        return self.draw(f"{op.layer}/{op.name}.bias", (op.n,), 0.1)


def walk(
    trace: Trace, products: Products, parameters: Parameters, tokens: list[int]
) -> list[Floats]:
    """Results of every operator, in order.

    `tokens` are those of the prompt, and of later passes where they are known; else the likeliest
    next token is added to it. Raises MappingError for an operator that it has no numbers for.
    """
    results: list[Floats] = []
    first, end = 0, 0  # positions of the pass
    for index, (op, deps) in enumerate(trace.expand()):
        inputs = [results[dep] for dep in deps]
        match op:
            case Embedding(name="embed"):
                first, end = end, end + op.tokens
                while len(tokens) < end:
                    tokens.append(int(np.argmax(results[-1][-1])))
                results.append(_table(op, parameters)[tokens[first:end]])
            case Embedding():
                results.append(_table(op, parameters)[first:end])
            case Matmul():
                results.append(products.matmul(op, index, inputs[0][-op.m :]))
            case KvAppend():
                width = op.kv_heads * op.head_dim
                keys, values = inputs[0][:, -2 * width : -width], inputs[0][:, -width:]
                shape = (op.tokens, op.kv_heads, op.head_dim)
                products.append(op, index, keys.reshape(shape), values.reshape(shape))
                results.append(inputs[0])
            case Attention():
                width = op.n_heads * op.head_dim
                queries = inputs[0][:, :width].reshape(op.q_len, op.n_heads, op.head_dim)
                results.append(products.attention(op, index, queries).reshape(op.q_len, width))
            case Rope():
                results.append(_rotated(op, inputs[0], np.arange(first, end)))
            case _:
                is_done = products.is_fused(index)
                results.append(inputs[0] if is_done else _on_host(op, inputs, parameters))
    return results


def _table(op: Embedding, parameters: Parameters) -> Floats:
    return parameters.draw(f"{op.layer}/{op.name}", (op.vocab, op.width))


def _on_host(op: Operator, inputs: Sequence[Floats], parameters: Parameters) -> Floats:
    match op:
        case Norm():
            return _norm(op, inputs[0], parameters)
        case Elementwise(function="add"):
            return np.asarray(np.sum(inputs, axis=0), dtype=np.float32)
        case Elementwise(function="silu_mul"):
            gate, up = np.split(inputs[0], 2, axis=-1)
            return np.asarray(FUNCTIONS["silu"](gate) * up, dtype=np.float32)
        case Elementwise() if op.function in FUNCTIONS:
            return np.asarray(FUNCTIONS[op.function](inputs[0]), dtype=np.float32)
    raise MappingError(f"no numbers for {op.kind} {op.name!r}")


def _norm(op: Norm, x: Floats, parameters: Parameters) -> Floats:
    """Layer norm, or the rms norm, which neither centres nor shifts."""
    is_layer = op.style == "layer"
    scale = 1.0 + parameters.draw(f"{op.layer}/{op.name}", (op.width,), 0.1)
    shift = parameters.draw(f"{op.layer}/{op.name}.bias", (op.width,), 0.1) if is_layer else 0.0
    centred = x - x.mean(axis=-1, keepdims=True) if is_layer else x
    deviation = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + np.float32(NORM_EPSILON))
    return np.asarray(centred / deviation * scale + shift, dtype=np.float32)


def _rotated(op: Rope, x: Floats, positions: NDArray[np.int64]) -> Floats:
    """The heads of q and K turned by their positions, the values behind them as they are.

    Element i of a head pairs with element i + head_dim / 2, as in Llama.
    """
    half = op.head_dim // 2
    width = op.heads * op.head_dim
    heads = x[:, :width].reshape(op.tokens, op.heads, 2, half)
    angles = positions[:, None] * ROPE_BASE ** (-np.arange(half) / half)
    cos, sin = (f(angles)[:, None].astype(np.float32) for f in (np.cos, np.sin))
    first, second = heads[:, :, 0], heads[:, :, 1]
    turned = np.stack([first * cos - second * sin, second * cos + first * sin], axis=2)
    return np.concatenate([turned.reshape(op.tokens, width), x[:, width:]], axis=1)


def softmax(scores: Floats, length: int) -> Floats:
    """Probabilities of the first `length` of each row, 0 behind them."""
    weights = np.exp(scores - scores[..., :length].max(axis=-1, keepdims=True))
    weights[..., length:] = 0.0
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


class PlainProducts:
    """Numpy, in float32; `rounded` is what happens to a number on its way to or from the banks."""

    def __init__(
        self, parameters: Parameters, rounded: Callable[[Floats], Floats] = lambda x: x
    ) -> None:
        self._parameters, self._rounded = parameters, rounded
        self._caches: dict[int, list[Any]] = {}  # layer -> keys, values of all tokens

    def matmul(self, op: Matmul, index: int, x: Floats) -> Floats:
        product = self._rounded(x) @ self._parameters.weights(op)
        return self._rounded(product + self._parameters.bias(op))

    def append(self, op: KvAppend, index: int, keys: Floats, values: Floats) -> None:
        new = [self._rounded(keys), self._rounded(values)]
        known = self._caches.get(op.layer)
        self._caches[op.layer] = (
            [np.concatenate(both) for both in zip(known, new, strict=True)] if known else new
        )

    def attention(self, op: Attention, index: int, queries: Floats) -> Floats:
        shared = op.n_heads // op.n_kv_heads
        keys, values = (np.repeat(x, shared, axis=1) for x in self._caches[op.layer])
        products = np.einsum("qhd,thd->qht", self._rounded(queries), keys)
        scores = self._rounded(products) / np.float32(np.sqrt(op.head_dim))
        first = op.kv_len - op.q_len
        rows = [softmax(scores[i], first + i + 1) for i in range(op.q_len)]
        return self._rounded(np.einsum("qht,thd->qhd", self._rounded(np.stack(rows)), values))

    def is_fused(self, index: int) -> bool:
        return False
