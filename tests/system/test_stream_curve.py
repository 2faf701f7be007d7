from __future__ import annotations

import pytest

from bankwidth.devices.dram import DramChannel, config_of
from bankwidth.spec import DramSpec, load_machine
from bankwidth.system.memory import FOREVER_CK, MAPPER, sequential
from bankwidth.system.stream_curve import LARGEST_BURSTS, StreamCurve


@pytest.fixture(scope="module")
def hbm() -> DramSpec:
    return load_machine("h200").dram("hbm")


@pytest.fixture(scope="module")
def curve(hbm: DramSpec) -> StreamCurve:
    return StreamCurve(hbm, is_write=False)


def exact_ticks(hbm: DramSpec, bursts: int) -> int:
    config = config_of(hbm)
    channel = DramChannel(config, mapper=MAPPER)
    channel.add(sequential(config, 0, bursts, False))
    channel.advance(FOREVER_CK)
    return channel.now_ck


def test_grid_lengths_are_the_channels_own(hbm: DramSpec, curve: StreamCurve) -> None:
    assert curve.ticks(1024) == exact_ticks(hbm, 1024)


@pytest.mark.parametrize("bursts", [5, 300, 7000, 30_000, 100_001])
def test_lengths_between_are_off_by_less_than_a_refresh(
    hbm: DramSpec, curve: StreamCurve, bursts: int
) -> None:
    refresh_ticks = config_of(hbm).times["rfc"]
    assert abs(curve.ticks(bursts) - exact_ticks(hbm, bursts)) <= 1.2 * refresh_ticks


def test_long_streams_go_on_at_the_last_rate(hbm: DramSpec, curve: StreamCurve) -> None:
    bursts = 4 * LARGEST_BURSTS
    assert curve.ticks(bursts) == pytest.approx(exact_ticks(hbm, bursts), rel=0.01)


def test_longer_streams_take_longer_and_read_every_burst(curve: StreamCurve) -> None:
    ticks = [curve.ticks(n) for n in range(1, 3000, 7)]
    assert ticks == sorted(ticks)
    assert curve.counts(3000)["RD"] == pytest.approx(3000)
