"""Readers of results: terminal, page, figures, timeline and the files of a run."""

from bankwidth.report.console import print_result
from bankwidth.report.files import (
    REPLAY_FILES,
    RUN_FILES,
    check_target,
    write_replay,
    write_run,
)
from bankwidth.report.listings import print_comparison, print_presets, print_table, print_trace
from bankwidth.report.replay_console import print_replay

__all__ = [
    "REPLAY_FILES",
    "RUN_FILES",
    "check_target",
    "print_comparison",
    "print_presets",
    "print_replay",
    "print_result",
    "print_table",
    "print_trace",
    "write_replay",
    "write_run",
]
