"""Links: first come, first served bytes at their bandwidth, then their latency; paths of links."""

from __future__ import annotations

from collections.abc import Sequence

from bankwidth.spec import LinkSpec
from bankwidth.units import ns_to_ps


class Link:
    """Busy-until arithmetic stands for a FIFO server: it holds nobody up and costs no event."""

    def __init__(self, spec: LinkSpec) -> None:
        self.name = spec.name
        self.latency_ps = ns_to_ps(spec.latency_ns)
        self._bytes_per_ns = spec.bandwidth_bytes_per_ns
        self._free_ps = 0
        self.busy_ps = 0
        self.moved_bytes = 0

    def serialise(self, size_bytes: int, now_ps: int) -> int:
        """Time at which the last of `size_bytes` offered at `now_ps` has left the near end."""
        return self.pass_on(size_bytes, now_ps)[1]

    def pass_on(self, size_bytes: int, now_ps: int) -> tuple[int, int]:
        """Times at which the first and the last of the bytes leave the near end."""
        first_ps = max(self._free_ps, now_ps)
        duration_ps = self.duration_ps(size_bytes)
        self._free_ps = first_ps + duration_ps
        self.busy_ps += duration_ps
        self.moved_bytes += size_bytes
        return first_ps, self._free_ps

    def duration_ps(self, size_bytes: int) -> int:
        """Time that bytes take at the link's bandwidth."""
        return ns_to_ps(size_bytes / self._bytes_per_ns)

    def pass_train(self, size_bytes: int, duration_ps: int, now_ps: int) -> int:
        """As `pass_on` of several pieces at once, by their sums; when the first one begins."""
        first_ps = max(self._free_ps, now_ps)
        self._free_ps = first_ps + duration_ps
        self.busy_ps += duration_ps
        self.moved_bytes += size_bytes
        return first_ps


class Path:
    """Links one behind the other; none at all where an engine sits in its memory.

    Bytes follow each other from link to link (cut-through), so that the slowest decides; a link
    is taken for as long as its own bandwidth needs, not for as long as the slowest does.
    """

    def __init__(self, links: Sequence[Link]) -> None:
        self.links = tuple(links)
        self.latency_ps = sum(link.latency_ps for link in self.links)

    def send(self, size_bytes: int, now_ps: int) -> int:
        """Time at which the last of `size_bytes` has passed all links, but for their latency."""
        first_ps = last_ps = now_ps
        for link in self.links:
            first_ps, passed_ps = link.pass_on(size_bytes, first_ps)
            last_ps = max(last_ps, passed_ps)
        return last_ps
