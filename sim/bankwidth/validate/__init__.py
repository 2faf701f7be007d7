"""Comparisons: operator tables with what was measured, devices with their reference simulators.

`validate` runs the suites: a suite is one file and one line in `suites.SUITES`.
"""

from bankwidth.validate.comparison import Comparison, compare
from bankwidth.validate.ops import run_ops, simulate_operator
from bankwidth.validate.suites import SUITES, validate
from bankwidth.validate.verdicts import Case, Verdict, verdicts_to_json

__all__ = [
    "SUITES",
    "Case",
    "Comparison",
    "Verdict",
    "compare",
    "run_ops",
    "simulate_operator",
    "validate",
    "verdicts_to_json",
]
