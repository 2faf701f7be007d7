"""Operator traces (JSON Lines): every distinct shape of a model, and how often it occurs.

Line 1 is the header with the number of blocks; each block's line says how many operators follow, so
that a file that was cut is noticed. The format is described in traces/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gpucap.cells import Cells
from gpucap.operator_table import Wanted, attention_problem
from gpucap.problems import CaptureError, did_you_mean
from gpucap.shapes import (
    COLLECTIVES,
    FUNCTIONS,
    Attention,
    Collective,
    Elementwise,
    Embedding,
    Gemm,
    KvAppend,
    Rope,
    RowWise,
    Shape,
)
from gpucap.textfile import read_text

FORMAT: Final = "bankwidth-trace"
VERSION: Final = 1


def read_operator_trace(path: Path) -> list[Wanted]:
    """Distinct shapes in the order of their first occurrence, counted over repeated blocks.

    Raises CaptureError with `file:line` for a file that is cut, damaged or of another format.
    """
    return _Reader(path).wanted()


class _Reader:
    """Goes through the lines once; knows where it is, for messages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = read_text(path).rstrip("\n").split("\n")
        self._line = 0  # number of the line read last
        self._found: dict[Shape, Wanted] = {}

    def wanted(self) -> list[Wanted]:
        header = self._next("the header")
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise self._error(f"line 1 must have format {FORMAT!r} and version {VERSION}")
        blocks = self._count(header, "blocks")
        for index in range(blocks):
            self._block(f"block {index + 1} of {blocks}")
        if self._line < len(self._lines):
            self._line += 1
            raise self._error(f"more lines than the header's {blocks} blocks have")
        return list(self._found.values())

    def _block(self, place: str) -> None:
        block = self._next(place)
        repeat, operators = self._count(block, "repeat"), self._count(block, "operators")
        for index in range(operators):
            self._operator(f"operator {index + 1} of {operators} in {place}", repeat)

    def _operator(self, place: str, repeat: int) -> None:
        data = self._next(place)
        kind = str(data.get("kind"))
        if kind not in _KINDS:
            hint = did_you_mean(kind, _KINDS)
            raise self._error(f"unknown kind {kind!r}{hint} (known: {', '.join(_KINDS)})")
        texts = {key: _text(value) for key, value in data.items()}
        shape = _KINDS[kind](Cells(texts, f"{self._path}:{self._line}"))
        before = self._found.get(shape)
        if before is None:
            self._found[shape] = Wanted(self._line, str(data.get("name", kind)), shape, repeat)
        else:
            self._found[shape] = replace(before, count=before.count + repeat)

    def _next(self, place: str) -> Mapping[str, Any]:
        if self._line == len(self._lines):
            raise self._error(f"the file ends where {place} should follow: truncated")
        self._line += 1
        try:
            value = json.loads(self._lines[self._line - 1])
        except ValueError as error:
            raise self._error(f"{place}: not a line of JSON: truncated?") from error
        if not isinstance(value, dict):
            raise self._error(f"{place}: must be a JSON object")
        return value

    def _count(self, data: Mapping[str, Any], key: str) -> int:
        count = data.get(key)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise self._error(f"{key} must be a whole number of at least 1, got {count!r}")
        return count

    def _error(self, problem: str) -> CaptureError:
        return CaptureError(f"{self._path}:{self._line}: {problem}")


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _matmul(row: Cells) -> Shape:
    """A product of activations is run as one; a weight is given to the linear function."""
    batch, has_weight = row.integer("batch", default=1), row.truth("has_weight", default=True)
    return Gemm(
        operator="gemm" if batch == 1 and has_weight else "matmul",
        m=row.integer("m"),
        n=row.integer("n"),
        k=row.integer("k"),
        batch=batch,
        bias=row.truth("bias", default=False),
        dtype=row.dtype("dtype"),
        weight_dtype=row.dtype("weight_dtype"),
    )


def _attention(row: Cells) -> Shape:
    phase = _one_of(row, "phase", ("prefill", "decode"))
    sizes = ("batch", "q_len", "kv_len", "n_heads", "n_kv_heads", "head_dim")
    shape = Attention(
        operator=f"attention_{phase}",
        **{name: row.integer(name) for name in sizes},
        causal=row.truth("causal", default=True),
        dtype=row.dtype("dtype"),
        kv_dtype=row.dtype("kv_dtype"),
    )
    problem = attention_problem(shape)
    if problem:
        raise row.error(problem)
    return shape


def _norm(row: Cells) -> Shape:
    operator = f"{_one_of(row, 'style', ('rms', 'layer'))}norm"
    return _row_wise(operator)(row)


def _row_wise(operator: str) -> Callable[[Cells], Shape]:
    def make(row: Cells) -> Shape:
        rows, width = row.integer("rows"), row.integer("width")
        return RowWise(operator=operator, rows=rows, width=width, dtype=row.dtype("dtype"))

    return make


def _elementwise(row: Cells) -> Shape:
    function = _one_of(row, "function", tuple(FUNCTIONS))
    return Elementwise(
        operator=function, elements=row.integer("elements"), dtype=row.dtype("dtype")
    )


def _rope(row: Cells) -> Shape:
    sizes = {name: row.integer(name) for name in ("tokens", "heads", "head_dim")}
    return Rope(operator="rope", **sizes, dtype=row.dtype("dtype"))


def _embedding(row: Cells) -> Shape:
    sizes = {name: row.integer(name) for name in ("tokens", "width", "vocab")}
    return Embedding(operator="embedding", **sizes, dtype=row.dtype("weight_dtype", "dtype"))


def _kv_append(row: Cells) -> Shape:
    sizes = {name: row.integer(name) for name in ("tokens", "kv_heads", "head_dim")}
    dtype, kv_dtype = row.dtype("dtype"), row.dtype("kv_dtype")
    return KvAppend(operator="kv_append", dtype=dtype, kv_dtype=kv_dtype, **sizes)


def _collective(row: Cells) -> Shape:
    function = _one_of(row, "function", COLLECTIVES)
    size, ways = row.integer("size_bytes"), row.integer("ways")
    return Collective(operator=function, bytes=size, n_gpu=ways, dtype="int8")


def _one_of(row: Cells, name: str, allowed: tuple[str, ...]) -> str:
    found = row.text(name)
    if found not in allowed:
        hint = did_you_mean(found, allowed)
        raise row.error(f"{name} must be one of {', '.join(allowed)}, got {found!r}{hint}")
    return found


_KINDS: Final[dict[str, Callable[[Cells], Shape]]] = {
    "matmul": _matmul,
    "attention": _attention,
    "norm": _norm,
    "softmax": _row_wise("softmax"),
    "elementwise": _elementwise,
    "rope": _rope,
    "embedding": _embedding,
    "kv_append": _kv_append,
    "collective": _collective,
}
