"""A link: first come, first served bytes at its bandwidth, then its latency."""

from __future__ import annotations

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
        duration_ps = ns_to_ps(size_bytes / self._bytes_per_ns)
        self._free_ps = max(self._free_ps, now_ps) + duration_ps
        self.busy_ps += duration_ps
        self.moved_bytes += size_bytes
        return self._free_ps
