"""Requests per second of CPU time that the DRAM engine simulates, one thread, kernels warm.

    python benchmarks/dram.py [--count N] [--standards HBM3 DDR4 ...]

First the patterns of the golden runs, every command hashed, and beside random reads and 50/50 mixes
their ratio to the goal (stated below). Then sequential streams of 10^7 and 10^9 requests through
`replay --pattern seq`: seconds, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bankwidth.devices.dram import DramConfig, config_of, replay
from bankwidth.devices.dram.golden import requests_of
from bankwidth.devices.dram.patterns import Pattern
from bankwidth.replaying import ReplayOptions, replay_device
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

DEVICES = Path(__file__).parents[1] / "validation" / "dram" / "devices"
# Million requests per second of CPU to reach on random reads and on 50/50 mixes.
GOALS = {"DDR4": 1.5, "DDR5": 1.0, "LPDDR5": 1.0, "GDDR6": 1.0, "HBM2": 1.5, "HBM3": 1.0}
PATTERNS = ("seqR", "mix21", "randR", "randRW")
RANDOM = ("randR", "randRW")
MAPPERS = ("RoBaRaCoCh", "MOP4CLXOR")
REPEATS = 5
SHORT, LONG = 10**7, 10**9  # requests of a stream


def cpu_seconds(work: Callable[[], object]) -> float:
    """Least CPU time of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def replay_rate(config: DramConfig, pattern: str, count: int) -> float:
    """Million requests per second of a pattern, commands hashed."""
    words = requests_of(pattern, count, config, seed=0xC0FFEE)
    return count / cpu_seconds(lambda: replay(config, words)) / 1e6


def stream_seconds(name: str, mapper: str, count: int) -> float:
    """CPU seconds of one sequential stream, repetition skipped."""
    pattern, options = Pattern(kind="seq", count=count), ReplayOptions(mapper=mapper)
    return cpu_seconds(lambda: replay_device(DEVICES / f"{name}.yaml", pattern, options))


def config_named(name: str) -> DramConfig:
    """A golden configuration."""
    spec = load_device(DEVICES / f"{name}.yaml")
    assert isinstance(spec, DramSpec)
    return config_of(spec)


def print_patterns(names: list[str], count: int) -> None:
    print("million requests per second of CPU (x goal)")
    print(f"{'':8}" + "".join(f"{pattern:>16}" for pattern in PATTERNS))
    for name in names:
        config = config_named(name)
        line = f"{name:8}"
        for pattern in PATTERNS:
            rate = replay_rate(config, pattern, count)
            ratio = f" (x{rate / GOALS[name]:.2f})" if pattern in RANDOM else ""
            line += f"{f'{rate:.2f}{ratio}':>16}"
        print(line, flush=True)


def print_streams(names: list[str]) -> None:
    print(f"\n{'':8}{'mapper':>12}{'10^7':>10}{'10^9':>10}   ratio")
    for name in names:
        for mapper in MAPPERS:
            short_s, long_s = (stream_seconds(name, mapper, count) for count in (SHORT, LONG))
            ratio = long_s / short_s
            line = f"{name:8}{mapper:>12}{short_s:8.3f} s{long_s:8.3f} s{ratio:8.2f}"
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=300_000, help="requests of each pattern")
    parser.add_argument("--standards", nargs="+", default=list(GOALS), choices=list(GOALS))
    options = parser.parse_args()
    replay_rate(config_named("DDR4"), "seqR", 10)
    stream_seconds("DDR4", "RoBaRaCoCh", SHORT)
    print_patterns(options.standards, options.count)
    print_streams(options.standards)


if __name__ == "__main__":
    main()
