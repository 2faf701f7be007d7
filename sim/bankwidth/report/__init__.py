"""Readers of results: terminal, page, figures, timeline and the files of a run."""

from bankwidth.report.console import print_result
from bankwidth.report.files import RUN_FILES, check_target, write_run
from bankwidth.report.listings import print_comparison, print_presets, print_table, print_trace

__all__ = [
    "RUN_FILES",
    "check_target",
    "print_comparison",
    "print_presets",
    "print_result",
    "print_table",
    "print_trace",
    "write_run",
]
