"""The operators of one forward pass of a model, from its shape.

| layer, norm first (GPT, OPT, Llama)                  | layer, norm last (OPT-350M)             |
| ---------------------------------------------------- | --------------------------------------- |
| norm1, qkv, [rope,] kv_append, attention, o, add1,   | qkv, kv_append, attention, o, add1,     |
| norm2, fc1, gelu/relu, fc2, add2                     | norm1, fc1, gelu/relu, fc2, add2, norm2 |
| (gated: gate_up, silu_mul, down)                     |                                         |

A parallel layer (Falcon): norm1, attention as above, fc1, gelu, fc2 on norm1 as well, add2 of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, PREVIOUS, Operator
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import AttentionShape, LayerShape, MlpShape, ModelShape
from bankwidth.operators.movement import Embedding, KvAppend
from bankwidth.operators.trace import Block
from bankwidth.operators.vector import Elementwise, Norm, Rope


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtypes:
    """Matrices and embeddings are in `weight`, norms and biases in `activation`."""

    weight: str
    activation: str
    kv: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass: `q_len` new tokens in each sequence; `kv_len` in the cache, with them."""

    phase: Literal["prefill", "decode"]
    batch: int
    q_len: int
    kv_len: int

    @property
    def tokens(self) -> int:
        return self.batch * self.q_len


def pass_blocks(model: ModelShape, run: Pass, dtypes: Dtypes, prefix: str = "") -> list[Block]:
    """Embedding, the layers with equal neighbours as one repeated block, head."""
    embed = _Operators(model, run, dtypes, OUTSIDE).embed()
    head = _Operators(model, run, dtypes, OUTSIDE).head()
    return [
        Block(name=f"{prefix}embed", operators=embed),
        *_layer_blocks(model, run, dtypes, prefix),
        Block(name=f"{prefix}head", operators=head),
    ]


def _layer_blocks(model: ModelShape, run: Pass, dtypes: Dtypes, prefix: str) -> list[Block]:
    blocks = []
    first = 0
    for layer, group in groupby(model.layers):
        repeat = len(list(group))
        operators = _Operators(model, run, dtypes, first).layer(layer)
        name = f"{prefix}layers {first}-{first + repeat - 1}"
        blocks.append(Block(name=name, repeat=repeat, operators=operators))
        first += repeat
    return blocks


class _Operators:
    """Collects the operators of one block; each adder returns the name to depend on."""

    def __init__(self, model: ModelShape, run: Pass, dtypes: Dtypes, layer: int) -> None:
        self._model = model
        self._run = run
        self._dtypes = dtypes
        self._layer = layer
        self._made: list[Operator] = []

    def embed(self) -> tuple[Operator, ...]:
        """Token embedding, projected to the model's width if it is narrower, plus positions."""
        model = self._model
        x = self._lookup("embed", model.vocab, model.embed_width)
        if model.has_projection:
            x = self._matmul("project_in", x, model.hidden, model.embed_width)
        if model.position_rows:
            positions = self._lookup("embed_position", model.position_rows, model.hidden)
            self._elementwise("embed_add", (x, positions), "add", model.hidden)
        return tuple(self._made)

    def layer(self, layer: LayerShape) -> tuple[Operator, ...]:
        if layer.parallel:
            self._layer_parallel(layer)
        elif layer.norm_first:
            self._layer_norm_first(layer)
        else:
            self._layer_norm_last(layer)
        return tuple(self._made)

    def head(self) -> tuple[Operator, ...]:
        """Final norm of all tokens; logits of the last token of each sequence only."""
        model = self._model
        x = self._norm("final_norm", PREVIOUS) if model.has_final_norm else PREVIOUS
        if model.has_projection:
            x = self._matmul("project_out", x, model.embed_width, model.hidden)
        self._matmul("lm_head", x, model.vocab, model.embed_width, rows=self._run.batch)
        return tuple(self._made)

    def _layer_norm_first(self, layer: LayerShape) -> None:
        out = self._attention(layer.attention, self._norm("norm1", PREVIOUS))
        middle = self._elementwise("add1", (out, PREVIOUS), "add", self._model.hidden)
        out = self._mlp(layer.mlp, self._norm("norm2", middle))
        self._elementwise("add2", (out, middle), "add", self._model.hidden)

    def _layer_parallel(self, layer: LayerShape) -> None:
        x = self._norm("norm1", PREVIOUS)
        attended = self._attention(layer.attention, x)
        parts = (self._mlp(layer.mlp, x), attended, PREVIOUS)
        self._elementwise("add2", parts, "add", self._model.hidden)

    def _layer_norm_last(self, layer: LayerShape) -> None:
        out = self._attention(layer.attention, PREVIOUS)
        added = self._elementwise("add1", (out, PREVIOUS), "add", self._model.hidden)
        middle = self._norm("norm1", added)
        out = self._mlp(layer.mlp, middle)
        self._norm("norm2", self._elementwise("add2", (out, middle), "add", self._model.hidden))

    def _attention(self, shape: AttentionShape, x: str) -> str:
        hidden = self._model.hidden
        qkv = self._matmul("qkv", x, shape.qkv_width, hidden, bias=shape.has_bias)
        rotated = self._rope(shape, qkv) if shape.has_rope else qkv
        append = self._kv_append(shape, rotated, qkv)
        out = self._attend(shape, rotated, append)
        return self._matmul("o", out, hidden, shape.q_width, bias=shape.has_bias)

    def _mlp(self, shape: MlpShape, x: str) -> str:
        up, down = ("gate_up", "down") if shape.is_gated else ("fc1", "fc2")
        hidden = self._model.hidden
        x = self._matmul(up, x, shape.up_width, hidden, bias=shape.has_bias)
        x = self._elementwise(shape.function, (x,), shape.function, shape.width)
        return self._matmul(down, x, hidden, shape.width, bias=shape.has_bias)

    def _add(self, operator: Operator) -> str:
        self._made.append(operator)
        return operator.name

    def _lookup(self, name: str, rows: int, width: int) -> str:
        return self._add(
            Embedding(
                name=name,
                layer=self._layer,
                deps=(PREVIOUS,),
                tokens=self._run.tokens,
                width=width,
                vocab=rows,
                dtype=self._dtypes.activation,
                weight_dtype=self._dtypes.weight,
            )
        )

    def _matmul(
        self, name: str, x: str, n: int, k: int, *, bias: bool = False, rows: int | None = None
    ) -> str:
        return self._add(
            Matmul(
                name=name,
                layer=self._layer,
                deps=(x,),
                m=self._run.tokens if rows is None else rows,
                n=n,
                k=k,
                dtype=self._dtypes.activation,
                weight_dtype=self._dtypes.weight,
                bias=bias,
            )
        )

    def _norm(self, name: str, x: str) -> str:
        return self._add(
            Norm(
                name=name,
                layer=self._layer,
                deps=(x,),
                rows=self._run.tokens,
                width=self._model.hidden,
                style=self._model.norm_style,
                dtype=self._dtypes.activation,
            )
        )

    def _elementwise(
        self,
        name: str,
        deps: tuple[str, ...],
        function: Literal["add", "gelu", "relu", "silu", "silu_mul"],
        width: int,
    ) -> str:
        return self._add(
            Elementwise(
                name=name,
                layer=self._layer,
                deps=deps,
                function=function,
                elements=self._run.tokens * width,
                num_inputs=2 if function == "silu_mul" else len(deps),
                dtype=self._dtypes.activation,
                rows=self._run.tokens,
            )
        )

    def _rope(self, shape: AttentionShape, qkv: str) -> str:
        return self._add(
            Rope(
                name="rope",
                layer=self._layer,
                deps=(qkv,),
                tokens=self._run.tokens,
                heads=shape.n_heads + shape.n_kv_heads,
                head_dim=shape.head_dim,
                dtype=self._dtypes.activation,
            )
        )

    def _kv_append(self, shape: AttentionShape, key: str, value: str) -> str:
        return self._add(
            KvAppend(
                name="kv_append",
                layer=self._layer,
                deps=(key, value) if key != value else (key,),
                tokens=self._run.tokens,
                kv_heads=shape.n_kv_heads,
                head_dim=shape.head_dim,
                dtype=self._dtypes.activation,
                kv_dtype=self._dtypes.kv,
            )
        )

    def _attend(self, shape: AttentionShape, query: str, append: str) -> str:
        return self._add(
            Attention(
                name="attention",
                layer=self._layer,
                deps=(query, append),
                phase=self._run.phase,
                batch=self._run.batch,
                q_len=self._run.q_len,
                kv_len=self._run.kv_len,
                n_heads=shape.n_heads,
                n_kv_heads=shape.n_kv_heads,
                head_dim=shape.head_dim,
                causal=True,
                dtype=self._dtypes.activation,
                kv_dtype=self._dtypes.kv,
            )
        )
