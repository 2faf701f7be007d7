"""Reads of pieces at random places of a drive, as threads make them: each one after the other.

What they take is simulated request by request on a drive of its own, which is idle before, and
remembered. So they do not contend with what else is under way in the memory, other than that the
caller may let them wait. A thread's software is latency of its request, not of the drive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bankwidth.devices.nand.config import DriveConfig
from bankwidth.devices.nand.requests import Requests
from bankwidth.system.record import Served
from bankwidth.units import ns_to_ps

if TYPE_CHECKING:
    from bankwidth.devices.nand.drive import Drive
    from bankwidth.spec.ssd import AccessSpec


@dataclass(frozen=True, slots=True)
class Scattered:
    """What a number of pieces took, and what happened in the drive meanwhile."""

    duration_ps: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Done:
    """Transfers whose ends are known from the start."""

    served: Sequence[Served]

    def wait(self) -> Sequence[Served]:
        """When each began and ended."""
        return self.served


class ScatteredReads:
    """Pieces read from a drive by `access.queue_depth` threads."""

    def __init__(self, config: DriveConfig, access: AccessSpec) -> None:
        software_ps = ns_to_ps(access.software_time_ns)
        self._config = replace(config, nvme_latency_ps=config.nvme_latency_ps + software_ps)
        self._queue_depth = access.queue_depth
        self._drive: Drive | None = None
        self._known: dict[tuple[int, int, int], Scattered] = {}
        self.busy_ps = 0
        self.counts: dict[str, int] = {}  # of all that was served

    def serve(self, address: int, size_bytes: int, piece_bytes: int, now_ps: int) -> Served:
        """`size_bytes` in pieces from `now_ps` on, counted."""
        read = self.of(address, size_bytes, piece_bytes)
        self.busy_ps += read.duration_ps
        for name, count in read.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        return Served(now_ps, now_ps + read.duration_ps, 0)

    def of(self, address: int, size_bytes: int, piece_bytes: int) -> Scattered:
        """`size_bytes` in pieces; the address decides which places are drawn, and nothing else."""
        pieces = max(1, -(-size_bytes // piece_bytes))
        key = (address, pieces, piece_bytes)
        if key not in self._known:
            self._known[key] = self._run(*key)
        return self._known[key]

    def _run(self, address: int, pieces: int, piece_bytes: int) -> Scattered:
        from bankwidth.devices.nand.drive import Drive

        if self._drive is None:
            self._drive = Drive(self._config, skip=False)
        drive = self._drive
        before = drive.counts
        offsets = self._places(address, pieces, piece_bytes)
        sizes = np.full(pieces, piece_bytes, dtype=np.int64)
        requests = Requests(offsets, sizes, np.zeros(pieces, dtype=np.bool_))
        run = drive.replay(requests, queue_depth=self._queue_depth)
        counts = {name: count - before[name] for name, count in drive.counts.items()}
        return Scattered(run.end_ps, counts)

    def _places(self, address: int, pieces: int, piece_bytes: int) -> np.ndarray:
        """Multiples of a piece, drawn from all that the drive has."""
        rng = np.random.default_rng([address, pieces, piece_bytes])
        places = self._config.capacity_bytes // piece_bytes
        return rng.integers(0, places, pieces, dtype=np.int64) * piece_bytes
