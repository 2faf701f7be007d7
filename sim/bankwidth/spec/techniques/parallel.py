"""Options of parallelism over equal devices; a machine's own `parallel` has the same."""

from __future__ import annotations

from bankwidth.spec.parallel import WaysSpec


class ParallelismSpec(WaysSpec):
    """Devices that share the model: each runs its share, with collectives between."""
