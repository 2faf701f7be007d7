"""Whole layers out of measured operators: their times added up, beside the sum of ours.

Vidur measured every operator of a layer but the all-reduce at the batch sizes of decode, and
attention at each of them over the context; LLMCompass measured one layer of GPT-3, operator by
operator, in a table of its own form; a capture of a trace says how often each operator occurs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np

from bankwidth.errors import MappingError
from bankwidth.operators import Attention, operator_from_row
from bankwidth.operators.row import Row
from bankwidth.validate.gpu_captures import arch_of, host_overhead_s, machine_of, operator_time
from bankwidth.validate.gpu_tables import (
    Evaluated,
    Key,
    Part,
    Point,
    Ran,
    Skipped,
    chosen,
    table_name,
)

DECODE: Final = "decode layer"
PREFILL: Final = "prefill layer"


class Heads(NamedTuple):
    """Heads of a whole model."""

    query: int
    kv: int
    head_dim: int


# Models of Vidur's tables that its table of attention (64 query heads, 8 for keys and values) fits.
MODELS: Final = {
    "Llama-2-70b-hf": Heads(64, 8, 128),
    "Meta-Llama-3-70B": Heads(64, 8, 128),
    "CodeLlama-34b-Instruct-hf": Heads(64, 8, 128),
}
# How often a layer runs each operator, beside attention once. The appending of keys and values and
# the all-reduces were not measured on their own: neither sum has them.
LAYER: Final = {
    "input_layernorm": 1,
    "attn_pre_proj": 1,
    "attn_rope": 1,
    "attn_post_proj": 1,
    "add": 2,
    "post_attention_layernorm": 1,
    "mlp_up_proj": 1,
    "mlp_act": 1,
    "mlp_down_proj": 1,
}


class _Setting(NamedTuple):
    """Operators that may be put together: of one machine, library and number of GPUs."""

    machine: str
    library: str
    tp: int


class _Step(NamedTuple):
    setting: _Setting
    model: str
    batch: int


class _Times(NamedTuple):
    measured_s: float
    ours_s: float


class _Attended(NamedTuple):
    setting: _Setting
    heads: Heads
    batch: int
    kv_len: int
    line: int
    table: str
    times: _Times


@dataclass(slots=True)
class DecodeLayers:
    """Collects rows of Vidur's tables, then adds them up."""

    _times: dict[_Step, dict[str, list[_Times]]] = field(default_factory=dict)
    _attention: list[_Attended] = field(default_factory=list)

    def take(self, rows: Sequence[Ran], path: Path) -> None:
        """Notes those rows that a layer is made of."""
        for ran in rows:
            cells = ran.row.row
            if cells.get("model") in MODELS and ran.row.operator.name in LAYER:
                self._take_operator(ran)
            elif ran.key.family == "attention decode" and "n_heads_total" in cells:
                self._take_attention(ran, table_name(path))

    def parts(self) -> list[Part]:
        """All layers whose operators were all measured, by machine and library."""
        by_key: dict[Key, list[Point]] = {}
        for point, key in self._layers():
            by_key.setdefault(key, []).append(point)
        return [part_of(key, points) for key, points in by_key.items()]

    def _take_operator(self, ran: Ran) -> None:
        cells = Row(ran.row.row, f"line {ran.row.line}")
        step = _Step(_setting(ran), cells.text("model"), cells.integer("tokens", "m"))
        times = _Times(ran.measured_s, ran.ours_s)
        self._times.setdefault(step, {}).setdefault(ran.row.operator.name, []).append(times)

    def _take_attention(self, ran: Ran, table: str) -> None:
        op = ran.row.operator
        if not isinstance(op, Attention):
            return
        setting = _setting(ran)
        heads = Heads(op.n_heads * setting.tp, op.n_kv_heads * setting.tp, op.head_dim)
        times = _Times(ran.measured_s, ran.ours_s)
        line = ran.row.line
        self._attention.append(_Attended(setting, heads, op.batch, op.kv_len, line, table, times))

    def _layers(self) -> Iterator[tuple[Point, Key]]:
        sums = {step: _layer_sum(times) for step, times in self._times.items()}
        for attended in self._attention:
            for model, heads in MODELS.items():
                rest = sums.get(_Step(attended.setting, model, attended.batch))
                if rest is not None and heads == attended.heads:
                    key = Key(DECODE, attended.setting.machine, attended.setting.library)
                    yield _layer_point(attended, model, rest), key


def _setting(ran: Ran) -> _Setting:
    tp = Row(ran.row.row, f"line {ran.row.line}").integer("tp", default=1)
    return _Setting(ran.key.machine, ran.key.library, tp)


def _layer_sum(times: Mapping[str, Sequence[_Times]]) -> _Times | None:
    """A layer without attention; None where an operator was not measured."""
    if times.keys() != LAYER.keys():
        return None
    measured_s = sum(
        count * median(time.measured_s for time in times[name]) for name, count in LAYER.items()
    )
    ours_s = sum(
        count * median(time.ours_s for time in times[name]) for name, count in LAYER.items()
    )
    return _Times(measured_s, ours_s)


def _layer_point(attended: _Attended, model: str, rest: _Times) -> Point:
    tp = attended.setting.tp
    return Point(
        table=attended.table,
        line=attended.line,
        operator=DECODE,
        shape=f"{model} batch={attended.batch} kv_len={attended.kv_len} tp={tp}",
        measured_s=rest.measured_s + attended.times.measured_s,
        ours_s=rest.ours_s + attended.times.ours_s,
        bound="",
    )


def part_of(key: Key, points: Sequence[Point]) -> Part:
    """A part of points that are all at hand."""
    measured_s = np.array([point.measured_s for point in points])
    ours_s = np.array([point.ours_s for point in points])
    shown = [points[index] for index in chosen(measured_s, ours_s)]
    return Part(key, measured_s, ours_s, np.zeros(len(points), dtype=np.bool_), shown)


# ---- a capture of a trace: a whole step


def step_of(rows: Sequence[Ran], path: Path) -> list[Part]:
    """The step that a capture of a trace is of; nothing for a capture of single operators.

    In a capture of a trace every row has a name of its own, and `count` says how often it occurs.
    """
    names = [ran.row.row.get("name", "") for ran in rows]
    counts = [_count(ran) for ran in rows]
    if max(counts, default=0) <= 1 or len(set(names)) < len(names) or not all(counts):
        return []
    key = rows[0].key._replace(family=_step_family(rows))
    point = Point(
        table=table_name(path),
        line=rows[0].row.line,
        operator=key.family,
        shape=f"{sum(counts)} operators of a step",
        measured_s=sum(n * ran.measured_s for n, ran in zip(counts, rows, strict=True)),
        ours_s=sum(n * ran.ours_s for n, ran in zip(counts, rows, strict=True)),
        bound="",
    )
    return [part_of(key, [point])]


def _count(ran: Ran) -> int:
    cells = Row(ran.row.row, f"line {ran.row.line}")
    return cells.integer("count", default=1) if cells.has("name") else 0


def _step_family(rows: Sequence[Ran]) -> str:
    is_prefill = any(ran.key.family == "attention prefill" for ran in rows)
    return PREFILL if is_prefill else DECODE


# ---- LLMCompass: one layer of GPT-3

Cells = dict[str, str]


def _product(m: int, n: int, k: int, batch: int = 1) -> dict[str, Any]:
    return {"operator": "matmul", "m": m, "n": n, "k": k, "batch": batch}


def _gpt3_operators(row: Row) -> dict[str, dict[str, Any]]:
    """Cells of each operator by the name that the table gives it, on one of `tp` GPUs."""
    batch, q_len, kv_len = row.integer("batch"), row.integer("q_len"), row.integer("kv_len")
    width, tp = row.integer("d_model"), row.integer("tp")
    heads, head_dim = row.integer("n_heads") // tp, width // row.integer("n_heads")
    tokens, products = batch * q_len, batch * heads
    norm = {"operator": "layernorm", "rows": tokens, "width": width}
    reduce = {"operator": "all_reduce", "bytes": 2 * tokens * width, "n_gpu": tp}
    return {
        "Q_K_V": _product(tokens, 3 * width // tp, width),
        "Q_mul_K": _product(q_len, kv_len, head_dim, products),
        "A_mul_V": _product(q_len, head_dim, kv_len, products),
        "Wo_proj": _product(tokens, width, width // tp),
        "W1_proj": _product(tokens, 4 * width // tp, width),
        "W2_proj": _product(tokens, width, 4 * width // tp),
        "Softmax": {"operator": "softmax", "rows": products * q_len, "width": kv_len},
        "LayerNorm_MHA": norm,
        "LayerNorm_FFN": norm,
        "GeLU": {"operator": "gelu", "elements": tokens * 4 * width // tp},
        "AllReduce_MHA": reduce,
        "AllReduce_FFN": reduce,
    }


LAYER_COLUMNS: Final = frozenset({"phase", "operator", "q_len", "kv_len", "d_model", "tp"})
LIBRARY: Final = "llmcompass"


def evaluate_layers(
    rows: Sequence[tuple[int, Cells]], path: Path, arch: str | None = None
) -> Evaluated:
    """The layers of a table of LLMCompass's form: one point for each phase, all operators added.

    Operators that the machine does not run are in neither sum. Raises TraceError with `file:line`.
    """
    found = Evaluated()
    sums: dict[Key, list[tuple[int, Cells, _Times]]] = {}
    for line, cells in rows:
        where = f"{path}:{line}"
        machine = arch or arch_of(cells, where)
        key = Key(_phase_family(cells), machine_of(machine, LIBRARY).name, LIBRARY)
        try:
            times = _gpt3_times(cells, where, machine)
        except MappingError as error:
            left_out = f"{cells['phase']} {cells['operator']}, in neither sum: {error}"
            found.skipped.append(Skipped(table_name(path), 1, left_out))
            continue
        sums.setdefault(key, []).append((line, cells, times))
    found.parts = [part_of(key, [_sum_point(key, rows, path)]) for key, rows in sums.items()]
    return found


def _phase_family(cells: Cells) -> str:
    return DECODE if cells["phase"] == "decode" else PREFILL


def _gpt3_times(cells: Cells, where: str, machine: str) -> _Times:
    row = Row(cells, where)
    known, name = _gpt3_operators(row), row.text("operator")
    if name not in known:
        raise row.error(f"unknown operator {name!r} of a layer (known: {', '.join(known)})")
    text = {column: str(value) for column, value in known[name].items()}
    op = operator_from_row({**text, "dtype": row.text("dtype")}, where)
    ours_s = operator_time(machine, LIBRARY, op).latency_s
    return _Times(row.number("latency_s"), ours_s + host_overhead_s(LIBRARY, op.name))


def _sum_point(key: Key, rows: Sequence[tuple[int, Cells, _Times]], path: Path) -> Point:
    line, cells, _ = rows[0]
    sizes = " ".join(f"{name}={cells[name]}" for name in ("batch", "q_len", "kv_len", "tp"))
    return Point(
        table=table_name(path),
        line=line,
        operator=key.family,
        shape=f"GPT-3 {sizes}, {len(rows)} operators",
        measured_s=sum(times.measured_s for _, _, times in rows),
        ours_s=sum(times.ours_s for _, _, times in rows),
        bound="",
    )
