"""Operator tables: CSV with one operator a row, as `bankwidth ops` and `bankwidth compare` read.

| operator                                       | shape columns                                   |
| ---------------------------------------------- | ----------------------------------------------- |
| gemm, matmul, linear; Vidur's projections      | m, n, k [, batch] [, bias]                      |
| attention_prefill, attention_decode            | batch, q_len, kv_len (or kv_cache_len without   |
|                                                | the new tokens), n_heads, n_kv_heads, head_dim  |
| softmax, layernorm, rmsnorm                    | rows, width (or M, N; or tokens, width)         |
| gelu, relu, silu, silu_mul, mul, add           | elements (or M; or tokens, width)               |
| rope                                           | tokens, heads (or n_head + n_kv_head), head_dim |
| embedding                                      | tokens, width [, vocab]                         |
| kv_append                                      | tokens, kv_heads, head_dim                      |
| moe                                            | num_tokens, hidden_size, inter_size, topk,      |
|                                                | num_experts [, distribution]                    |
| all_reduce, all_gather, reduce_scatter, ...    | bytes, n_gpu (read, not measured: one GPU)      |

Every row has `operator` and, but for the last family, `dtype`. `tp` divides the columns that Vidur
gives for the whole model (heads). A measured time, in one column whose name ends in its unit
(`latency_s`, `latency_us`), is not used, but must be above 0. Other columns are not read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpucap.cells import Cells
from gpucap.problems import CaptureError, did_you_mean, joined
from gpucap.shapes import (
    COLLECTIVES,
    FUNCTIONS,
    Attention,
    Collective,
    Elementwise,
    Embedding,
    Gemm,
    KvAppend,
    Moe,
    Rope,
    RowWise,
    Shape,
)
from gpucap.textfile import read_text

# Models of Vidur's tables whose norms are layer norms and whose function is not gated.
_LAYERNORM_MODELS: Final = frozenset({"phi-2"})
_LATENCY: Final = re.compile(r"(latency|time)_(s|ms|us|ns)")
_NO_UNIT: Final = ("latency", "time")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A shape to measure: the line it stands on, its name there, how often it occurs."""

    line: int
    name: str
    shape: Shape
    count: int = 1


def read_operator_table(path: Path) -> list[Wanted]:
    """Every row. Raises CaptureError with `file:line` of every wrong row (of the first 20)."""
    lines = _lines(path)
    header = [name.strip() for name in next(lines, (1, []))[1]]
    _check_header(path, header)
    found: list[Wanted] = []
    problems: list[str] = []
    for line, cells in lines:
        try:
            found.append(_wanted(header, cells, path, line))
        except CaptureError as error:
            problems.append(str(error))
    if problems:
        raise CaptureError(joined(problems))
    if not found:
        raise CaptureError(f"{path}: no rows")
    return found


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(read_text(path).splitlines(), strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise CaptureError(f"{path}:{reader.line_num}: not CSV: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    if "operator" not in header:
        hint = did_you_mean("operator", header)
        raise CaptureError(f"{path}:1: no column 'operator'{hint}: not an operator table")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise CaptureError(f"{path}:1: column {', '.join(twice)} given twice")
    _check_units(path, header)


def _check_units(path: Path, header: list[str]) -> None:
    """One time at most, and it says its unit."""
    times = [name for name in header if _LATENCY.fullmatch(name)]
    if len(times) > 1:
        problem = f"mixed units: {len(times)} columns hold a time ({', '.join(times)}): keep one"
        raise CaptureError(f"{path}:1: {problem}")
    unitless = [name for name in header if name in _NO_UNIT]
    if unitless:
        problem = f"column {unitless[0]!r} has no unit: name it {unitless[0]}_s, _ms, _us or _ns"
        raise CaptureError(f"{path}:1: {problem}")


def _wanted(header: list[str], cells: list[str], path: Path, line: int) -> Wanted:
    where = f"{path}:{line}"
    if len(cells) != len(header):
        problem = f"{len(cells)} cells, but the header has {len(header)} columns"
        raise CaptureError(f"{where}: {problem}")
    row = Cells(dict(zip(header, cells, strict=True)), where)
    name = row.text("operator")
    if name not in _MAKERS:
        hint = did_you_mean(name, _MAKERS)
        raise row.error(f"unknown operator {name!r}{hint} (known: {', '.join(_MAKERS)})")
    for time in filter(_LATENCY.fullmatch, header):
        if row.has(time) and row.number(time) <= 0:
            raise row.error(f"{time} must be above 0, got {row.text(time)}")
    return Wanted(line, name, _MAKERS[name](row))


def _gemm(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        dtype, batch = row.dtype("dtype"), row.integer("batch", default=1)
        return Gemm(
            operator="matmul" if batch > 1 else operator,
            m=row.integer("m", "M"),
            n=row.integer("n", "N"),
            k=row.integer("k", "K"),
            batch=batch,
            bias=row.truth("bias", default=False),
            dtype=dtype,
            weight_dtype=row.dtype("weight_dtype") if row.has("weight_dtype") else dtype,
        )

    return make


def _attention(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        dtype, q_len = row.dtype("dtype"), row.integer("q_len")
        shape = Attention(
            operator=operator,
            batch=row.integer("batch"),
            q_len=q_len,
            kv_len=_kv_len(row, q_len),
            n_heads=_per_gpu(row, "n_heads"),
            n_kv_heads=_per_gpu(row, "n_kv_heads"),
            head_dim=row.integer("head_dim"),
            causal=row.truth("causal", default=True),
            dtype=dtype,
            kv_dtype=row.dtype("kv_dtype") if row.has("kv_dtype") else dtype,
        )
        problem = attention_problem(shape)
        if problem:
            raise row.error(problem)
        return shape

    return make


def attention_problem(shape: Attention) -> str | None:
    """What does not fit together in its sizes."""
    if shape.n_heads % shape.n_kv_heads:
        return f"n_heads {shape.n_heads} must be a multiple of n_kv_heads {shape.n_kv_heads}"
    if shape.causal and shape.q_len > shape.kv_len:
        return f"causal, but q_len {shape.q_len} exceeds kv_len {shape.kv_len}"
    return None


def _kv_len(row: Cells, q_len: int) -> int:
    """Vidur's `kv_cache_len` leaves out the new tokens, and may be 0."""
    if row.has("kv_cache_len"):
        return row.integer("kv_cache_len", least=0) + q_len
    return row.integer("kv_len")


def _per_gpu(row: Cells, name: str) -> int:
    """Vidur gives the heads of the whole model as `<name>_total`, at least one on each GPU."""
    if row.has(name):
        return row.integer(name)
    return max(1, row.integer(f"{name}_total", name) // row.integer("tp", default=1))


def _row_wise(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        rows, width = row.integer("rows", "M", "m", "tokens"), row.integer("width", "N")
        return RowWise(operator=operator, rows=rows, width=width, dtype=row.dtype("dtype"))

    return make


def _model_norm(row: Cells) -> Shape:
    return _row_wise("layernorm" if row.text("model") in _LAYERNORM_MODELS else "rmsnorm")(row)


def _elementwise(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        return Elementwise(operator=operator, elements=_elements(row), dtype=row.dtype("dtype"))

    return make


def _elements(row: Cells) -> int:
    if row.has("elements"):
        return row.integer("elements")
    return row.integer("M", "tokens", "rows") * row.integer("N", "width", default=1)


def _model_function(row: Cells) -> Shape:
    return _elementwise("gelu" if row.text("model") in _LAYERNORM_MODELS else "silu_mul")(row)


def _rope(row: Cells) -> Shape:
    return Rope(
        operator="rope",
        tokens=row.integer("tokens"),
        heads=row.integer("heads") if row.has("heads") else _rope_heads(row),
        head_dim=row.integer("head_dim"),
        dtype=row.dtype("dtype"),
    )


def _rope_heads(row: Cells) -> int:
    heads = row.integer("n_head", "n_heads") + row.integer("n_kv_head", "n_kv_heads")
    return max(1, heads // row.integer("tp", default=1))


def _embedding(row: Cells) -> Shape:
    tokens = row.integer("tokens")
    width, vocab = row.integer("width"), row.integer("vocab", default=tokens)
    dtype = row.dtype("dtype")
    return Embedding(operator="embedding", tokens=tokens, width=width, vocab=vocab, dtype=dtype)


def _kv_append(row: Cells) -> Shape:
    dtype = row.dtype("dtype")
    return KvAppend(
        operator="kv_append",
        tokens=row.integer("tokens"),
        kv_heads=row.integer("kv_heads", "n_kv_heads"),
        head_dim=row.integer("head_dim"),
        dtype=dtype,
        kv_dtype=row.dtype("kv_dtype") if row.has("kv_dtype") else dtype,
    )


def _moe(row: Cells) -> Shape:
    shape = Moe(
        operator="moe",
        num_tokens=row.integer("num_tokens", "tokens"),
        hidden_size=row.integer("hidden_size"),
        inter_size=row.integer("inter_size"),
        topk=row.integer("topk"),
        num_experts=row.integer("num_experts"),
        distribution=row.text("distribution", default="balanced"),
        dtype=row.dtype("dtype", "moe_dtype"),
    )
    if shape.topk > shape.num_experts:
        raise row.error(f"topk {shape.topk} exceeds num_experts {shape.num_experts}")
    if shape.distribution != "balanced" and power_law(shape.distribution) is None:
        allowed = "balanced or power_law_A with A above 0 and not 1 (power_law_1.2, say)"
        raise row.error(f"distribution must be {allowed}, got {shape.distribution!r}")
    return shape


def power_law(distribution: str) -> float | None:
    """Exponent A of `power_law_A`, None for anything else."""
    match = re.fullmatch(r"power_law_(\d+(?:\.\d+)?)", distribution)
    exponent = float(match.group(1)) if match else 0.0
    return exponent if exponent not in (0.0, 1.0) else None


def _collective(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        size, ways = row.integer("bytes"), row.integer("n_gpu", "ways")
        return Collective(operator=operator, bytes=size, n_gpu=ways, dtype="int8")

    return make


# operator column -> how to make it. The names after the first group are those of the measured
# tables: Vidur's layer names, NCCL's collectives.
_MAKERS: Final[dict[str, Callable[[Cells], Shape]]] = {
    "gemm": _gemm("gemm"),
    "matmul": _gemm("matmul"),
    "linear": _gemm("gemm"),
    "attention_prefill": _attention("attention_prefill"),
    "attention_decode": _attention("attention_decode"),
    "softmax": _row_wise("softmax"),
    "layernorm": _row_wise("layernorm"),
    "rmsnorm": _row_wise("rmsnorm"),
    **{function: _elementwise(function) for function in FUNCTIONS},
    "rope": _rope,
    "embedding": _embedding,
    "kv_append": _kv_append,
    "moe": _moe,
    **{function: _collective(function) for function in COLLECTIVES},
    "attn_pre_proj": _gemm("gemm"),
    "attn_post_proj": _gemm("gemm"),
    "mlp_up_proj": _gemm("gemm"),
    "mlp_down_proj": _gemm("gemm"),
    "input_layernorm": _model_norm,
    "post_attention_layernorm": _model_norm,
    "mlp_act": _model_function,
    "attn_rope": _rope,
    "emb": _embedding,
    "allreduce": _collective("all_reduce"),
    "alltoall": _collective("all_to_all"),
}
OPERATOR_NAMES: Final = tuple(_MAKERS)
