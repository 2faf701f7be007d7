"""Equal devices that share every product: one device's part of a trace."""

from __future__ import annotations

from bankwidth.errors import MappingError
from bankwidth.operators import Trace, shard
from bankwidth.spec import MachineSpec


def share_of(machine: MachineSpec, trace: Trace) -> Trace:
    """What one of the machine's devices runs; a share already made for as many is left as it is.

    Raises MappingError where the trace cannot be shared out.
    """
    tensor = machine.parallel.tensor if machine.parallel else 1
    made_for = trace.meta.get("tensor", 1)
    if made_for == tensor:
        return trace
    if made_for != 1:
        raise MappingError(
            f"{machine.name}: the trace is the share of one of {made_for} devices, the machine "
            f"has parallel.tensor: {tensor}"
        )
    return shard(trace, tensor)
