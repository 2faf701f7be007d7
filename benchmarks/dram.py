"""Requests per second of CPU time that the DRAM engine simulates, one thread, kernels warm.

    python benchmarks/dram.py [--count N] [--standards HBM3 DDR4 ...]

Patterns are those of the golden runs; `stream` is a sequential stream long enough for whole periods
to be skipped, `stream, no skip` the same command by command.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from bankwidth.devices.dram import DramChannel, DramConfig, Stream, config_of, replay
from bankwidth.devices.dram.golden import requests_of
from bankwidth.spec import load_device
from bankwidth.spec.dram import DramSpec

DEVICES = Path(__file__).parents[1] / "validation" / "dram" / "devices"
STANDARDS = ("DDR4", "DDR5", "LPDDR5", "GDDR6", "HBM2", "HBM3")
PATTERNS = ("seqR", "mix21", "randR", "randRW")
REPEATS = 3
STREAM = 10_000_000  # requests


def cpu_seconds(work: Callable[[], object]) -> float:
    """Least CPU time of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def replay_rate(config: DramConfig, pattern: str, count: int) -> float:
    """Requests per second of a pattern, commands hashed."""
    words = requests_of(pattern, count, config, seed=0xC0FFEE)
    return count / cpu_seconds(lambda: replay(config, words))


def stream_rate(config: DramConfig, count: int, *, skip: bool) -> float:
    """Requests per second of one sequential stream, addresses interleaved over bank groups."""

    def serve() -> None:
        channel = DramChannel(config, mapper="MOP4CLXOR", skip=skip)
        channel.add(Stream(0, (count, 1, 1)))
        channel.advance(10**12)

    return count / cpu_seconds(serve)


def config_named(name: str) -> DramConfig:
    """A golden configuration."""
    spec = load_device(DEVICES / f"{name}.yaml")
    assert isinstance(spec, DramSpec)
    return config_of(spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=300_000, help="requests of each pattern")
    parser.add_argument("--standards", nargs="+", default=STANDARDS, choices=STANDARDS)
    options = parser.parse_args()
    replay(config_named("DDR4"), requests_of("seqR", 10, config_named("DDR4"), seed=1))
    stream_rate(config_named("DDR4"), 10, skip=True)
    print("million requests per second of CPU")
    print(f"{'':8}" + "".join(f"{p:>9}" for p in (*PATTERNS, "stream", "no skip")))
    for name in options.standards:
        config = config_named(name)
        rates = [replay_rate(config, pattern, options.count) for pattern in PATTERNS]
        rates.append(stream_rate(config, STREAM, skip=True))
        rates.append(stream_rate(config, options.count, skip=False))
        print(f"{name:8}" + "".join(f"{rate / 1e6:9.2f}" for rate in rates))


if __name__ == "__main__":
    main()
