"""Tidy tables with units in their column names, and the result of a run that holds them."""

from bankwidth.results.cost import cost_efficiency
from bankwidth.results.result import TIME_PARTS, Counter, Result, Slice
from bankwidth.results.table import COLUMNS, Column, Table, column

__all__ = [
    "COLUMNS",
    "TIME_PARTS",
    "Column",
    "Counter",
    "Result",
    "Slice",
    "Table",
    "column",
    "cost_efficiency",
]
