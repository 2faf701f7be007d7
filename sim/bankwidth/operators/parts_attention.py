"""Attention of a layer: projections, rotation, the cache, and one attention per group."""

from __future__ import annotations

from collections import Counter

from bankwidth.operators.attention import Attention
from bankwidth.operators.builder import Builder
from bankwidth.operators.model import AttentionShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.passes import Group


def attention_part(b: Builder, shape: AttentionShape, x: str, *, with_norm: bool = False) -> str:
    """From the normed input to the output projection's result."""
    hidden = b.model.hidden
    qkv = b.matmul("qkv", x, shape.qkv_width, hidden, bias=shape.has_bias)
    ready = _normed(b, shape, qkv)
    if shape.has_rope:
        rotated = shape.rope_dim or shape.head_dim
        ready = (b.rope(ready, shape.n_heads + shape.n_kv_heads, rotated),)
    before = _append(b, shape, ready[0], qkv) if shape.is_causal else qkv
    out = attend(b, shape, ready[0], before)
    if shape.has_gate:
        gated = b.elementwise(
            "attention_gate", (out[0], qkv, *out[1:]), "sigmoid_mul", shape.q_width
        )
        out = (gated,)
    if with_norm:
        out = (b.norm("attention_norm", out[0], shape.q_width), *out[1:])
    return b.matmul("o", out, hidden, shape.q_width, bias=shape.output_has_bias)


def numbered(name: str, index: int) -> str:
    """The name of an operator of group `index`; the first has none."""
    return f"{name}.{index}" if index else name


def attend(b: Builder, shape: AttentionShape, query: str, before: str) -> tuple[str, ...]:
    """Attention of every group, in pieces where tokens see only their chunk."""
    pieces = [piece for group in b.run.groups for piece in _pieces(group, shape)]
    return tuple(
        b.add(_attention(b, shape, piece, kept, numbered("attention", index), (query, before)))
        for index, (piece, kept) in enumerate(pieces)
    )


def _attention(
    b: Builder,
    shape: AttentionShape,
    group: Group,
    kept: int | None,
    name: str,
    deps: tuple[str, str],
) -> Attention:
    window = shape.window if shape.window and shape.window < group.kv_len else None
    is_single = group.q_len == 1
    return Attention(
        name=name,
        layer=b.layer,
        deps=deps,
        phase=group.phase,
        batch=group.batch,
        q_len=group.q_len,
        kv_len=window if window and is_single else group.kv_len,
        n_heads=shape.n_heads,
        n_kv_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        causal=shape.is_causal,
        dtype=b.dtypes.activation,
        kv_dtype=b.dtypes.kv if shape.is_causal else b.dtypes.activation,
        window=None if is_single else window,
        stored_len=kept,
        kv_role="kv" if shape.is_causal else "activation",
        has_sinks=shape.has_sinks,
    )


def _pieces(group: Group, shape: AttentionShape) -> list[tuple[Group, int | None]]:
    """A group's new tokens by the chunk that they are in, and what of it stays in the cache.

    Pieces of equal size are one with a larger batch; the cache keeps what the last one may see.
    """
    chunk = shape.chunk
    if chunk is None or group.kv_len <= chunk:
        return [(group, None)]
    first, sizes = group.kv_len - group.q_len, []
    while first < group.kv_len:
        start = first // chunk * chunk
        end = min(start + chunk, group.kv_len)
        sizes.append((end - first, end - start))
        first = end
    before = Counter(sizes[:-1])
    pieces = [(_piece(group, size, count), 0) for size, count in before.items()]
    return [*pieces, (_piece(group, sizes[-1], 1), chunk)]


def _piece(group: Group, size: tuple[int, int], count: int) -> Group:
    q_len, kv_len = size
    return Group(batch=group.batch * count, q_len=q_len, kv_len=kv_len, phase=group.phase)


def _normed(b: Builder, shape: AttentionShape, qkv: str) -> tuple[str, ...]:
    """Query and key after their norms; the fused projection where there are none."""
    heads = {"q_norm": shape.n_heads, "k_norm": shape.n_kv_heads}
    if shape.qk_norm == "head":
        return tuple(
            b.norm(name, qkv, shape.head_dim, rows=b.run.tokens * count)
            for name, count in heads.items()
        )
    if shape.qk_norm == "all":
        return tuple(b.norm(name, qkv, shape.head_dim * n) for name, n in heads.items())
    return (qkv,)


def _append(b: Builder, shape: AttentionShape, key: str, value: str) -> str:
    return b.add(
        KvAppend(
            name="kv_append",
            layer=b.layer,
            deps=(key, value) if key != value else (key,),
            tokens=b.run.tokens,
            kv_heads=shape.n_kv_heads,
            head_dim=shape.head_dim,
            dtype=b.dtypes.activation,
            kv_dtype=b.dtypes.kv,
        )
    )
