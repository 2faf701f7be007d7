"""Warm-up, repeats, median and spread; then, if asked for, a stretch long enough for power."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gpucap.cases import Case
from gpucap.energy_log import EnergyLog
from gpucap.launch import Flush, Launch, make_launch
from gpucap.machine import Machine, Stopwatch
from gpucap.meter import Reading
from gpucap.options import Options

SPAN_S: Final = 2e-3  # a launch is made at least this long, so that its own start does not count
MAX_CALLS: Final = 1024  # of one launch
LEAST_REPEATS: Final = 5
_TIMED_S: Final = 0.15  # repeats stop being added after this
_QUEUE: Final = 4  # launches in flight while power is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Averages over the sustained stretch; energy is per call."""

    latency_s: float
    power_w: float | None
    energy_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds per call of each repeat, and the state of the device while they ran."""

    samples_s: list[float]
    calls: int
    timing: str
    reading: Reading
    power: Power | None = None

    def quantile_s(self, share: float) -> float:
        """0.5 is the median; linear between samples."""
        return quantile(self.samples_s, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Linear between the sorted values, as numpy's default."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def time_case(machine: Machine, case: Case, options: Options) -> Timing:
    """Times the calls of a case, cold operands coming from memory each time."""
    touched = case.cold_bytes * len(case.calls)
    needs_flush = 0 < touched < 2 * machine.l2_bytes
    flush = Flush(machine) if needs_flush else None
    launch = make_launch(machine, case.calls, options.timing, keep=case.keep_outputs)
    once_s = launch_seconds(machine, launch)
    rounds = 1 if needs_flush else rounds_of(once_s, len(case.calls))
    if rounds > 1:
        launch = make_launch(
            machine, case.calls, options.timing, rounds=rounds, keep=case.keep_outputs
        )
    warm_up(machine, launch, options.warmup_seconds)
    return time_launch(machine, launch, options, flush=flush, launch_s=once_s * rounds)


def rounds_of(pass_s: float, calls: int) -> int:
    """How often a launch goes round all calls: until it lasts long enough or has too many."""
    enough = -(-SPAN_S // max(pass_s, 1e-9))
    return max(1, min(int(enough), MAX_CALLS // calls))


def time_launch(
    machine: Machine,
    launch: Launch,
    options: Options,
    *,
    launch_s: float,
    flush: Callable[[], None] | None = None,
) -> Timing:
    """Repeats of a launch that is warm already. No power of one that needs flushing: run on and
    on, its operands would stay in the L2."""
    repeats = _repeats(options, launch_s)
    watches = [machine.stopwatch() for _ in range(repeats)]
    for watch in watches:
        if flush is not None:
            flush()
        _timed(watch, launch)
    reading = machine.meter.read()  # the device is still at it: launches are only queued
    samples = [watch.seconds() / launch.calls for watch in watches]
    power = None
    if options.power_seconds > 0 and flush is None:
        power = _sustained(machine, launch, options.power_seconds)
    return Timing(
        samples_s=samples, calls=launch.calls, timing=launch.timing, reading=reading, power=power
    )


def _repeats(options: Options, launch_s: float) -> int:
    fitting = int(_TIMED_S / max(launch_s, 1e-9))
    return max(min(LEAST_REPEATS, options.repeats), min(options.repeats, fitting))


def launch_seconds(machine: Machine, launch: Launch) -> float:
    """One launch, after a first one that uploads the graph, or compiles and allocates."""
    launch.run()
    machine.synchronize()
    watch = machine.stopwatch()
    _timed(watch, launch)
    return watch.seconds()


def warm_up(machine: Machine, launch: Launch, seconds: float) -> None:
    """Clocks take some milliseconds to rise from idle."""
    begin = time.perf_counter()
    while True:
        launch.run()
        machine.synchronize()
        if time.perf_counter() - begin >= seconds:
            return


def _timed(watch: Stopwatch, launch: Launch) -> None:
    watch.start()
    launch.run()
    watch.stop()


def _sustained(machine: Machine, launch: Launch, seconds: float) -> Power:
    """The launch again and again; its second half gives the latency, clocks having settled."""
    queue = deque[Stopwatch]()
    samples: list[tuple[float, float]] = []
    begin = time.perf_counter()
    now = 0.0
    with EnergyLog(machine.meter) as log:
        while now < seconds or len(samples) < 2:
            watch = machine.stopwatch()
            _timed(watch, launch)
            queue.append(watch)
            if len(queue) >= _QUEUE:
                samples.append((now, queue.popleft().seconds()))
            now = time.perf_counter() - begin
    later = [taken for at, taken in samples if at >= now / 2] or [samples[-1][1]]
    latency_s = sum(later) / len(later) / launch.calls
    power_w = log.power_w()
    energy_j = None if power_w is None else power_w * latency_s
    return Power(latency_s=latency_s, power_w=power_w, energy_j=energy_j)
