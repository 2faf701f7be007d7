"""Attention operators of ONNX (opset 23 and later) and of ONNX Runtime (com.microsoft).

With a cache in or out, the new keys and values are appended to it and attention reads it; without
any, K and V are activations. Masks are not looked at: a masked attention counts every pair that
its `is_causal` or `unidirectional` allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.formats.onnx_model import OnnxNode
from bankwidth.operators.formats.onnx_values import UnknownShape, Values
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.vector import Rope

_FLAT: Final = 3  # rank of [batch, tokens, heads x head_dim]; other inputs have 4 or 5
_PACKED_KV: Final = 5  # rank of [batch, tokens, heads, 2 or 3, head_dim]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    batch: int
    q_len: int
    new_len: int  # keys and values that come in now
    past_len: int
    heads: int
    kv_heads: int
    head_dim: int
    v_head_dim: int
    dtype: str
    kv_dtype: str
    has_cache: bool
    causal: bool
    window: int | None = None
    rotary: bool = False

    @property
    def kv_len(self) -> int:
        return self.past_len + self.new_len


def attention(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """ONNX Attention: Q, K, V as [b, heads, s, d] or [b, s, heads d], mask, past K, past V."""
    q, k, v = (values.dims(node.input(index)) for index in range(3))
    if len(q) == _FLAT:
        heads, kv_heads = node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0)
        if heads < 1 or kv_heads < 1:
            raise UnknownShape("q_num_heads and kv_num_heads are not given")
        q_len, new_len = q[1], k[1]
        head_dim, v_head_dim = q[2] // heads, v[2] // kv_heads
    else:
        heads, kv_heads, q_len, new_len = q[1], k[1], q[2], k[2]
        head_dim, v_head_dim = q[3], v[3]
    past = node.input(4)
    left = node.integer("left_window_size", -1)  # tokens before each one that it sees
    sizes = _Sizes(
        batch=q[0],
        q_len=q_len,
        new_len=new_len,
        past_len=values.dims(past)[2] if past else 0,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=v_head_dim,
        dtype=_dtype(values, node.input(0)),
        kv_dtype=_dtype(values, past or node.input(1)),
        has_cache=_has_cache(node, past),
        causal=bool(node.integer("is_causal", 0)),
        window=left + 1 if left >= 0 else None,
    )
    return _operators(name, sizes)


def group_query_attention(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """com.microsoft GroupQueryAttention: query (or all three packed), key, value, past K, past V.

    The cache out has as many tokens as the cache holds; where both are buffers of the longest
    sequence, that is what is counted.
    """
    heads, kv_heads = node.integer("num_heads", 0), node.integer("kv_num_heads", 0)
    if heads < 1 or kv_heads < 1:
        raise UnknownShape("num_heads and kv_num_heads are not given")
    q = values.dims(node.input(0))
    packed = not node.input(1)
    head_dim = q[2] // (heads + 2 * kv_heads if packed else heads)
    past = node.input(3)
    window = node.integer("local_window_size", -1)
    sizes = _Sizes(
        batch=q[0],
        q_len=q[1],
        new_len=q[1],
        past_len=_cached_len(node, values, past, q[1]) - q[1],
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=head_dim,
        dtype=_dtype(values, node.input(0)),
        kv_dtype=_dtype(values, past or node.input(0)),
        has_cache=_has_cache(node, past),
        causal=True,
        window=window if window > 0 else None,
        rotary=bool(node.integer("do_rotary", 0)),
    )
    return _operators(name, sizes)


def multi_head_attention(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """com.microsoft MultiHeadAttention: query, key, value, ..., past K and V as inputs 6 and 7."""
    heads = node.integer("num_heads", 0)
    if heads < 1:
        raise UnknownShape("num_heads is not given")
    q = values.dims(node.input(0))
    k = values.dims(node.input(1)) if node.input(1) else q
    v = values.dims(node.input(2)) if node.input(2) else k
    head_dim = q[-1] if len(q) == _PACKED_KV else q[2] // heads
    past = node.input(6)
    by_head = len(k) == 4  # [b, heads, s, d]: keys of a cross attention
    sizes = _Sizes(
        batch=q[0],
        q_len=q[1],
        new_len=k[2] if by_head else k[1],
        past_len=values.dims(past)[2] if past else 0,
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        v_head_dim=v[2] // heads if len(v) == _FLAT else v[-1],
        dtype=_dtype(values, node.input(0)),
        kv_dtype=_dtype(values, past or node.input(1) or node.input(0)),
        has_cache=_has_cache(node, past),
        causal=bool(node.integer("unidirectional", 0)),
    )
    return _operators(name, sizes)


def fused_attention(name: str, node: OnnxNode, values: Values) -> list[Operator]:
    """com.microsoft Attention: x, the weights of q, k and v side by side, bias, mask, past."""
    heads = node.integer("num_heads", 0)
    if heads < 1:
        raise UnknownShape("num_heads is not given")
    x, weights = values.dims(node.input(0)), values.dims(node.input(1))
    given = node.attributes.get("qkv_hidden_sizes")
    widths = given if isinstance(given, tuple) else (weights[1] // 3,) * 3
    past = node.input(4)  # [2, b, heads, s, d]
    dtype = _dtype(values, node.input(0))
    product = Matmul(
        name=f"{name}.qkv",
        m=x[0] * x[1],
        n=weights[1],
        k=weights[0],
        dtype=dtype,
        weight_dtype=_dtype(values, node.input(1)),
        bias=bool(node.input(2)),
    )
    sizes = _Sizes(
        batch=x[0],
        q_len=x[1],
        new_len=x[1],
        past_len=values.dims(past)[3] if past else 0,
        heads=heads,
        kv_heads=heads,
        head_dim=widths[0] // heads,
        v_head_dim=widths[2] // heads,
        dtype=dtype,
        kv_dtype=_dtype(values, past or node.input(0)),
        has_cache=_has_cache(node, past),
        causal=bool(node.integer("unidirectional", 0)),
    )
    return [product, *_operators(name, sizes)]


def _operators(name: str, sizes: _Sizes) -> list[Operator]:
    v_head_dim = None if sizes.v_head_dim == sizes.head_dim else sizes.v_head_dim
    made: list[Operator] = []
    if sizes.rotary:
        heads = sizes.heads + sizes.kv_heads
        tokens = sizes.batch * sizes.q_len
        made.append(
            Rope(name=f"{name}.rope", tokens=tokens, heads=heads, head_dim=sizes.head_dim,
                 dtype=sizes.dtype)
        )  # fmt: skip
    if sizes.has_cache:
        made.append(
            KvAppend(
                name=f"{name}.append",
                tokens=sizes.batch * sizes.new_len,
                kv_heads=sizes.kv_heads,
                head_dim=sizes.head_dim,
                dtype=sizes.dtype,
                kv_dtype=sizes.kv_dtype,
                v_head_dim=v_head_dim,
            )
        )
    made.append(_attention(name, sizes, v_head_dim))
    return made


def _attention(name: str, sizes: _Sizes, v_head_dim: int | None) -> Attention:
    """One new token sees all, whether it is called causal or not."""
    can_be_causal = sizes.q_len <= sizes.kv_len
    return Attention(
        name=name,
        phase="decode" if sizes.q_len == 1 else "prefill",
        batch=sizes.batch,
        q_len=sizes.q_len,
        kv_len=sizes.kv_len,
        n_heads=sizes.heads,
        n_kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        causal=can_be_causal and (sizes.causal or sizes.q_len == 1),
        dtype=sizes.dtype,
        kv_dtype=sizes.kv_dtype,
        v_head_dim=v_head_dim,
        window=sizes.window,
        kv_role="kv" if sizes.has_cache else "activation",
    )


def _has_cache(node: OnnxNode, past: str) -> bool:
    return bool(past) or any(node.outputs[1:])


def _cached_len(node: OnnxNode, values: Values, past: str, new_len: int) -> int:
    """Tokens of the cache with the new ones; one of the two caches tells."""
    present = node.outputs[1] if len(node.outputs) > 1 else ""
    if present and values.has_shape(present):
        return max(values.dims(present)[2], new_len)
    return values.dims(past)[2] + new_len if past else new_len


def _dtype(values: Values, name: str) -> str:
    dtype = values.dtype(name)
    if dtype is None:
        raise UnknownShape(f"the element type of {name!r} is none of numbers here")
    return dtype
