"""Where each kind of tensor lives, and whether it fits."""

from __future__ import annotations

from collections.abc import Mapping

from bankwidth.errors import MappingError
from bankwidth.mapping.plan import Placement
from bankwidth.operators import Trace
from bankwidth.spec import MachineSpec

GIB = 2.0**30
ROLES = ("weights", "kv", "activations")


def needed_bytes(trace: Trace) -> dict[str, int]:
    """Bytes a trace keeps, by role."""
    sizes = (trace.weight_bytes, trace.kv_bytes, trace.activation_bytes)
    return dict(zip(ROLES, sizes, strict=True))


def place(machine: MachineSpec, trace: Trace) -> dict[str, Placement]:
    """One region per role, one behind the other in its memory.

    Raises MappingError that says by how many GiB a memory is too small, and what was put there.
    """
    free = dict.fromkeys(machine.memories, 0)
    placements = {}
    for role, size_bytes in needed_bytes(trace).items():
        memory = machine.mapping.place[role]
        placements[role] = Placement(memory=memory, base=free[memory], size_bytes=size_bytes)
        free[memory] += size_bytes
    for memory, used in free.items():
        _check_fit(machine, trace, memory, used, placements)
    return placements


def _check_fit(
    machine: MachineSpec,
    trace: Trace,
    memory: str,
    used: int,
    placements: Mapping[str, Placement],
) -> None:
    capacity = machine.memories[memory].capacity_bytes
    if capacity is None or used <= capacity:
        return
    held = " + ".join(
        f"{role} {p.size_bytes / GIB:.2f}" for role, p in placements.items() if p.memory == memory
    )
    raise MappingError(
        f"{trace.model} does not fit {machine.name}: {held} = {used / GIB:.2f} GiB placed in "
        f"memory {memory!r} of {capacity / GIB:.2f} GiB, {(used - capacity) / GIB:.2f} GiB too "
        f"much; use a narrower dtype, a smaller batch or context, or a larger memory"
    )
