"""Steps of a device whose channels sit behind one port, run on the engine of two of its channels.

The port passes one plain burst per tick, to the channels in turn; commands go to all channels at
once. Two channels stand for all: the one that is served first, whose readiness lets the port go on,
and the one that is served last. Where results are read all channels have caught up, and from there
one simulation stands for both again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.pim.channel import PimChannel
from bankwidth.devices.pim.config import MOVES, PimConfig
from bankwidth.devices.pim.program import ChannelProgram
from bankwidth.mapping.cent_steps import Bursts, Commands, Step, Wait

_FOREVER = 2**60
WAIT_CK = 1  # the decoder hears of the last data a tick later


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRun:
    """What steps took, and the commands of all channels of the device."""

    ticks: int
    open_ck: int  # ticks with a row open, of the channel served last
    counts: dict[str, float] = field(default_factory=dict)  # per command, over all channels


def run_steps(
    config: PimConfig, steps: Iterable[Step], channel: PimChannel | None = None
) -> PortRun:
    """All steps, one after the other; `channel` is to be the one served last, or a fresh one.

    The channel that is made has no refresh: the simulator compared with has none.
    """
    run = _Run(config, channel or PimChannel(config, refresh=False))
    for step in steps:
        match step:
            case Commands():
                run.commands(step)
            case Bursts():
                run.bursts(step)
            case Wait():
                run.wait()
    return run.result()


class _Run:
    def __init__(self, config: PimConfig, channel: PimChannel) -> None:
        self._first, self._last = channel.clone(), channel
        self._port_ck = 0  # the next burst or command may pass
        self._counts: dict[str, float] = dict.fromkeys(config.names, 0.0)
        self._reads = {n for n, way in enumerate(config.codes("moves")) if MOVES[way] == "out"}

    def commands(self, step: Commands) -> None:
        """Those that end in a read hold the port until all channels have answered."""
        self._play_last(step.macros, self._port_ck, channels=step.channels)
        if int(step.macros[-1, 0]) in self._reads:
            self._first = self._last.clone()
        else:
            _play(self._first, step.macros, self._port_ck)
        self._port_ck = self._first.now_ck

    def bursts(self, step: Bursts) -> None:
        """First round, those between, and the last, each not before its bursts have come."""
        share = step.requests / step.own
        wait_ck = max(0, step.requests - step.own)  # until the last channel's turn in a round
        for macros, repeat, first_round in _parts(step):
            at_ck = self._port_ck + first_round * step.requests
            _play(self._first, macros, at_ck, repeat)
            last_ck = at_ck if repeat > 1 else at_ck + wait_ck
            self._play_last(macros, last_ck, channels=share, repeat=repeat)
        self._port_ck += step.rounds * step.requests

    def wait(self) -> None:
        self._port_ck = max(self._port_ck, self._first.now_ck, self._last.now_ck) + WAIT_CK

    def result(self) -> PortRun:
        return PortRun(
            ticks=max(self._port_ck, self._first.now_ck, self._last.now_ck),
            open_ck=self._last.open_ck,
            counts=self._counts,
        )

    def _play_last(
        self, macros: NDArray[np.int64], at_ck: int, *, channels: float, repeat: int = 1
    ) -> None:
        """On the channel served last, counted for `channels` channels."""
        before = self._last.counts
        _play(self._last, macros, at_ck, repeat)
        for name, count in self._last.counts.items():
            self._counts[name] += (count - before[name]) * channels


def _parts(step: Bursts) -> Iterable[tuple[NDArray[np.int64], int, int]]:
    """(commands, how often, in which round they begin)."""
    yield step.opening, 1, 0
    if step.rounds > 2:
        yield step.further, step.rounds - 2, 1
    if step.rounds > 1:
        yield step.further, 1, step.rounds - 1


def _play(channel: PimChannel, macros: NDArray[np.int64], at_ck: int, repeat: int = 1) -> None:
    program = ChannelProgram(macros=macros, channels=1, repeat=repeat)
    channel.start(program, at_ck=max(at_ck, channel.now_ck))
    channel.advance(_FOREVER)
