"""What it costs that threads start and join."""

from __future__ import annotations


def regions_ns(regions: float, threads: int, region_ns: float, thread_ns: float) -> float:
    """Of that many parallel regions; a lone thread starts nobody."""
    return regions * (region_ns + threads * thread_ns) if threads > 1 else 0.0
