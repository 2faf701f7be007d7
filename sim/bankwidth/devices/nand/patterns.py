"""Generated requests to a drive: sequential, strided and random, reads and writes mixed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.dram.splitmix import splitmix64
from bankwidth.devices.nand.config import SECTOR_BYTES
from bankwidth.devices.nand.requests import MAX_REQUESTS, Requests
from bankwidth.errors import SpecError, did_you_mean

FRACTION_BITS: Final = 53


class DrivePatternKind(StrEnum):
    """How offsets follow each other."""

    SEQUENTIAL = "seq"
    RANDOM = "random"
    STRIDE = "stride"


# What fio and others call it, and what it is here.
ALSO_CALLED: Final = {
    "read": "seq",
    "write": "seq --write-share 1",
    "rw": "seq --write-share 0.5",
    "readwrite": "seq --write-share 0.5",
    "randread": "random",
    "randwrite": "random --write-share 1",
    "randrw": "random --write-share 0.5",
    "mixed": "random --write-share 0.5",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivePattern:
    """`count` requests of one block each; all of it follows from the fields.

    Sequential and strided offsets start at 0, and again at 0 when the next block would not fit.
    Random ones are uniform over all blocks of the drive. Whether a request is a write is drawn
    with probability `write_share`.
    """

    kind: DrivePatternKind | str
    count: int
    block_bytes: int = 4096
    write_share: float = 0.0
    stride_bytes: int | None = None  # of a stride; a block if sequential
    seed: int = 0xC0FFEE

    def __post_init__(self) -> None:
        """Raises SpecError for a pattern that cannot be."""
        object.__setattr__(self, "kind", _kind_of(self.kind))
        if not 1 <= self.count <= MAX_REQUESTS:
            raise SpecError(f"--count: {self.count}, a drive takes 1 to {MAX_REQUESTS}")
        if not 0 <= self.write_share <= 1:
            raise SpecError(f"--write-share: {self.write_share:g} is not between 0 and 1")
        _check_sectors("--block", self.block_bytes)
        self._check_stride()

    def _check_stride(self) -> None:
        is_stride = self.kind == DrivePatternKind.STRIDE
        if is_stride and self.stride_bytes is None:
            raise SpecError("--pattern stride needs --stride, as 64k")
        if not is_stride and self.stride_bytes is not None:
            raise SpecError(f"--stride belongs to --pattern stride, not to {self.kind}")
        if self.stride_bytes is not None:
            _check_sectors("--stride", self.stride_bytes)


def _kind_of(name: str) -> DrivePatternKind:
    try:
        return DrivePatternKind(name)
    except ValueError:
        pass
    known = [str(kind) for kind in DrivePatternKind]
    also = ALSO_CALLED.get(name.lower())
    hint = f", did you mean '--pattern {also}'?" if also else did_you_mean(name, known)
    raise SpecError(f"--pattern: unknown {name!r}, allowed: {', '.join(known)}{hint}")


def _check_sectors(option: str, size_bytes: int) -> None:
    if size_bytes < 1 or size_bytes % SECTOR_BYTES:
        raise SpecError(f"{option}: {size_bytes} bytes, must be a multiple of {SECTOR_BYTES} bytes")


def requests_of(pattern: DrivePattern, capacity_bytes: int) -> Requests:
    """All requests of a pattern on a drive. Raises SpecError where no block fits on it."""
    for option, size in (("--block", pattern.block_bytes), ("--stride", pattern.stride_bytes)):
        if size is not None and size > capacity_bytes:
            held = f"the capacity of {capacity_bytes} bytes"
            raise SpecError(f"{option}: {size} bytes are beyond {held}")
    place = np.arange(pattern.count, dtype=np.int64)
    return Requests(
        offset_bytes=_offsets(pattern, capacity_bytes, place),
        size_bytes=np.full(pattern.count, pattern.block_bytes, dtype=np.int64),
        is_write=_is_write(pattern, place),
    )


def _offsets(
    pattern: DrivePattern, capacity_bytes: int, place: NDArray[np.int64]
) -> NDArray[np.int64]:
    if pattern.kind == DrivePatternKind.RANDOM:
        blocks = np.uint64(capacity_bytes // pattern.block_bytes)
        drawn: NDArray[np.int64] = (splitmix64(pattern.seed, place) % blocks).astype(np.int64)
        return drawn * pattern.block_bytes
    step = pattern.stride_bytes or pattern.block_bytes
    lap = (capacity_bytes - pattern.block_bytes) // step + 1  # requests until it starts again
    return place % lap * step


def _is_write(pattern: DrivePattern, place: NDArray[np.int64]) -> NDArray[np.bool_]:
    if pattern.write_share in (0, 1):
        return np.full(len(place), bool(pattern.write_share))
    drawn = splitmix64(pattern.seed + 1, place) >> np.uint64(64 - FRACTION_BITS)
    return drawn < np.uint64(round(pattern.write_share * (1 << FRACTION_BITS)))
