"""Wall time, CPU time and peak memory of the main job, each in a process of its own.

    python benchmarks/main_job.py

Prints one line per case and its ratio to the budget stated beside it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time

BANKWIDTH = [sys.executable, "-m", "bankwidth"]
MAIN_JOB = ["run", "h200", "llama-2-7b", "--phase", "decode", "--batch", "1",
            "--context", "2048", "--json"]  # fmt: skip
LARGE_JOB = ["run", "h200", "llama-2-70b", "--phase", "decode", "--batch", "1",
             "--context", "4096", "--weight-dtype", "int8", "--json"]  # fmt: skip
# (label, arguments, cold kernel cache, budget in seconds, budget is of CPU)
CASES = (
    ("--help", ["--help"], False, 0.4, True),
    ("main job, cold cache", MAIN_JOB, True, 60.0, False),
    ("main job, warm cache", MAIN_JOB, False, 10.0, False),
    ("llama-2-70b, warm cache", LARGE_JOB, False, 5.0, False),
    ("pim-gpt gpt2-xl decode", ["run", "pim-gpt", "gpt2-xl", "--context", "1024", "--json"],
     False, 10.0, False),
)  # fmt: skip


def measure(arguments: list[str], cache: str | None) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of one command."""
    environment = dict(os.environ) | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([*BANKWIDTH, *arguments], check=True, env=environment, capture_output=True)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, after.ru_maxrss / 1024


def main() -> None:
    measure(MAIN_JOB, None)  # the user's cache is warm from here on
    for label, arguments, cold, budget_s, of_cpu in CASES:
        with tempfile.TemporaryDirectory() as folder:
            wall_s, cpu_s, peak_mib = measure(arguments, folder if cold else None)
        ratio = (cpu_s if of_cpu else wall_s) / budget_s
        what = "CPU" if of_cpu else "wall"
        print(
            f"{label:26s} wall {wall_s:7.2f} s  CPU {cpu_s:7.2f} s  peak {peak_mib:6.0f} MiB "
            f"{ratio:5.2f} of {budget_s:g} s {what}"
        )


if __name__ == "__main__":
    main()
