"""Tables of single operators: simulated, and compared with what was measured."""

from bankwidth.validate.comparison import Comparison, compare
from bankwidth.validate.ops import run_ops, simulate_operator

__all__ = ["Comparison", "compare", "run_ops", "simulate_operator"]
