"""Rows of a reference's table (CSV), each knowing where it stands, read with clear messages."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from bankwidth.errors import TraceError, did_you_mean


class Row(dict[str, str]):
    """Cells by column name; `where` is file and line."""

    def __init__(self, cells: dict[str, str], where: str) -> None:
        super().__init__(cells)
        self.where = where

    def text(self, column: str, allowed: Collection[str] = ()) -> str:
        """A cell. Raises TraceError where it is missing or none of `allowed`."""
        cell = (self.get(column) or "").strip()
        if not cell:
            raise TraceError(f"{self.where}: {column} is empty")
        if allowed and cell not in allowed:
            hint = did_you_mean(cell, list(allowed))
            raise TraceError(
                f"{self.where}: unknown {column} {cell!r}{hint} (allowed: {', '.join(allowed)})"
            )
        return cell

    def number(self, column: str) -> float:
        """A cell as a number of at least 0. Raises TraceError for anything else."""
        cell = self.text(column)
        try:
            value = float(cell)
        except ValueError:
            raise TraceError(f"{self.where}: {column}: need a number, found {cell!r}") from None
        if not 0.0 <= value < float("inf"):
            raise TraceError(f"{self.where}: {column}: need a number from 0, found {cell}")
        return value

    def count(self, column: str, *, least: int = 0) -> int:
        """A cell as a whole number of at least `least`. Raises TraceError for anything else."""
        value = self.number(column)
        if value != int(value) or value < least:
            found = self[column]
            raise TraceError(
                f"{self.where}: {column}: need a whole number from {least}, found {found}"
            )
        return int(value)


def read_rows(path: Path) -> list[Row]:
    """All rows of a table; `#` begins a line of comment.

    Raises TraceError for a file that cannot be read, has no rows or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error
    lines = [(n, s) for n, s in enumerate(text.splitlines(), 1) if s.strip() and s[0] != "#"]
    if len(lines) < 2:
        raise TraceError(f"{path}: no rows")
    header, *cells = csv.reader(line for _, line in lines)
    rows = []
    for (number, _), found in zip(lines[1:], cells, strict=True):
        where = f"{path}:{number}"
        if len(found) != len(header):
            raise TraceError(f"{where}: {len(found)} cells, the header has {len(header)}")
        rows.append(Row(dict(zip(header, found, strict=True)), where))
    return rows
