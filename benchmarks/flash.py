"""Pages per second of CPU time that the drive engine simulates, one thread, kernels warm.

    python benchmarks/flash.py [--count N] [--drives samsung-980-pro ...] [--model]

First random reads of a page, sequential reads and random writes (a tenth as many) with blocks
collected, each page by page, and beside random reads their ratio to the goal (stated below). Then
a stream of 16 GiB with and without skipping: seconds, and the ratio of the two (without read
retries: what is read again at random does not repeat). With --model, OPT-13B on instinfer: 64
sequences, 1024 + 1024 tokens, CPU seconds beside the goal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

from bankwidth.devices.nand.config import DriveConfig, config_of
from bankwidth.devices.nand.drive import Drive
from bankwidth.devices.nand.patterns import DrivePattern, requests_of
from bankwidth.devices.nand.work import ENGINE, HOST, Stream
from bankwidth.kernel_cache import prepare
from bankwidth.spec import SsdSpec, load_device

GOAL = 1.0  # million random page reads per second of CPU
MQSIM = 0.025  # of MQSim: 200 thousand reads of 16 KB in 8 s, 8 channels x 4 chips, depth 256
DRIVES = ("samsung-980-pro", "samsung-sz985", "instinfer-csd")
DEPTH = 256
REPEATS = 3
STREAM_BYTES = 16 << 30
STREAM_DEPTH = 32
MODEL_GOAL_S = 30.0


def cpu_seconds(work: Callable[[], object]) -> float:
    """Least CPU time of a few runs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def config_named(name: str, blocks_per_plane: int | None = None) -> DriveConfig:
    """A shipped drive, on demand with few blocks, so that they run short."""
    spec = load_device(f"ssd/{name}")
    assert isinstance(spec, SsdSpec)
    if blocks_per_plane is not None:
        nand = spec.nand.model_copy(update={"blocks_per_plane": blocks_per_plane})
        spec = spec.model_copy(update={"nand": nand})
    return config_of(spec)


def pattern_rate(config: DriveConfig, kind: str, count: int, write_share: float = 0.0) -> float:
    """Million pages per second of a pattern of page-sized requests, none of them skipped."""
    pattern = DrivePattern(
        kind=kind, count=count, block_bytes=config.page_bytes, write_share=write_share
    )
    requests = requests_of(pattern, config.capacity_bytes)
    drive = [Drive(config, skip=False) for _ in range(REPEATS)]
    return count / cpu_seconds(lambda: drive.pop().replay(requests, queue_depth=DEPTH)) / 1e6


def stream_seconds(config: DriveConfig, *, skip: bool, is_engine: bool) -> float:
    """CPU seconds of one sequential stream."""
    stream = Stream(
        first_byte=0,
        size_bytes=STREAM_BYTES,
        sink=ENGINE if is_engine else HOST,
        queue_depth=STREAM_DEPTH,
    )

    def run() -> None:
        drive = Drive(config, skip=skip)
        drive.add(stream)
        drive.advance()

    return cpu_seconds(run)


def print_patterns(names: list[str], count: int) -> None:
    print(f"million pages per second of CPU (x goal; MQSim: {MQSIM:g})")
    print(f"{'':20}{'random reads':>20}{'sequential':>14}{'random writes':>16}")
    for name in names:
        config = config_named(name)
        few = config_named(name, blocks_per_plane=64)
        reads = pattern_rate(config, "random", count)
        line = f"{name:20}{f'{reads:.2f} (x{reads / GOAL:.2f})':>20}"
        line += f"{pattern_rate(config, 'seq', count):14.2f}"
        writes = pattern_rate(few, "random", count // 10, write_share=1.0)
        print(f"{line}{writes:16.2f}", flush=True)


def print_streams(names: list[str]) -> None:
    print(f"\n{'':20}{'sink':>8}{'skipping':>12}{'each page':>12}   ratio")
    for name in names:
        config = replace(config_named(name), retry_mean=0.0)
        for is_engine in (False, True):
            with_s, without_s = (
                stream_seconds(config, skip=skip, is_engine=is_engine) for skip in (True, False)
            )
            sink = "engine" if is_engine else "host"
            seconds = f"{with_s:10.3f} s{without_s:10.3f} s"
            print(f"{name:20}{sink:>8}{seconds}{without_s / with_s:8.0f}", flush=True)


def print_model() -> None:
    import bankwidth as bw

    trace = bw.make_trace(
        bw.load_workload("opt-13b"), phase="generate", batch=64, prompt=1024, output=1024
    )
    start = time.process_time()
    bw.simulate(bw.load_arch("instinfer"), trace)
    seconds = time.process_time() - start
    print(f"\nopt-13b on instinfer, 64 x (1024 + 1024): {seconds:.1f} s (goal {MODEL_GOAL_S:g} s)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=300_000, help="requests of each pattern")
    parser.add_argument("--drives", nargs="+", default=list(DRIVES), help="names below ssd/")
    parser.add_argument("--model", action="store_true", help="OPT-13B on instinfer too")
    options = parser.parse_args()
    prepare()
    pattern_rate(config_named(options.drives[0]), "random", 10)
    print_patterns(options.drives, options.count)
    print_streams(options.drives)
    if options.model:
        print_model()


if __name__ == "__main__":
    main()
