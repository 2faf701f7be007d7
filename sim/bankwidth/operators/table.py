"""Operator tables: CSV with one operator a row, measured or to be simulated.

| operator                                       | shape columns                                   |
| ---------------------------------------------- | ----------------------------------------------- |
| gemm, matmul, linear; Vidur's projections      | m, n, k [, batch]                               |
| attention_prefill, attention_decode            | batch, q_len, kv_len (or kv_cache_len without   |
|                                                | the new tokens), n_heads, n_kv_heads, head_dim  |
| softmax, layernorm, rmsnorm                    | rows, width (or M, N; or tokens, width)         |
| gelu, relu, silu, silu_mul, mul, add, and the  | elements (or M; or tokens, width)               |
| others of `vector.FUNCTIONS`                   |                                                 |
| rope                                           | tokens, heads (or n_head + n_kv_head), head_dim |
| embedding                                      | tokens, width [, vocab]                         |
| kv_append                                      | tokens, kv_heads, head_dim                      |
| moe                                            | num_tokens, hidden_size, inter_size, topk,      |
|                                                | num_experts [, moe_tp_size, moe_ep_size,        |
|                                                | distribution]                                   |
| all_reduce, all_gather, reduce_scatter, ...    | bytes, n_gpu                                    |

Every row has `operator` (or `op_name`); all but the last family have `dtype` (moe: or `moe_dtype`).
`tp` divides the columns that Vidur gives for the whole model (heads). A measured time is optional:
`latency_s`, or in another unit (`latency_us`, see `latency.py`). Other columns are kept, not read.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import Operator
from bankwidth.operators.latency import is_latency, latency_column
from bankwidth.operators.matmul import Matmul
from bankwidth.operators.moe import Moe
from bankwidth.operators.movement import Collective, Embedding, KvAppend
from bankwidth.operators.routing import BALANCED
from bankwidth.operators.row import Row
from bankwidth.operators.textfile import read_text
from bankwidth.operators.vector import FUNCTIONS, Elementwise, Norm, Rope, Softmax

MAX_PROBLEMS: Final = 20  # rows named in one message
_TORN: Final = "; the file ends within this line: was it cut off in the middle?"
# Columns that say nothing about the operator: rows that differ only here share one.
_NO_SHAPE: Final = frozenset({"device", "kernel", "source_file", "source", "impl"})
# 8-bit products leave the tensor cores in 16 bits: torch._scaled_mm and the fp8 kernels of the
# measured tables return bf16.
_RESULT_DTYPES: Final = {"fp8": "bf16", "int8": "bf16"}
# Models of Vidur's tables whose norms are layer norms and whose function is not gated.
_LAYERNORM_MODELS: Final = frozenset({"phi-2"})
# Those with attention and feed-forward side by side: `add` sums both and the residual.
_PARALLEL_MODELS: Final = frozenset({"phi-2"})
# (hidden, inter) of the Nemotron-H models, whose experts have one projection in place of gate and
# up. Only the tables made through vLLM's FusedMoE layer run it so (aiconfigurator at 095f58a,
# collector/vllm/collect_moe.py); the older ones gave every model two.
_UNGATED_MOE: Final = frozenset({(2688, 1856), (2048, 5120)})
_FUSED_MOE_LAYER: Final = "vllm_unquantizedfusedmoe"


class NotOperators(TraceError):
    """The file holds no operators: it is a table of something else."""


class TableRow(NamedTuple):
    """`line` is the line in the file; `latency_s` is None without a measurement."""

    line: int
    row: dict[str, str]
    operator: Operator
    latency_s: float | None


def read_table(path: str | Path, unknown: dict[str, list[int]] | None = None) -> list[TableRow]:
    """Every row of a CSV file (gzip allowed); equal shapes share one operator.

    A row of an operator that is not known is wrong, unless there is a place to note its name and
    line in `unknown`. Raises TraceError with `file:line` of every wrong row (of the first 20).
    """
    path = Path(path)
    text = read_text(path, name_line=True)
    if not text.strip():
        raise TraceError(f"{path}:1: empty file: not an operator table")
    lines = _cells(path, text)
    header = _header(next(lines, (1, []))[1])
    _check_header(path, header)
    torn_line = 0 if text.endswith(("\n", "\r")) else len(text.splitlines())
    return _rows(path, header, lines, unknown, torn_line)


def operator_from_row(row: Mapping[str, str], where: str) -> Operator:
    """The operator that a row describes. Raises TraceError starting with `where`."""
    cells = Row(row, where)
    name = cells.text("operator")
    if name not in _MAKERS:
        hint = did_you_mean(name, _MAKERS)
        raise cells.error(f"unknown operator {name!r}{hint} (known: {', '.join(_MAKERS)})")
    try:
        return _MAKERS[name](name, cells)
    except TraceError as error:
        raise error if str(error).startswith(where) else cells.error(str(error)) from error


def _cells(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text.splitlines(), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        cut = _TORN if "end of data" in str(error) else ""
        raise TraceError(f"{path}:{reader.line_num}: not CSV: {error}{cut}") from error


def _header(cells: list[str]) -> list[str]:
    """Names of the columns; `op_name` stands for `operator` where that is absent."""
    names = [cell.strip() for cell in cells]
    return names if "operator" in names else ["operator" if n == "op_name" else n for n in names]


def _check_header(path: Path, header: list[str]) -> None:
    if "operator" not in header:
        hint = did_you_mean("operator", header)
        raise NotOperators(f"{path}:1: no column 'operator'{hint}: not an operator table")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise TraceError(f"{path}:1: column {', '.join(twice)} given twice")


def _rows(
    path: Path,
    header: list[str],
    lines: Iterator[tuple[int, list[str]]],
    unknown: dict[str, list[int]] | None,
    torn_line: int,
) -> list[TableRow]:
    latency = latency_column(header, f"{path}:1")
    shape_columns = [index for index, name in enumerate(header) if _says_shape(name)]
    operators: dict[tuple[str, ...], Operator] = {}
    rows: list[TableRow] = []
    problems: list[str] = []
    for line, cells in lines:
        if not cells:
            continue
        where = f"{path}:{line}"
        try:
            row = _named(header, cells, where)
            name = row["operator"].strip()
            if unknown is not None and name and name not in _MAKERS:
                unknown.setdefault(name, []).append(line)
                continue
            key = tuple([cells[index] for index in shape_columns])
            if key not in operators:
                operators[key] = operator_from_row(row, where)
            latency_s = latency.seconds(row, where) if latency else None
            rows.append(TableRow(line, row, operators[key], latency_s))
        except TraceError as error:
            problems.append(f"{error}{_TORN if line == torn_line else ''}")
    if problems:
        raise TraceError(_joined(problems))
    return rows


def _says_shape(name: str) -> bool:
    return name not in _NO_SHAPE and not is_latency(name)


def _named(header: list[str], cells: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        raise TraceError(f"{where}: {len(cells)} cells, but the header has {len(header)} columns")
    return dict(zip(header, cells, strict=True))


def _joined(problems: list[str]) -> str:
    more = len(problems) - MAX_PROBLEMS
    lines = problems[:MAX_PROBLEMS] + ([f"and {more} more rows"] if more > 0 else [])
    return "\n".join(lines)


def _matmul(name: str, row: Row) -> Operator:
    dtype = row.dtype()
    batch = row.integer("batch", default=1)
    return Matmul(
        name=name,
        m=row.integer("m", "M"),
        n=row.integer("n", "N"),
        k=row.integer("k", "K"),
        batch=batch,
        dtype=dtype,
        weight_dtype=row.dtype("weight_dtype") if row.has("weight_dtype") else dtype,
        has_weight=batch == 1,
        out_dtype=_RESULT_DTYPES.get(dtype),
    )


def _attention(phase: Literal["prefill", "decode"]) -> Callable[[str, Row], Operator]:
    def make(name: str, row: Row) -> Operator:
        dtype = row.dtype()
        q_len = row.integer("q_len")
        return Attention(
            name=name,
            phase=phase,
            batch=row.integer("batch"),
            q_len=q_len,
            kv_len=_kv_len(row, q_len),
            n_heads=_per_gpu(row, "n_heads"),
            n_kv_heads=_per_gpu(row, "n_kv_heads"),
            head_dim=row.integer("head_dim"),
            causal=True,
            dtype=dtype,
            kv_dtype=row.dtype("kv_dtype") if row.has("kv_dtype") else dtype,
        )

    return make


def _kv_len(row: Row, q_len: int) -> int:
    """Vidur's `kv_cache_len` leaves out the new tokens, and may be 0."""
    if row.has("kv_cache_len"):
        return int(row.number("kv_cache_len")) + q_len
    return row.integer("kv_len")


def _per_gpu(row: Row, name: str) -> int:
    """Vidur gives the heads of the whole model as `<name>_total`, at least one on each GPU."""
    if row.has(name):
        return row.integer(name)
    return max(1, row.integer(f"{name}_total", name) // row.integer("tp", default=1))


def _norm(style: Literal["rms", "layer"]) -> Callable[[str, Row], Operator]:
    def make(name: str, row: Row) -> Operator:
        return Norm(name=name, **_rows_of(row), style=style, dtype=row.dtype())

    return make


def _model_norm(name: str, row: Row) -> Operator:
    return _norm("layer" if row.text("model") in _LAYERNORM_MODELS else "rms")(name, row)


def _softmax(name: str, row: Row) -> Operator:
    return Softmax(name=name, **_rows_of(row), dtype=row.dtype())


def _rows_of(row: Row) -> dict[str, Any]:
    return {"rows": row.integer("rows", "M", "m", "tokens"), "width": row.integer("width", "N")}


def _elementwise(function: str) -> Callable[[str, Row], Operator]:
    def make(name: str, row: Row) -> Operator:
        return Elementwise(
            name=name,
            function=function,  # type: ignore[arg-type]  # a key of FUNCTIONS, checked there
            elements=_elements(row),
            num_inputs=_num_inputs(function, row),
            dtype=row.dtype(),
            rows=_known_rows(row),
        )

    return make


def _elements(row: Row) -> int:
    if row.has("elements"):
        return row.integer("elements")
    return row.integer("M", "tokens", "rows") * row.integer("N", "width", default=1)


def _known_rows(row: Row) -> int | None:
    """Rows of the elements; LLMCompass gives the elements as M and no N."""
    is_flat = row.has("elements") or not (row.has("N") or row.has("width"))
    return None if is_flat else row.integer("M", "tokens", "rows")


def _num_inputs(function: str, row: Row) -> int:
    is_parallel = row.has("model") and row.text("model") in _PARALLEL_MODELS
    return 3 if function == "add" and is_parallel else FUNCTIONS[function][0]


def _model_function(name: str, row: Row) -> Operator:
    is_gated = row.text("model") not in _LAYERNORM_MODELS
    return _elementwise("silu_mul" if is_gated else "gelu")(name, row)


def _rope(name: str, row: Row) -> Operator:
    return Rope(
        name=name,
        tokens=row.integer("tokens"),
        heads=row.integer("heads") if row.has("heads") else _rope_heads(row),
        head_dim=row.integer("head_dim"),
        dtype=row.dtype(),
    )


def _rope_heads(row: Row) -> int:
    heads = row.integer("n_head", "n_heads") + row.integer("n_kv_head", "n_kv_heads")
    return max(1, heads // row.integer("tp", default=1))


def _embedding(name: str, row: Row) -> Operator:
    tokens = row.integer("tokens")
    dtype = row.dtype()
    return Embedding(
        name=name,
        tokens=tokens,
        width=row.integer("width"),
        vocab=row.integer("vocab", default=tokens),  # only the rows looked up are read
        dtype=dtype,
        weight_dtype=dtype,
    )


def _moe(name: str, row: Row) -> Operator:
    dtype = row.dtype("moe_dtype" if row.has("moe_dtype") else "dtype")
    hidden, inter = row.integer("hidden_size", "hidden"), row.integer("inter_size", "inter")
    is_layer = row.has("kernel_source") and row.text("kernel_source").startswith(_FUSED_MOE_LAYER)
    return Moe(
        name=name,
        tokens=row.integer("num_tokens", "tokens"),
        hidden=hidden,
        inter=inter,
        topk=row.integer("topk"),
        experts=row.integer("num_experts", "experts"),
        moe_tp=row.integer("moe_tp_size", "moe_tp", default=1),
        moe_ep=row.integer("moe_ep_size", "moe_ep", default=1),
        routing=row.text("distribution") if row.has("distribution") else BALANCED,
        gated=not (is_layer and (hidden, inter) in _UNGATED_MOE),
        dtype=dtype,
        weight_dtype=dtype,
    )


def _kv_append(name: str, row: Row) -> Operator:
    dtype = row.dtype()
    return KvAppend(
        name=name,
        tokens=row.integer("tokens"),
        kv_heads=row.integer("kv_heads", "n_kv_heads"),
        head_dim=row.integer("head_dim"),
        dtype=dtype,
        kv_dtype=row.dtype("kv_dtype") if row.has("kv_dtype") else dtype,
    )


_Collective = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"]


def _collective(function: _Collective) -> Callable[[str, Row], Operator]:
    def make(name: str, row: Row) -> Operator:
        return Collective(
            name=name,
            function=function,
            size_bytes=row.integer("bytes"),
            ways=row.integer("n_gpu", "ways"),
            dtype=row.dtype() if row.has("dtype") else None,
        )

    return make


# operator column -> how to make it. The names after the first group are those of the measured
# tables: Vidur's layer names, NCCL's collectives.
_MAKERS: Final[dict[str, Callable[[str, Row], Operator]]] = {
    "gemm": _matmul,
    "matmul": _matmul,
    "linear": _matmul,
    "attention_prefill": _attention("prefill"),
    "attention_decode": _attention("decode"),
    "softmax": _softmax,
    "layernorm": _norm("layer"),
    "rmsnorm": _norm("rms"),
    **{function: _elementwise(function) for function in FUNCTIONS},
    "rope": _rope,
    "embedding": _embedding,
    "kv_append": _kv_append,
    "moe": _moe,
    "all_reduce": _collective("all_reduce"),
    "all_gather": _collective("all_gather"),
    "reduce_scatter": _collective("reduce_scatter"),
    "all_to_all": _collective("all_to_all"),
    "send_recv": _collective("send_recv"),
    "attn_pre_proj": _matmul,
    "attn_post_proj": _matmul,
    "mlp_up_proj": _matmul,
    "mlp_down_proj": _matmul,
    "input_layernorm": _model_norm,
    "post_attention_layernorm": _model_norm,
    "mlp_act": _model_function,
    "attn_rope": _rope,
    "emb": _embedding,
    "allreduce": _collective("all_reduce"),
    "alltoall": _collective("all_to_all"),
}
OPERATOR_NAMES: Final = tuple(_MAKERS)
