"""The native trace format: JSON Lines, gzip if the file's name ends in `.gz`.

Line 1 is the header, then for each block one line and the lines of its operators. The header says
how many blocks there are and a block how many operators, so a cut file is noticed. The format is
described for users in traces/README.md; a change that old readers would misread raises `VERSION`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.base import Operator
from bankwidth.operators.codec import JsonObject, check_keys, decode, encode, parse_object
from bankwidth.operators.kinds import KINDS
from bankwidth.operators.textfile import read_text, write_text
from bankwidth.operators.trace import Block, Trace, graph_problem

FORMAT: Final = "bankwidth-trace"
VERSION: Final = 1
_BLOCK_KEYS: Final[dict[str, type]] = {"block": str, "repeat": int, "operators": int}


def write_trace(trace: Trace, path: str | Path) -> None:
    """Write a trace; the same trace gives the same bytes. An existing file is replaced.

    Raises OutputError when the file cannot be written, TraceError for a `meta` value that JSON
    cannot hold.
    """
    write_text(Path(path), "".join(f"{line}\n" for line in trace_lines(trace)))


def read_trace(path: str | Path) -> Trace:
    """Read a trace that `write_trace` or another tool wrote.

    Raises TraceError with `file:line` for a file that is truncated, damaged, of another format or
    of a newer version, and for names and dependencies that do not fit together.
    """
    return _Reader(Path(path)).trace()


def trace_lines(trace: Trace) -> Iterator[str]:
    header = {"format": FORMAT, "version": VERSION} | encode(trace, leave_out=("blocks",))
    yield _dumped(header | {"blocks": len(trace.blocks)})
    for block in trace.blocks:
        count = len(block.operators)
        yield _dumped({"block": block.name, "repeat": block.repeat, "operators": count})
        for operator in block.operators:
            yield _dumped({"kind": operator.kind} | encode(operator))


def _dumped(data: JsonObject) -> str:
    try:
        return json.dumps(data, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TraceError(f"a trace can hold plain finite values only: {error}") from error


class _Reader:
    """Goes through the lines once; knows where it is, for messages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = read_text(path).rstrip("\n").split("\n")
        self._line = 0  # number of the line read last

    def trace(self) -> Trace:
        header = self._header()
        num_blocks = self._count(header, "blocks")
        blocks = tuple(self._block(f"block {i + 1} of {num_blocks}") for i in range(num_blocks))
        if self._line < len(self._lines):
            self._line += 1
            raise self._error(f"more lines than the header's {num_blocks} blocks have")
        try:
            return decode(Trace, header, blocks=blocks)
        except TraceError as error:
            raise TraceError(f"{self._path}:1: {error}") from error

    def _header(self) -> JsonObject:
        try:
            header = parse_object(self._lines[0])
        except TraceError:
            header = {}
        self._line = 1
        if header.pop("format", None) != FORMAT:
            raise self._error(f"not a trace: line 1 must be an object with format {FORMAT!r}")
        version = header.pop("version", None)
        if version != VERSION:
            newer = isinstance(version, int) and version > VERSION
            hint = ": written by a newer release?" if newer else ""
            raise self._error(f"version {version!r} cannot be read, only {VERSION}{hint}")
        return header

    def _block(self, place: str) -> Block:
        data = self._next(place)
        block_line = self._line
        self._check_block(data)
        count = self._count(data, "operators")
        operators = tuple(
            self._operator(f"operator {i + 1} of {count} in {place}") for i in range(count)
        )
        problem = graph_problem(operators)
        if problem is not None:
            self._line = block_line + 1 + problem[0]
            raise self._error(problem[1])
        try:
            return Block(name=data["block"], repeat=data["repeat"], operators=operators)
        except TraceError as error:
            raise TraceError(f"{self._path}:{block_line}: {error}") from error

    def _check_block(self, data: JsonObject) -> None:
        try:
            check_keys(data, _BLOCK_KEYS, required=set(_BLOCK_KEYS))
        except TraceError as error:
            raise self._error(f"expected the line of a block: {error}") from error
        if not isinstance(data["block"], str):
            raise self._error(f"block must be a name, got {data['block']!r}")
        if not isinstance(data["repeat"], int) or isinstance(data["repeat"], bool):
            raise self._error(f"repeat must be a whole number, got {data['repeat']!r}")

    def _operator(self, place: str) -> Operator:
        data = self._next(place)
        kind = data.pop("kind", None)
        if not isinstance(kind, str) or kind not in KINDS:
            hint = did_you_mean(str(kind), KINDS)
            raise self._error(f"unknown kind {kind!r}{hint} (known: {', '.join(KINDS)})")
        try:
            return decode(KINDS[kind], data)
        except TraceError as error:
            raise self._error(str(error)) from error

    def _next(self, place: str) -> JsonObject:
        if self._line == len(self._lines):
            raise self._error(f"the file ends where {place} should follow: truncated")
        self._line += 1
        try:
            return parse_object(self._lines[self._line - 1])
        except TraceError as error:
            raise self._error(f"{place}: {error}") from error

    def _count(self, data: JsonObject, key: str) -> int:
        count: Any = data.pop(key, None)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise self._error(f"{key} must be how many follow, at least 1; got {count!r}")
        return count

    def _error(self, problem: str) -> TraceError:
        return TraceError(f"{self._path}:{self._line}: {problem}")
