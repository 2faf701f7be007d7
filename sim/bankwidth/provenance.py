"""What made a result: versions and content hashes, and nothing that changes between equal runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from bankwidth import __version__
from bankwidth.operators import Trace, trace_lines
from bankwidth.spec import MachineSpec


def content_hash(text: str) -> str:
    """Sixteen digits that differ when the text does."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def machine_hash(machine: MachineSpec) -> str:
    """Hash of a machine's values; comments, files and the order of keys do not count."""
    values = machine.model_dump(mode="json")
    return content_hash(json.dumps(values, sort_keys=True, default=str))


def provenance_of(
    machine: MachineSpec, trace: Trace, *, skip: bool, memory_model: Mapping[str, str]
) -> dict[str, Any]:
    """Versions, hashes and switches of a run; how each memory was simulated.

    With `techniques`, and `partial` for a trace that lacks operators of what was recorded.
    """
    notes = {key: trace.meta[key] for key in ("techniques", "partial") if trace.meta.get(key)}
    return notes | {
        "bankwidth": __version__,
        "numpy": version("numpy"),
        "numba": version("numba"),
        "machine_hash": machine_hash(machine),
        "trace_hash": content_hash("\n".join(trace_lines(trace))),
        "skip": skip,
        "memory_model": dict(memory_model),
    }
