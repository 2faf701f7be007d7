"""Operator tables (CSV), out of a trace and as a trace.

Out: one row per distinct operator, with the `count` of its executions. Columns are those that
`operators/table.py` reads, so that `ops` and `compare` take the file, and one for every further
field that is not at its default. In: the rows in order; rows of equal count that follow one another
are one block, repeated as often. Fields without a column are as `operators/table.py` has them.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, replace
from itertools import groupby
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.attention import Attention
from bankwidth.operators.base import OUTSIDE, Operator
from bankwidth.operators.codec import decode, encode
from bankwidth.operators.dtypes import canonical_dtype
from bankwidth.operators.formats.base import Format, Head, Imported, settle_partial
from bankwidth.operators.formats.one_block import of_blocks, renamed, unique_names
from bankwidth.operators.kinds import KINDS
from bankwidth.operators.movement import Collective
from bankwidth.operators.row import Row
from bankwidth.operators.table import MAX_PROBLEMS, OPERATOR_NAMES, operator_from_row
from bankwidth.operators.textfile import read_text, write_text
from bankwidth.operators.trace import Block, Trace
from bankwidth.operators.vector import Elementwise, Norm

SUFFIXES: Final = (".csv", ".csv.gz")
_GRAPH: Final = ("name", "layer", "deps")
# kind -> field -> column, where operators/table.py calls it otherwise
_COLUMNS: Final[dict[str, dict[str, str]]] = {
    "collective": {"size_bytes": "bytes"},
    "moe": {"routing": "distribution"},
}
_SAID_BY_NAME: Final = ("style", "function")  # by `table_name`
_ABSENT_IS_NONE: Final = ("rows", "dtype")  # as the table's reader takes them
_NONE: Final = "none"
_NORMS: Final = {"rms": "rmsnorm", "layer": "layernorm"}
# What the table's reader takes in another way: flat or in rows; heads and tokens of Vidur's tables.
_READ_OTHERWISE: Final[dict[str, frozenset[str]]] = {
    "elementwise": frozenset({"elements", "rows"}),
    "attention": frozenset({"kv_len", "n_heads", "n_kv_heads"}),
    "moe": frozenset({"dtype", "routing"}),
}
_TRUTH: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_LOST_OUT: Final = (
    "A table has one row per distinct operator, with how often it runs: dependencies, blocks, "
    "layers and the trace's header are not in it.",
)
_LOST_IN: Final = (
    "A table says nothing of dependencies, layers, phases or caches: operators wait for the one "
    "before, and every execution has weights of its own.",
)


class _Line(NamedTuple):
    number: int
    cells: dict[str, str]


# Out


def write_csv(trace: Trace, path: Path) -> tuple[str, ...]:
    """Write the table, gzipped if its name ends in `.gz`; returns what it does not hold.

    Raises OutputError when the file cannot be written.
    """
    write_text(path, table_text(trace))
    return _LOST_OUT


def table_text(trace: Trace) -> str:
    counts: Counter[Operator] = Counter()
    first: dict[Operator, str] = {}
    for block in trace.blocks:
        for operator in block.operators:
            shape = replace(operator, name="", layer=OUTSIDE, deps=())
            counts[shape] += block.repeat
            first.setdefault(shape, _one_line(operator.name))
    rows = [
        {"operator": table_name(shape), "name": first[shape], "count": str(count)} | cells(shape)
        for shape, count in counts.items()
    ]
    out = io.StringIO()
    header = list(dict.fromkeys(column for row in rows for column in row))
    writer = csv.DictWriter(out, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _one_line(name: str) -> str:
    """A cell that no reader takes for the end of a row."""
    return "".join(letter if letter.isprintable() else " " for letter in name)


def table_name(operator: Operator) -> str:
    """What `operators/table.py` calls it, else its kind."""
    if isinstance(operator, Attention):
        return f"attention_{operator.phase}"
    if isinstance(operator, Norm):
        return _NORMS[operator.style]
    if isinstance(operator, Collective | Elementwise):
        return operator.function
    return operator.kind


def cells(operator: Operator) -> dict[str, str]:
    """Columns of the operator's own fields; what is None has none."""
    own = encode(operator, leave_out=_GRAPH)
    names = _COLUMNS.get(operator.kind, {})
    if isinstance(operator, Elementwise) and operator.rows is not None:
        # The table takes elements for flat ones; rows of a width say how they lie.
        del own["elements"]
        own["width"] = operator.elements // operator.rows
    said = _SAID_BY_NAME if table_name(operator) in OPERATOR_NAMES else ()
    return {
        names.get(name, name): _shown(value)
        for name, value in own.items()
        if name not in said and (value is not None or name not in _ABSENT_IS_NONE)
    }


def _shown(value: Any) -> str:
    if value is None:
        return _NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


# In


def read_csv(path: Path, *, partial: bool = False) -> Imported:
    """The rows of a table as a trace.

    Raises TraceError with `file:line` for rows that are wrong, and, unless `partial`, for those of
    operators that are not known.
    """
    unknown: dict[str, list[int]] = {}
    rows: list[tuple[Operator, int]] = []
    problems: list[str] = []
    for line in _lines(path):
        where = f"{path}:{line.number}"
        name = line.cells["operator"].strip()
        if name and name not in OPERATOR_NAMES and name not in KINDS:
            unknown.setdefault(name, []).append(line.number)
            continue
        try:
            rows.append(_row(line.cells, where))
        except TraceError as error:
            problems.append(str(error))
    if problems:
        raise TraceError(_first(problems))
    left_out = [
        f"{name!r}{did_you_mean(name, OPERATOR_NAMES)} (line {lines[0]}, {len(lines)} rows)"
        for name, lines in unknown.items()
    ]
    if not rows:
        named = f": unknown are {', '.join(left_out)}" if left_out else ""
        raise TraceError(f"{path}:2: no row of a known operator{named}")
    trace = of_blocks(path.name.partition(".")[0], tuple(_blocks(rows)))
    trace = settle_partial(trace, left_out, partial=partial, where=str(path))
    return Imported(trace=trace, lost=_LOST_IN)


def _first(problems: Sequence[str]) -> str:
    more = len(problems) - MAX_PROBLEMS
    rest = [f"and {more} more rows"] if more > 0 else []
    return "\n".join([*problems[:MAX_PROBLEMS], *rest])


def _lines(path: Path) -> Iterator[_Line]:
    text = read_text(path, name_line=True)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for found in reader:
            if not found:
                continue
            if header is None:
                header = _header(path, found)
                continue
            yield _Line(reader.line_num, _named(header, found, f"{path}:{reader.line_num}"))
    except csv.Error as error:
        raise TraceError(f"{path}:{reader.line_num}: not CSV: {error}") from error
    if header is None:
        raise TraceError(f"{path}:1: empty file: not an operator table")


def _header(path: Path, found: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in found]
    if "operator" not in names:
        names = ["operator" if name == "op_name" else name for name in names]
    if "operator" not in names:
        hint = did_you_mean("operator", names)
        raise TraceError(f"{path}:1: no column 'operator'{hint}: not an operator table")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TraceError(f"{path}:1: column {', '.join(twice)} given twice")
    return names


def _named(header: Sequence[str], found: Sequence[str], where: str) -> dict[str, str]:
    if len(found) != len(header):
        raise TraceError(f"{where}: {len(found)} cells, but the header has {len(header)} columns")
    return dict(zip(header, found, strict=True))


def _row(row: Mapping[str, str], where: str) -> tuple[Operator, int]:
    """(operator, how often it runs)."""
    count = Row(row, where).integer("count", default=1)
    operator = _operator(row, where)
    return replace(operator, name=row.get("name") or row["operator"] or operator.name), count


def _operator(row: Mapping[str, str], where: str) -> Operator:
    name = row["operator"].strip()
    if name in OPERATOR_NAMES or name not in KINDS:
        return _from_table(row, where)
    return _plain(KINDS[name], row, where)


def _from_table(row: Mapping[str, str], where: str) -> Operator:
    """As `ops` reads it, with the further fields that have a column."""
    if row["operator"].startswith("attention") and _is_false(row, "causal"):
        return _plain(Attention, row, where)  # the table's reader knows the causal one only
    operator = operator_from_row(row, where)
    kind = type(operator)
    more = _given(kind, row, where, skip=_READ_OTHERWISE.get(kind.kind, frozenset()))
    try:
        return replace(operator, **more)
    except TraceError as error:
        raise TraceError(f"{where}: {error}") from error


def _is_false(row: Mapping[str, str], name: str) -> bool:
    return _TRUTH.get(row.get(name, "").strip().lower()) is False


def _plain(kind: type[Operator], row: Mapping[str, str], where: str) -> Operator:
    """Every field by its name."""
    try:
        return decode(kind, _given(kind, row, where), name="?")
    except TraceError as error:
        raise TraceError(f"{where}: {row['operator']}: {error}") from error


def _given(
    kind: type[Operator], row: Mapping[str, str], where: str, skip: Set[str] = frozenset()
) -> dict[str, Any]:
    """Fields of the class that have a cell."""
    hints = get_type_hints(kind)
    names = _COLUMNS.get(kind.kind, {})
    given = {}
    for field in fields(kind):
        cell = row.get(names.get(field.name, field.name), "")
        cell = cell if hints[field.name] is str else cell.strip()
        if not cell or field.name in _GRAPH or field.name in skip:
            continue
        value = _value(cell, hints[field.name], f"{where}: {field.name}")
        if field.name in kind.dtype_fields and value is not None:
            value = canonical_dtype(value) or value
        given[field.name] = value
    return given


def _value(cell: str, hint: Any, where: str) -> Any:
    """A cell as the type of its field; anything else is left to the class to refuse."""
    types = get_args(hint) or (hint,)
    if cell == _NONE and NoneType in types:
        return None
    if bool in types:
        if cell.lower() not in _TRUTH:
            raise TraceError(f"{where} must be true or false, got {cell!r}")
        return _TRUTH[cell.lower()]
    if int in types:
        return _whole(cell, where)
    return cell


def _whole(cell: str, where: str) -> int:
    try:
        return int(cell)
    except ValueError as error:
        raise TraceError(f"{where} must be a whole number, got {cell!r}") from error


def _blocks(rows: Sequence[tuple[Operator, int]]) -> Iterator[Block]:
    """A block for every run of rows with the same count; each operator waits for the one before."""
    for number, (count, group) in enumerate(groupby(rows, key=lambda row: row[1])):
        operators = [operator for operator, _ in group]
        names = unique_names(operator.name for operator in operators)
        before = ["@prev", *names[:-1]]
        yield Block(
            name=f"rows {number}",
            repeat=count,
            operators=tuple(map(_following, operators, names, before)),
        )


def _following(operator: Operator, name: str, before: str) -> Operator:
    return renamed(operator, name, (before,))


def _recognises(head: Head) -> bool:
    first = head.data.decode("utf-8-sig", errors="replace").partition("\n")[0]
    columns = [cell.strip().strip('"') for cell in first.split(",")]
    return "operator" in columns or "op_name" in columns


CSV: Final = Format(
    name="csv",
    what="table of operators, one a row, as `bankwidth ops` reads it, .csv or .csv.gz",
    recognises=_recognises,
    suffixes=SUFFIXES,
    read=read_csv,
    write=write_csv,
)
