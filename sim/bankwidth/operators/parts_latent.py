"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1 and its appendix C).

Prompts expand the latents of all tokens to keys and values of every head; decode steps take the
up-projections to the query's and the output's side instead ("absorbed"), and attend to the latents.
"""

from __future__ import annotations

from bankwidth.operators.attention import Attention
from bankwidth.operators.builder import Builder
from bankwidth.operators.model import LatentShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.parts_attention import numbered
from bankwidth.operators.passes import Group


def latent_part(b: Builder, shape: LatentShape, x: str) -> str:
    """From the normed input to the output projection's result."""
    hidden = b.model.hidden
    q = _query(b, shape, x)
    kv = b.matmul("kv_a", x, shape.cached_width, hidden, bias=shape.has_bias)
    latent = b.norm("kv_a_norm", kv, shape.kv_rank)
    rotated = b.rope((q, latent), shape.n_heads + 1, shape.rope_dim)
    append = b.add(_append(b, shape, (latent, rotated)))
    out = [_attend(b, shape, group, index, (q, append)) for index, group in enumerate(b.run.groups)]
    return b.matmul("o", tuple(out), hidden, shape.n_heads * shape.v_dim, bias=shape.has_bias)


def _query(b: Builder, shape: LatentShape, x: str) -> str:
    width = shape.n_heads * shape.qk_dim
    if shape.q_rank is None:
        return b.matmul("q", x, width, b.model.hidden)
    low = b.matmul("q_a", x, shape.q_rank, b.model.hidden, bias=shape.has_bias)
    return b.matmul("q_b", b.norm("q_a_norm", low, shape.q_rank), width, shape.q_rank)


def _append(b: Builder, shape: LatentShape, deps: tuple[str, ...]) -> KvAppend:
    """Prompts' attention reads what was expanded, so their latents are counted here."""
    prompts = [group for group in b.run.groups if group.phase == "prefill"]
    return KvAppend(
        name="kv_append",
        layer=b.layer,
        deps=deps,
        tokens=b.run.tokens,
        kv_heads=1,
        head_dim=shape.cached_width,
        dtype=b.dtypes.activation,
        kv_dtype=b.dtypes.kv,
        latent=True,
        stored_len=sum(group.batch * group.kv_len for group in prompts),
    )


def _attend(b: Builder, shape: LatentShape, group: Group, index: int, deps: tuple[str, ...]) -> str:
    if group.phase == "prefill":
        return _expanded(b, shape, group, index, deps)
    return _absorbed(b, shape, group, index, deps)


def _expanded(
    b: Builder, shape: LatentShape, group: Group, index: int, deps: tuple[str, ...]
) -> str:
    """Keys and values of every head, made of the latents of all tokens so far."""
    width = shape.n_heads * (shape.nope_dim + shape.v_dim)
    rows = group.batch * group.kv_len
    kv = b.matmul(numbered("kv_b", index), deps[-1], width, shape.kv_rank, rows=rows)
    return b.add(
        Attention(
            name=numbered("attention", index),
            layer=b.layer,
            deps=(deps[0], kv),
            phase="prefill",
            batch=group.batch,
            q_len=group.q_len,
            kv_len=group.kv_len,
            n_heads=shape.n_heads,
            n_kv_heads=shape.n_heads,
            head_dim=shape.qk_dim,
            v_head_dim=shape.v_dim,
            dtype=b.dtypes.activation,
            kv_dtype=b.dtypes.activation,
            kv_role="activation",
        )
    )


def _absorbed(
    b: Builder, shape: LatentShape, group: Group, index: int, deps: tuple[str, ...]
) -> str:
    """All heads attend to one latent; their projections are products per head around it."""
    rows, heads = group.tokens, shape.n_heads
    up = numbered("k_up", index), deps[0], shape.kv_rank, shape.nope_dim
    q = b.matmul(*up, rows=rows, batch=heads)
    attended = b.add(
        Attention(
            name=numbered("attention", index),
            layer=b.layer,
            deps=(q, *deps[1:]),
            phase="decode",
            batch=group.batch,
            q_len=group.q_len,
            kv_len=group.kv_len,
            n_heads=shape.n_heads,
            n_kv_heads=1,
            head_dim=shape.cached_width,
            v_head_dim=shape.kv_rank,
            latent=True,
            dtype=b.dtypes.activation,
            kv_dtype=b.dtypes.kv,
        )
    )
    down = numbered("v_up", index), attended, shape.v_dim, shape.kv_rank
    return b.matmul(*down, rows=rows, batch=heads)
