"""What a drive can be asked for besides a list of requests: streams of bytes, in-storage jobs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bankwidth.devices.nand import kernel_state as w
from bankwidth.devices.nand.config import DriveConfig


class Sink(IntEnum):
    """Where pages go to or come from."""

    HOST = w.HOST  # over the drive's DRAM and its link
    ENGINE = w.ENGINE  # the in-storage engine, or the drive's own DRAM


HOST, ENGINE = Sink.HOST, Sink.ENGINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Consecutive bytes, in requests of `block_bytes`, `queue_depth` of them at once.

    Whole pages are moved. `placed` writes go to the pages' homes: who writes keeps the map itself.
    """

    first_byte: int
    size_bytes: int
    is_write: bool = False
    sink: Sink = HOST
    block_bytes: int = 131_072
    queue_depth: int = 32
    placed: bool = False

    def last_page(self, config: DriveConfig) -> int:
        """The last logical page that is touched."""
        return (self.first_byte + self.size_bytes - 1) // config.page_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Pages of a group that are read, filtered and computed with; `then_ps` follows the last one.

    The pages are first_page, first_page + step_pages, ... relative to the group's own first.
    """

    first_page: int
    pages: int
    step_pages: int = 1
    filter_ps_per_page: int = 0
    compute_ps_per_page: int = 0
    then_ps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`groups` equal pieces of in-storage work, `window` at once, each its phases in order.

    With `eager` the pages of the second phase are read behind those of the first, and wait for it
    in the engine's buffer.
    """

    base_page: int
    groups: int
    group_stride_pages: int
    phases: tuple[Phase, ...]
    window: int = 2
    eager: bool = False

    def last_page(self, config: DriveConfig) -> int:
        """The last logical page that is touched."""
        last = max(
            (p.first_page + max(0, p.pages - 1) * p.step_pages for p in self.phases), default=0
        )
        return self.base_page + (self.groups - 1) * self.group_stride_pages + last


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """Pages from the drive's own DRAM to their homes: `pages` consecutive ones of each group.

    Group g begins at base_page + g * group_stride_pages; `window` groups are under way at once.
    """

    base_page: int
    pages: int
    groups: int = 1
    group_stride_pages: int = 0
    window: int = 64

    def last_page(self, config: DriveConfig) -> int:
        """The last logical page that is touched."""
        return self.base_page + (self.groups - 1) * self.group_stride_pages + self.pages - 1


def phases_of(
    work: Stream | Job | Writes, config: DriveConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The kernel's words: (phases[phase, ...], source[...]).

    Raises ValueError for work of nothing, and for a job of more than two phases that is eager.
    """
    match work:
        case Stream():
            return _of_stream(work, config)
        case Writes():
            return _of_writes(work)
    return _of_job(work)


def _of_writes(work: Writes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if work.groups < 1 or work.pages < 1 or work.window < 1:
        raise ValueError(f"writes of nothing: {work}")
    phases = np.zeros((1, w.NUM_P), dtype=np.int64)
    phases[0, w.P_PAGES], phases[0, w.P_STEP] = work.pages, 1
    source = _source(work.groups, work.group_stride_pages, work.base_page, work.window, 1)
    source[w.Q_SINK], source[w.Q_WRITES], source[w.Q_PLACED] = w.ENGINE, True, True
    return phases, source


def _of_stream(work: Stream, config: DriveConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if work.size_bytes < 1:
        raise ValueError(f"a stream of {work.size_bytes} bytes")
    first, last = work.first_byte // config.page_bytes, work.last_page(config)
    pages = last - first + 1
    block = min(pages, max(1, work.block_bytes // config.page_bytes))
    phases = np.zeros((1, w.NUM_P), dtype=np.int64)
    phases[0, w.P_PAGES], phases[0, w.P_STEP] = block, 1
    source = _source(-(-pages // block), block, first, work.queue_depth, 1)
    source[w.Q_PAGES] = pages
    source[w.Q_SINK], source[w.Q_WRITES] = int(work.sink), work.is_write
    source[w.Q_PLACED] = work.placed
    return phases, source


def _of_job(work: Job) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if work.groups < 1 or not work.phases or work.window < 1:
        raise ValueError(f"a job of nothing: {work}")
    if work.eager and len(work.phases) != 2:
        raise ValueError(f"an eager job has two phases, not {len(work.phases)}")
    phases = np.array(
        [
            (
                p.first_page,
                p.pages,
                p.step_pages,
                p.filter_ps_per_page,
                p.compute_ps_per_page,
                p.then_ps,
            )
            for p in work.phases
        ],
        dtype=np.int64,
    )
    source = _source(
        work.groups, work.group_stride_pages, work.base_page, work.window, len(work.phases)
    )
    source[w.Q_SINK], source[w.Q_EAGER] = w.ENGINE, work.eager
    return phases, source


def _source(groups: int, stride: int, base: int, window: int, phases: int) -> NDArray[np.int64]:
    source = np.zeros(w.NUM_Q, dtype=np.int64)
    source[w.Q_KIND], source[w.Q_GROUPS], source[w.Q_STRIDE] = w.AFFINE, groups, stride
    source[w.Q_BASE], source[w.Q_WINDOW], source[w.Q_PHASES] = base, window, phases
    return source
