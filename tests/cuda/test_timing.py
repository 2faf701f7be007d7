"""Medians, spreads, rounds and power from a device that is made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucap import timing
from gpucap.cases import Case
from gpucap.energy_log import EnergyLog
from gpucap.launch import Launch
from gpucap.machine import Machine, Stopwatch
from gpucap.meter import NoMeter, Reading, parse_smi
from gpucap.options import Options
from gpucap.timing import MAX_CALLS, Timing, quantile, rounds_of, time_case, time_launch


@dataclass
class Fake:
    """Launches take the times of a list, one after the other, and then the last one again."""

    times_s: list[float]
    launches: int = 0
    flushes: list[int] = field(default_factory=list)

    def launch(self) -> None:
        self.launches += 1

    def flush(self) -> None:
        self.flushes.append(self.launches)


class FakeWatch:
    def __init__(self, fake: Fake) -> None:
        self._fake, self._index = fake, 0

    def start(self) -> None:
        self._index = self._fake.launches

    def stop(self) -> None:
        assert self._fake.launches == self._index + 1

    def seconds(self) -> float:
        return self._fake.times_s[min(self._index, len(self._fake.times_s) - 1)]


@dataclass(frozen=True, kw_only=True)
class FakeMachine(Machine):
    fake: Fake

    def stopwatch(self) -> Stopwatch:
        return FakeWatch(self.fake)


def machine(fake: Fake) -> FakeMachine:
    return FakeMachine(
        name="fake", torch_device="cpu", library="", driver="", cuda="", l2_bytes=1000,
        memory_bytes=10**9, capability=(0, 0), meter=NoMeter(), fake=fake,
    )  # fmt: skip


def timed(fake: Fake, repeats: int, **rest: object) -> Timing:
    options = Options(repeats=repeats, power_seconds=0.0)
    launch = Launch(fake.launch, 4, "fake")
    return time_launch(machine(fake), launch, options, launch_s=1e-6, **rest)  # type: ignore[arg-type]


def test_samples_are_per_call_and_in_order() -> None:
    timing = timed(Fake([4.0, 8.0, 40.0]), 3)
    assert timing.samples_s == [1.0, 2.0, 10.0]
    assert (timing.quantile_s(0.5), timing.calls, timing.timing) == (2.0, 4, "fake")


def test_the_l2_is_flushed_before_each_repeat_and_outside_of_its_time() -> None:
    fake = Fake([1.0])
    timed(fake, 5, flush=fake.flush)
    assert fake.flushes == [0, 1, 2, 3, 4]


def test_no_power_of_what_stays_in_the_l2() -> None:
    fake = Fake([1e-3])
    options = Options(repeats=3, power_seconds=0.01)
    launch = Launch(fake.launch, 4, "fake")
    timing = time_launch(machine(fake), launch, options, launch_s=1e-6, flush=fake.flush)
    assert timing.power is None


def test_power_takes_its_latency_from_the_later_half() -> None:
    fake = Fake([100.0] * 8 + [4.0])  # five repeats, then three launches before clocks settle
    options = Options(repeats=5, power_seconds=0.05)
    timing = time_launch(machine(fake), Launch(fake.launch, 4, "f"), options, launch_s=1e-6)
    assert timing.power is not None
    assert timing.power.latency_s == pytest.approx(1.0)
    assert timing.power.power_w is None


def test_long_launches_are_repeated_less() -> None:
    launch = Launch(Fake([1.0]).launch, 1, "f")
    options = Options(repeats=50, power_seconds=0.0)
    fake = Fake([1.0])
    launch = Launch(fake.launch, 1, "f")
    assert len(time_launch(machine(fake), launch, options, launch_s=1.0).samples_s) == 5
    assert len(time_launch(machine(fake), launch, options, launch_s=0.01).samples_s) == 15


@given(pass_s=st.floats(0, 1), calls=st.integers(1, MAX_CALLS))
def test_rounds_make_a_launch_long_but_not_too_many_calls(pass_s: float, calls: int) -> None:
    rounds = rounds_of(pass_s, calls)
    assert rounds >= 1
    assert rounds * calls <= MAX_CALLS or rounds == 1
    assert rounds * pass_s >= 2e-3 or (rounds + 1) * calls > MAX_CALLS


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1), share=st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(np.quantile(values, share), abs=1e-6)


@pytest.mark.parametrize(
    ("cold_bytes", "flushes", "rounds"), [(100, 3, 1), (300, 0, 128), (0, 0, 128)]
)
def test_small_operands_are_flushed_large_ones_go_round(
    cold_bytes: int, flushes: int, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1000 bytes of L2: 8 calls of 100 bytes fit into twice that, 8 of 300 do not."""
    fake = Fake([1e-9])

    def make_launch(machine: object, calls: Sequence[object], timing: str, *, rounds: int = 1,
                    keep: bool = False) -> Launch:  # fmt: skip
        return Launch(fake.launch, len(calls) * rounds, timing)

    monkeypatch.setattr(timing, "make_launch", make_launch)
    monkeypatch.setattr(timing, "Flush", lambda machine: fake.flush)
    calls = [lambda: None] * 8
    case = Case(calls=calls, check=lambda _: 0.0, tolerance=0.0, cold_bytes=cold_bytes)
    options = Options(repeats=3, warmup_seconds=0.0, power_seconds=0.0)
    assert time_case(machine(fake), case, options).calls == 8 * rounds
    assert len(fake.flushes) == flushes


def test_energy_is_taken_between_ticks_of_the_counter() -> None:
    log = EnergyLog(NoMeter())
    # the counter moves at 1.0 (first seen), 2.0 and 3.0 s by 100 J; 9 s is no tick
    for now_s, energy_j in ((0.5, 0.0), (1.0, 100.0), (2.0, 200.0), (2.5, 200.0), (3.0, 300.0),
                            (9.0, 300.0)):  # fmt: skip
        log.add(now_s, Reading(energy_j=energy_j, power_w=1.0))
    assert log.power_w() == pytest.approx(100.0)


def test_without_counter_the_later_readings_of_power_count() -> None:
    log = EnergyLog(NoMeter())
    assert log.power_w() is None
    for watt in (10.0, 20.0, 300.0, 500.0):
        log.add(0.0, Reading(power_w=watt))
    assert log.power_w() == pytest.approx(400.0)


def test_nvidia_smi_is_read() -> None:
    reading = parse_smi("1980, 3201, 512.25, 61, 0x0000000000000004\n")
    assert (reading.sm_mhz, reading.mem_mhz, reading.power_w) == (1980.0, 3201.0, 512.25)
    assert (reading.temperature_c, reading.throttle) == (61.0, "0x4")


@pytest.mark.parametrize("text", ["[N/A], [Not Supported], [N/A], [N/A], [N/A]", "", "a,b"])
def test_what_nvidia_smi_does_not_know_is_none(text: str) -> None:
    assert parse_smi(text) == Reading()
