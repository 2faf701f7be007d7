"""One row of an operator table, with typed access and messages that say where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bankwidth.errors import TraceError, did_you_mean
from bankwidth.operators.dtypes import canonical_dtype, unknown_dtype


class Row:
    """Cells by column name; an empty cell counts as absent."""

    def __init__(self, cells: Mapping[str, str], where: str) -> None:
        self._cells = cells
        self._where = where

    def has(self, name: str) -> bool:
        return bool(self._cells.get(name))

    def text(self, *names: str) -> str:
        """The first of the columns that is there."""
        for name in names:
            if self._cells.get(name):
                return self._cells[name].strip()
        hint = did_you_mean(names[0], self._cells)
        also = f" (or {', '.join(names[1:])})" if names[1:] else ""
        raise self.error(f"column {names[0]}{also} missing or empty{hint}")

    def integer(self, *names: str, default: int | None = None) -> int:
        """A whole number of at least 1."""
        if default is not None and not any(self.has(name) for name in names):
            return default
        value = self.number(*names)
        if value < 1 or value != int(value):
            raise self.error(f"{names[0]} must be a whole number of at least 1, got {value:g}")
        return int(value)

    def number(self, *names: str) -> float:
        """A finite number."""
        text = self.text(*names)
        try:
            value = float(text)
        except ValueError as error:
            raise self.error(f"{names[0]} must be a number, got {text!r}") from error
        if not math.isfinite(value):
            raise self.error(f"{names[0]} must be finite, got {text!r}")
        return value

    def dtype(self, name: str = "dtype") -> str:
        text = self.text(name)
        dtype = canonical_dtype(text)
        if dtype is None:
            raise self.error(unknown_dtype(text))
        return dtype

    def error(self, problem: str) -> TraceError:
        return TraceError(f"{self._where}: {problem}")
