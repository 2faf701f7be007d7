"""One row of an operator table, with typed access and messages that say where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gpucap.dtypes import canonical_dtype, unknown_dtype
from gpucap.problems import CaptureError, did_you_mean


class Cells:
    """Cells by column name; an empty cell counts as absent."""

    def __init__(self, cells: Mapping[str, str], where: str) -> None:
        self._cells = cells
        self._where = where

    def has(self, name: str) -> bool:
        return bool(self._cells.get(name, "").strip())

    def text(self, *names: str, default: str | None = None) -> str:
        """The first of the columns that is there."""
        for name in names:
            if self.has(name):
                return self._cells[name].strip()
        if default is not None:
            return default
        hint = did_you_mean(names[0], self._cells)
        also = f" (or {', '.join(names[1:])})" if names[1:] else ""
        raise self.error(f"column {names[0]}{also} missing or empty{hint}")

    def integer(self, *names: str, default: int | None = None, least: int = 1) -> int:
        """A whole number of at least `least`."""
        if default is not None and not any(self.has(name) for name in names):
            return default
        value = self.number(*names)
        if value < least or value != int(value):
            raise self.error(
                f"{names[0]} must be a whole number of at least {least}, got {value:g}"
            )
        return int(value)

    def number(self, *names: str) -> float:
        """A finite number, without a unit: the column's name says it."""
        text = self.text(*names)
        try:
            value = float(text)
        except ValueError as error:
            problem = f"{names[0]} must be a number without a unit, got {text!r}"
            raise self.error(problem) from error
        if not math.isfinite(value):
            raise self.error(f"{names[0]} must be finite, got {text!r}")
        return value

    def truth(self, name: str, *, default: bool) -> bool:
        text = self.text(name, default=str(default)).lower()
        if text not in ("true", "false", "0", "1"):
            raise self.error(f"{name} must be true or false, got {text!r}")
        return text in ("true", "1")

    def dtype(self, *names: str) -> str:
        text = self.text(*names)
        dtype = canonical_dtype(text)
        if dtype is None:
            raise self.error(unknown_dtype(text))
        return dtype

    def error(self, problem: str) -> CaptureError:
        return CaptureError(f"{self._where}: {problem}")
