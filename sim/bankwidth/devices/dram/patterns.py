"""Generated request patterns: sequential, strided and random, of any length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.channel import DramChannel, Stream
from bankwidth.devices.dram.chunk import Chunk, words_of
from bankwidth.devices.dram.config import DramConfig
from bankwidth.devices.dram.policies import Mapper, choice_of
from bankwidth.devices.dram.replay import Replay, result_of
from bankwidth.devices.dram.splitmix import splitmix64
from bankwidth.errors import SpecError

CHUNK_REQUESTS: Final = 1 << 16
FOREVER: Final = 1 << 60
FRACTION_BITS: Final = 53
MIN_LAP_REQUESTS: Final = 4096  # at most 128 banks, and 192 requests inside


class PatternKind(StrEnum):
    """How addresses follow each other."""

    SEQUENTIAL = "seq"
    RANDOM = "random"
    STRIDE = "stride"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """`count` requests of one burst each; all of it follows from the fields.

    Sequential and strided addresses start at 0 and wrap at the capacity. Random ones are uniform
    over all bursts; whether a request is a write is drawn with probability `write_share`.
    """

    kind: PatternKind | str
    count: int
    write_share: float = 0.0
    stride_bytes: int | None = None  # of a stride; a burst if sequential
    seed: int = 0xC0FFEE

    def __post_init__(self) -> None:
        """Raises SpecError for a pattern that cannot be."""
        object.__setattr__(self, "kind", choice_of(PatternKind, "--pattern", self.kind))
        if self.count < 1:
            raise SpecError(f"--count: {self.count}, at least 1")
        if not 0 <= self.write_share <= 1:
            raise SpecError(f"--write-share: {self.write_share:g} is not between 0 and 1")
        is_stride = self.kind == PatternKind.STRIDE
        if is_stride and (self.stride_bytes is None or self.stride_bytes < 1):
            raise SpecError("--pattern stride needs --stride, at least 1 B")
        if not is_stride and self.stride_bytes is not None:
            raise SpecError(f"--stride belongs to --pattern stride, not to {self.kind}")

    def step_bytes(self, config: DramConfig) -> int:
        """Bytes from one address to the next."""
        return self.stride_bytes or config.burst_bytes


def chunks(pattern: Pattern, config: DramConfig, *, channels: int = 1) -> Iterator[Chunk]:
    """The requests, piece by piece."""
    for start in range(0, pattern.count, CHUNK_REQUESTS):
        place = np.arange(start, min(start + CHUNK_REQUESTS, pattern.count), dtype=np.int64)
        address = _addresses(pattern, config, channels, place)
        yield Chunk(words_of(address, _is_write(pattern, place)))


def _addresses(
    pattern: Pattern, config: DramConfig, channels: int, place: NDArray[np.int64]
) -> NDArray[np.int64]:
    capacity = config.capacity_bytes * channels
    if pattern.kind == PatternKind.RANDOM:
        bursts = np.uint64(capacity // config.burst_bytes)
        drawn = (splitmix64(pattern.seed, place) % bursts).astype(np.int64)
        return drawn * config.burst_bytes
    step = pattern.step_bytes(config) % capacity
    first = int(place[0]) * step % capacity  # in whole numbers without limit
    address: NDArray[np.int64] = (first + (place - place[0]) * step) % capacity
    return address


def _is_write(pattern: Pattern, place: NDArray[np.int64]) -> NDArray[np.int64]:
    if pattern.write_share in (0, 1):
        return np.full(len(place), int(pattern.write_share), dtype=np.int64)
    drawn = splitmix64(pattern.seed + 1, place) >> np.uint64(64 - FRACTION_BITS)
    return (drawn < np.uint64(round(pattern.write_share * (1 << FRACTION_BITS)))).astype(np.int64)


def stream_of(pattern: Pattern, config: DramConfig, mapper: str) -> Stream | None:
    """The pattern as one stream whose address never wraps, where that changes nothing.

    It does not if a lap through the channel has many more requests than wait inside and than there
    are banks: every bank that is touched has then opened other rows, and no queue holds the address
    any more, when it comes again.
    """
    step, rest = divmod(pattern.step_bytes(config), config.burst_bytes)
    is_mixed = pattern.write_share not in (0, 1) or pattern.kind == PatternKind.RANDOM
    if is_mixed or rest or mapper == Mapper.CH_RA_BA_RO_CO:
        return None
    if config.capacity_bytes // config.burst_bytes // step < MIN_LAP_REQUESTS:
        return None
    counts, strides = (pattern.count, 1, 1), (step, 0, 0)
    return Stream(0, counts, strides, is_write=pattern.write_share == 1, runs_on=True)


def replay_stream(config: DramConfig, stream: Stream, **options: str | int) -> Replay:
    """Replays one stream with all repetition skipped: equal to the replay of its requests.

    `options` are those of a channel. The hash of the commands is not known then.
    """
    channel = DramChannel(config, **options)  # type: ignore[arg-type]
    identity = channel.add(stream)
    channel.advance(FOREVER)
    cycles = channel.completion_ck(identity)
    return result_of(config, [channel.state], cycles=cycles)
