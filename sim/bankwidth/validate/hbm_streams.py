"""Plain traffic of PIMSimulator's host kernels, on our DRAM engine.

Its host reads and writes consecutive bursts; the lowest bits of a burst's number pick the channel,
then bank, bank group, column and row. One phase follows the other when all channels are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram import DramConfig, words_of
from bankwidth.devices.dram.chunk import Chunk
from bankwidth.devices.dram.policies import Scheduler
from bankwidth.devices.dram.replay import replay

ELEMENT_BYTES: Final = 2  # FP16
OPERANDS: Final = {"host_add": 2, "host_mul": 2, "host_relu": 1}


class Phase(NamedTuple):
    """Consecutive bursts, read or written."""

    first: int
    bursts: int
    is_write: bool


def phases_of(kernel: str, outputs: int, inputs: int, burst_bytes: int) -> list[Phase]:
    """What a host kernel moves; for read and write `outputs` are the bytes.

    Matrix and vector, or the operands, are read, then the results are written behind them.
    """
    if kernel in ("read", "write"):
        return [Phase(0, -(-outputs // burst_bytes), kernel == "write")]
    if kernel == "hostgemv":
        read = _bursts(outputs * inputs, burst_bytes) + _bursts(inputs, burst_bytes)
    else:
        read = OPERANDS[kernel] * _bursts(outputs, burst_bytes)
    return [Phase(0, read, False), Phase(read, _bursts(outputs, burst_bytes), True)]


def stream_cycles(
    config: DramConfig, phases: Sequence[Phase], channels: int, *, turns: int = 1
) -> int:
    """Cycles until the last channel is done with the last phase.

    The first refresh comes after an interval, or where ranks take `turns` after that part of it.
    """
    interval = config.times["refi"]
    begin = now = interval - interval // turns
    for phase in phases:
        now += _slowest(config, phase, channels, now % interval)
    return now - begin


def _bursts(elements: int, burst_bytes: int) -> int:
    return -(-elements * ELEMENT_BYTES // burst_bytes)


def _slowest(config: DramConfig, phase: Phase, channels: int, begin: int) -> int:
    """Cycles of a phase; channels with the same bursts of their own take the same time."""
    parts = {part for channel in range(channels) if (part := _own(phase, channel, channels))[1]}
    return max(_cycles(config, *part, phase.is_write, begin) for part in parts)


def _own(phase: Phase, channel: int, channels: int) -> tuple[int, int]:
    """First burst of a phase in a channel, by the channel's own numbers, and how many."""
    first, end = (-(-(n - channel) // channels) for n in (phase.first, phase.first + phase.bursts))
    return first, end - first


def _cycles(config: DramConfig, first: int, bursts: int, is_write: bool, begin: int) -> int:
    """Cycles of consecutive bursts that are offered from a tick on."""
    numbers = np.arange(first, first + bursts, dtype=np.int64)
    words = words_of(_addresses(config, numbers), np.full(bursts, is_write))
    chunk = Chunk(words, np.full(bursts, begin, dtype=np.int64))
    result = replay(config, iter([chunk]), scheduler=Scheduler.FRFCFS_ROW_HIT, with_hash=False)
    return result.cycles - begin


def _addresses(config: DramConfig, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Byte addresses, for the engine's mapper, of bursts that lie bank by bank.

    From the lowest bits on the mapper has column, bank group, bank and row.
    """
    groups, banks = config.level_counts[-2:]
    bank, group, column, row = _digits(numbers, (banks, groups, config.columns))
    place = ((row * banks + bank) * groups + group) * config.columns + column
    return place * config.burst_bytes


def _digits(numbers: NDArray[np.int64], bases: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """Digits to mixed bases, lowest first, and then what is left."""
    for base in bases:
        yield numbers % base
        numbers = numbers // base
    yield numbers
