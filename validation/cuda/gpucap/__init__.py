"""Captures GPU kernel times. Needs torch to measure, and nothing of bankwidth.

Reading order: `shapes` (what is measured), `operator_table` and `operator_trace` (where shapes come
from), `plan` (how much of it), `cases` (how an operator is run and checked), `timing`, `measure`
(one row), `results` (the file that grows row by row), `run` (the loop over rows).

torch is imported inside functions, so that plans, readers and their tests work without it.
"""
