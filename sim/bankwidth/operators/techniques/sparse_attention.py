"""Two-phase sparse attention: little is read of all keys to find the tokens that are attended to.

- sparq (Ribar et al., ICML 2024, arXiv 2312.04985): the query's largest components with the same of
  all keys; the mean of all values stands for the tokens that are not read.
- quest (Tang et al., ICML 2024, arXiv 2406.10774): the least and the greatest key of each page
  bound its tokens' scores; whole pages are read.
- infinigen (Lee et al., OSDI 2024, arXiv 2406.19707): some components, chosen once, of a query made
  of the layer before's input, so that what is chosen can be fetched in time.

Everything is kept. Prompts attend to all tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bankwidth.errors import SpecError
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import PREVIOUS, Operator
from bankwidth.operators.dtypes import packed_bytes
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.model import AttentionShape, LatentShape, ModelShape
from bankwidth.operators.movement import KvAppend
from bankwidth.operators.selection import Score, Select
from bankwidth.operators.techniques.base import Technique
from bankwidth.operators.techniques.rewrite import (
    INDEX,
    cut,
    first_layer,
    kept_len,
    rewrite_block,
    rewrite_blocks,
)
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise, Softmax
from bankwidth.spec.techniques.attention import SparseAttentionSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What is scored: `rows` of `width` per sequence and KV head, and how they are kept."""

    rows: int
    width: int
    page: int = 1  # tokens of a row
    kept_width: int = 0  # of a row of the copy that is kept for this; 0: there is none


def _trace(trace: Trace, options: SparseAttentionSpec, model: ModelShape) -> Trace:
    if options.dense_layers >= len(model.layers):
        raise SpecError(
            f"sparse_attention: dense_layers {options.dense_layers} leaves none of the model's "
            f"{len(model.layers)} layers"
        )
    weight_dtype = trace.dtypes["weight"]

    def thinned(block: Block) -> Block:
        layer = first_layer(block)
        if not options.dense_layers <= layer < len(model.layers):
            return block
        return rewrite_block(block, lambda op: _thinned(op, options, model.hidden, weight_dtype))

    extra_bytes = _partial_weight_bytes(options, model, weight_dtype)
    thin = rewrite_blocks(cut(trace, options.dense_layers), thinned)
    return replace(thin, weight_bytes=trace.weight_bytes + extra_bytes)


def _partial_weight_bytes(options: SparseAttentionSpec, model: ModelShape, dtype: str) -> int:
    """Columns of the query projection that are kept a second time."""
    if options.method != "infinigen":
        return 0
    heads = (
        layer.attention.n_heads
        for layer in model.layers[options.dense_layers :]
        if isinstance(layer.attention, AttentionShape | LatentShape)
    )
    return sum(packed_bytes(model.hidden * n * options.components, dtype) for n in heads)


def _thinned(
    op: Operator, options: SparseAttentionSpec, hidden: int, weight_dtype: str
) -> list[Operator]:
    if not isinstance(op, Attention) or op.kv_role != "kv":
        return [op]
    rows = _METHODS[options.method](op, options)
    if op.phase == "prefill":
        return [*_kept_copy(op, rows), op]
    if op.read_len <= options.tokens:
        return [*_kept_copy(op, rows), op]
    copy = _kept_copy(op, rows)
    made: list[Operator] = [*copy]
    query = op.deps[0] if op.deps else PREVIOUS
    if options.method == "infinigen":
        made.append(_partial_query(op, rows, hidden, weight_dtype))
        query = made[-1].name
    behind = tuple(each.name for each in copy) or op.deps[1:]
    made.append(_score(op, rows, (query, *behind)))
    made += _choice(op, options, rows, made[-1].name)
    attention = _over_selected(op, options, rows, made[-1].name)
    made.append(attention)
    if options.method == "sparq" and options.mean_value:
        made.append(_with_mean(attention))
    return made


def _components(op: Attention, options: SparseAttentionSpec) -> int:
    if options.components > op.head_dim:
        raise SpecError(
            f"sparse_attention: components {options.components} are more than a head has, which is "
            f"{op.head_dim}"
        )
    return options.components


def _sparq(op: Attention, options: SparseAttentionSpec) -> _Rows:
    width = _components(op, options)
    return _Rows(rows=op.read_len, width=width, kept_width=op.head_dim if options.copy_keys else 0)


def _quest(op: Attention, options: SparseAttentionSpec) -> _Rows:
    page = options.page
    width = 2 * op.head_dim
    return _Rows(rows=-(-op.read_len // page), width=width, page=page, kept_width=width)


def _infinigen(op: Attention, options: SparseAttentionSpec) -> _Rows:
    width = _components(op, options)
    return _Rows(rows=op.read_len, width=width, kept_width=width)


_METHODS: Final[dict[str, Callable[[Attention, SparseAttentionSpec], _Rows]]] = {
    "sparq": _sparq,
    "quest": _quest,
    "infinigen": _infinigen,
}


def _kept_copy(op: Attention, rows: _Rows) -> list[Operator]:
    """What the new tokens add to the copy that is scored; a page's bounds are written with each."""
    if not rows.kept_width:
        return []
    written = op.q_len if rows.page == 1 else -(-op.q_len // rows.page)
    kept = -(-kept_len(op) // rows.page)
    return [
        KvAppend(
            name=f"{op.name}{INDEX}",
            layer=op.layer,
            deps=op.deps[1:],
            tokens=op.batch * written,
            kv_heads=op.n_kv_heads,
            head_dim=rows.kept_width,
            dtype=op.dtype,
            kv_dtype=op.kv_dtype,
            latent=True,
            stored_len=op.batch * kept,
        )
    ]


def _partial_query(op: Attention, rows: _Rows, hidden: int, weight_dtype: str) -> Matmul:
    """Of the layer before's input, with those columns of the query projection that matter."""
    return Matmul(
        name=f"{op.name}.partial_q",
        layer=op.layer,
        deps=(PREVIOUS,),
        m=op.batch * op.q_len,
        n=op.n_heads * rows.width,
        k=hidden,
        dtype=op.dtype,
        weight_dtype=weight_dtype,
    )


def _score(op: Attention, rows: _Rows, deps: tuple[str, ...]) -> Score:
    return Score(
        name=f"{op.name}.score",
        layer=op.layer,
        deps=deps,
        batch=op.batch,
        q_len=op.q_len,
        rows=rows.rows,
        n_heads=op.n_heads,
        n_kv_heads=op.n_kv_heads,
        width=rows.width,
        dtype=op.dtype,
        kv_dtype=op.kv_dtype,
    )


def _choice(
    op: Attention, options: SparseAttentionSpec, rows: _Rows, scores: str
) -> list[Operator]:
    """The best rows of each KV head: its query heads' scores are added up."""
    made: list[Operator] = []
    if options.method == "sparq":
        made.append(
            Softmax(
                name=f"{op.name}.score_softmax",
                layer=op.layer,
                deps=(scores,),
                rows=op.batch * op.q_len * op.n_heads,
                width=rows.rows,
                dtype=op.dtype,
            )
        )
    queries = op.batch * op.q_len * op.n_kv_heads
    group = op.n_heads // op.n_kv_heads
    if group > 1:
        made.append(
            Elementwise(
                name=f"{op.name}.score_sum",
                layer=op.layer,
                deps=(made[-1].name if made else scores,),
                function="add",
                elements=queries * rows.rows,
                num_inputs=group,
                dtype=op.dtype,
            )
        )
    made.append(
        Select(
            name=f"{op.name}.select",
            layer=op.layer,
            deps=(made[-1].name if made else scores,),
            rows=queries,
            width=rows.rows,
            k=min(rows.rows, -(-options.tokens // rows.page)),
            dtype=op.dtype,
        )
    )
    return made


def _over_selected(
    op: Attention, options: SparseAttentionSpec, rows: _Rows, selected: str
) -> Attention:
    """Several new tokens of a sequence choose for themselves; what any of them chose is read."""
    tokens = -(-options.tokens // rows.page) * rows.page
    return replace(
        op,
        deps=(*op.deps, selected),
        kv_len=max(op.q_len, min(op.read_len, op.q_len * tokens)),
        window=None,
        stored_len=kept_len(op),
        page=op.page or (rows.page if rows.page > 1 else 0),
    )


def _with_mean(op: Attention) -> Elementwise:
    """The output and the mean value, weighted by the share of the scores that was read."""
    return Elementwise(
        name=f"{op.name}.mean",
        layer=op.layer,
        deps=(op.name,),
        function="add",
        elements=op.batch * op.q_len * op.n_heads * op.value_dim,
        num_inputs=2,
        dtype=op.dtype,
    )


TECHNIQUE: Final = Technique(
    name="sparse_attention",
    paper="SparQ (arXiv 2312.04985), Quest (2406.10774), InfiniGen (2406.19707)",
    example="--with sparse_attention:method=sparq,tokens=128,components=32",
    trace=_trace,
)
