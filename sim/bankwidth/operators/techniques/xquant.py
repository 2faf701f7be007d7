"""The layer's input in the cache: XQuant (Tomar et al. 2025, arXiv 2508.10395).

One vector per token is stored where keys and values were two; both are made of it anew in every
step, keys before their rotation. With grouped queries, where keys and values together are narrower
than the input, what is stored is the input times the first factors of the key and value projections
(singular value decomposition): as wide as keys and values, but easier to quantise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.fetch import KvRead
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import AttentionShape, ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import (
    first_layer,
    is_cached,
    rewrite_block,
    rewrite_blocks,
    stored_tokens,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Norm, Rope
from bankwidth.spec.techniques.kv import PLAIN_BITS, XquantSpec


def _trace(trace: Trace, options: XquantSpec, model: ModelShape) -> Trace:
    shapes = [_stored_shape(model, layer) for layer in range(len(model.layers))]
    if not any(shapes):
        raise SpecError("xquant: the model has no layer that stores keys and values of heads")
    stored_dtype = trace.dtypes["kv"]
    if options.bits != PLAIN_BITS:
        stored_dtype = f"int{options.bits}_g{options.group}z"

    def made(block: Block) -> Block:
        layer = first_layer(block)
        shape = shapes[layer] if OUTSIDE < layer < len(shapes) else None
        if shape is None or not any(is_cached(op) for op in block.operators):
            return block
        return _Layer(block, shape, model.hidden, stored_dtype, options).block()

    factors = sum(
        2 * packed_bytes(shape.kv_width**2, trace.dtypes["weight"])
        for shape in shapes
        if shape is not None and _stores_latents(options, shape, model.hidden)
    )
    return replace(
        rewrite_blocks(trace, made),
        weight_bytes=trace.weight_bytes + factors,
        dtypes={**trace.dtypes, "kv": stored_dtype},
    )


def _stored_shape(model: ModelShape, layer: int) -> AttentionShape | None:
    mixer = model.layers[layer].attention
    return mixer if isinstance(mixer, AttentionShape) and mixer.is_causal else None


def _stores_latents(options: XquantSpec, shape: AttentionShape, hidden: int) -> bool:
    if options.stores == "fewest":
        return 2 * shape.kv_width < hidden
    return options.stores == "latents"


class _Layer:
    """The operators of one block."""

    def __init__(
        self, block: Block, shape: AttentionShape, hidden: int, stored: str, options: XquantSpec
    ) -> None:
        self._block = block
        self._shape = shape
        self._latents = _stores_latents(options, shape, hidden)
        self._is_fused = options.fused
        self._width = 2 * shape.kv_width if self._latents else hidden
        self._stored = stored
        self._reading = [
            op for op in block.operators if isinstance(op, Attention) and is_cached(op)
        ]
        self._appends = {dep for op in self._reading for dep in op.deps}
        self._projection = next(
            op for op in block.operators if isinstance(op, Matmul) and op.name == "qkv"
        )
        # A whole prompt's keys and values are made of its tokens as ever.
        self._is_fresh = not self._latents and all(op.q_len == op.kv_len for op in self._reading)

    def block(self) -> Block:
        return rewrite_block(self._block, self._rewritten)

    def _rewritten(self, op: Operator) -> list[Operator]:
        if isinstance(op, KvAppend) and op.name in self._appends:
            return [self._append(op)]
        if isinstance(op, Attention) and op.kv_role == "kv":
            return self._attention(op)
        return [op] if self._is_fresh else self._without_keys(op)

    def _without_keys(self, op: Operator) -> list[Operator]:
        """Projection, norm and rotation of the new tokens' queries only."""
        if op.name == "qkv" and isinstance(op, Matmul) and not self._latents:
            return [replace(op, n=op.n - 2 * self._shape.kv_width)]
        if op.name == "k_norm":
            return []
        if op.name == "rope" and isinstance(op, Rope):
            return [replace(op, heads=self._shape.n_heads)]
        return [op]

    def _append(self, op: KvAppend) -> KvAppend:
        """What is stored of the new tokens; the count of what no other operator says is kept."""
        made_of = "qkv" if self._latents else self._projection.deps[0]
        kept = 0
        if self._is_fresh or not self._is_fused:
            kept = sum(stored_tokens(each) for each in self._reading)
        read = 0 if self._is_fresh else sum(each.batch * each.read_len for each in self._reading)
        return replace(
            op,
            deps=(made_of,),
            kv_heads=1,
            head_dim=self._width,
            v_head_dim=None,
            v_dtype=None,
            kv_dtype=self._stored,
            latent=True,
            stored_len=max(0, kept - read),
        )

    def _attention(self, op: Attention) -> list[Operator]:
        if self._is_fresh:
            return [_of_activations(op, op.deps)]
        return [self._fused(op)] if self._is_fused else self._rematerialised(op)

    def _fused(self, op: Attention) -> Attention:
        """Keys and values of a piece of the tokens at a time, on the chip."""
        return replace(
            op,
            kv_dtype=self._stored,
            v_dtype=None,
            remat_width=self._width,
            remat_dtype=self._projection.weight_dtype,
            remat_parts=2 if self._latents else 1,
        )

    def _rematerialised(self, op: Attention) -> list[Operator]:
        rows = op.batch * op.read_len
        read = KvRead(
            name=f"{op.name}.states",
            layer=op.layer,
            deps=op.deps[1:],
            tokens=rows,
            width=self._width,
            dtype=op.dtype,
            kv_dtype=self._stored,
        )
        made: list[Operator] = [read, self._product(op, read.name, rows)]
        made += self._keys(op, made[-1].name, rows)
        return [*made, _of_activations(op, (op.deps[0], made[-1].name))]

    def _product(self, op: Attention, x: str, rows: int) -> Matmul:
        """Keys and values of all tokens: of the input at once, of latents each by its factor."""
        width = self._shape.kv_width
        return Matmul(
            name=f"{op.name}.remat",
            layer=op.layer,
            deps=(x,),
            m=rows,
            n=width if self._latents else 2 * width,
            k=width if self._latents else self._width,
            batch=2 if self._latents else 1,
            dtype=op.dtype,
            weight_dtype=self._projection.weight_dtype,
            bias=self._projection.bias,
        )

    def _keys(self, op: Attention, made: str, rows: int) -> list[Operator]:
        """Norm and rotation of all keys."""
        shape, steps = self._shape, list[Operator]()
        norm = next((each for each in self._block.operators if each.name == "k_norm"), None)
        if isinstance(norm, Norm):
            per_token = shape.kv_width // norm.width
            steps.append(
                replace(norm, name=f"{op.name}.k_norm", deps=(made,), rows=rows * per_token)
            )
        if shape.has_rope:
            rope = Rope(
                name=f"{op.name}.rope",
                layer=op.layer,
                deps=(steps[-1].name if steps else made,),
                tokens=rows,
                heads=shape.n_kv_heads,
                head_dim=shape.head_dim,
                dtype=op.dtype,
            )
            steps.append(rope)
        return steps


def _of_activations(op: Attention, deps: tuple[str, ...]) -> Attention:
    """The same over keys and values that were just made."""
    return replace(
        op,
        deps=deps,
        kv_dtype=op.dtype,
        v_dtype=None,
        residual=0,
        page=0,
        stored_len=None,
        kv_role="activation",
    )


TECHNIQUE: Final = Technique(
    name="xquant",
    paper="XQuant, Tomar et al. 2025, arXiv 2508.10395",
    example="--with xquant:bits=4,group=128",
    trace=_trace,
)
