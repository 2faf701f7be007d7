"""What a task asks of drives that compute: data down, a job, data up; pages in the background."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bankwidth.devices.nand.work import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWrite:
    """`pages` consecutive pages of each of `groups` groups that lie `group_stride_pages` apart."""

    first_page: int
    pages: int
    groups: int = 1
    group_stride_pages: int = 0

    @property
    def total_pages(self) -> int:
        """Pages of all groups."""
        return self.pages * self.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class CsdProgram:
    """Part of one layer, on `drives` equal drives at once.

    `job`, `compute_ps`, `writes` and `buffer_bytes` are those of one drive, the one with most
    heads; `down_bytes` and `up_bytes` those of all drives together. First the bytes go down, then
    the job runs (or, where there is none, `compute_ps`), then the results go up. Writes come behind
    the job, for a drive reads first; without a job they begin when their bytes have come. Only the
    next job waits for them: what it reads has to be in flash. A `posted` program ends at once, and
    all of it happens behind its task.
    """

    drives: int = 1
    peer: str = ""  # the engine at the other end of the links
    down_bytes: int = 0
    up_bytes: int = 0
    start_ps: int = 0  # from the arrival of the command to the job's first page
    job: Job | None = None
    compute_ps: int = 0  # on what only the drive's DRAM holds
    writes: tuple[PageWrite, ...] = ()
    buffer_bytes: int = 0  # of what comes down, what the drive's DRAM keeps
    posted: bool = False
    ideal_ps: int = 0  # of the job, at the flash's or the engine's peak

    @property
    def written_pages(self) -> int:
        """Pages that one drive programs."""
        return sum(write.total_pages for write in self.writes)

    def at(self, base_page: int) -> CsdProgram:
        """The same on pages that begin `base_page` further on."""
        job = self.job and replace(self.job, base_page=self.job.base_page + base_page)
        writes = tuple(
            replace(write, first_page=write.first_page + base_page) for write in self.writes
        )
        return replace(self, job=job, writes=writes)
