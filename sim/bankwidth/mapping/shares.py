"""Equal devices that share every product: one device's part of a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bankwidth.errors import MappingError
from bankwidth.operators import Trace, shard
from bankwidth.operators.stages import stages_of
from bankwidth.operators.techniques.weight_streaming import STREAMS
from bankwidth.spec import MachineSpec

# What a trace says of its share, and what it is where it says nothing.
_ALONE: Final[dict[str, int | bool]] = {
    "tensor": 1, "pipeline": 1, "expert": 1, "sequence": False, "context": 1,
}  # fmt: skip


def share_of(machine: MachineSpec, trace: Trace) -> Trace:
    """What one of the machine's devices runs; a share already made is left as it is.

    A machine that says nothing of equal devices runs any share, if its engines have links to
    others. Raises MappingError where the trace cannot be shared out, for a share that the
    machine's devices contradict, and for weights that both of them stream.
    """
    if machine.mapping.flash is not None and trace.meta.get(STREAMS):
        raise MappingError(
            f"{machine.name}: its mapping.flash reads weights from a drive, and the trace streams "
            f"them as well: leave weight_streaming out, or take a machine without mapping.flash"
        )
    parallel = machine.parallel
    if parallel is None:
        return trace
    made = {name: trace.meta.get(name, default) for name, default in _ALONE.items()}
    made["pipeline"] = stages_of(trace)
    if made == _ALONE:
        ways = {name: getattr(parallel, name) for name in ("expert", "sequence", "context")}
        return shard(trace, parallel.tensor, **ways)
    wanted = {name: getattr(parallel, name) for name in _ALONE}
    if made != wanted:
        found, allowed = (_words(ways) for ways in (made, wanted))
        raise MappingError(
            f"{machine.name}: the trace is the share of one of several devices ({found}), the "
            f"machine has parallel: {allowed}; leave the workload's parallel out, set the same, or "
            f"take a machine without parallel"
        )
    return trace


def _words(ways: Mapping[str, object]) -> str:
    changed = {name: n for name, n in ways.items() if n != _ALONE[name]} or {"tensor": 1}
    return ", ".join(f"{name}: {n}" for name, n in changed.items())
