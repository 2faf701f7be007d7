"""Room for keys and values: what a machine's memory has left beside weights and activations.

    room = capacity x utilisation - weights - activations of the largest iteration

each of one device, where devices share the model; what a token takes comes from the model's own
passes. A model whose cache does not grow with all tokens (windows, states, keys kept at full
precision for a while) takes something for each sequence as well: as much as a long one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bankwidth.errors import MappingError
from bankwidth.mapping.pipeline import in_stages
from bankwidth.mapping.placement import GIB
from bankwidth.operators import Trace, model_shape
from bankwidth.operators.passes import Group
from bankwidth.serving.iteration import Room
from bankwidth.serving.policies import POLICIES
from bankwidth.serving.pricing_parts import Served
from bankwidth.spec.serving import ServingSpec

# Share of a memory that an engine takes: vLLM's --gpu-memory-utilization; recalled, unverified.
UTILISATION: Final = 0.9
LONG: Final = 8192  # tokens of a long sequence: behind every window and residual of known models


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSize:
    """Bytes of keys and values: of each sequence, and of each of its tokens."""

    sequence_bytes: int
    token_bytes: int


def cache_size(served: Served) -> CacheSize:
    """Of all devices together, from passes of the model."""
    return _size(served, staged=False)


def room_of(
    served: Served,
    *,
    batched_tokens: int = 8192,
    utilisation: float = UTILISATION,
    swap_bytes_per_ns: float | None = None,
) -> Room:
    """What the machine's devices hold of keys and values, together.

    Raises MappingError where weights and activations leave nothing, or the memory has no end.
    """
    free = _free_bytes(served, batched_tokens, utilisation)
    whole = cache_size(served)
    return Room(
        kv_bytes=int(free * _shared_by(served, whole)),
        kv_bytes_per_token=whole.token_bytes,
        sequence_bytes=whole.sequence_bytes,
        swap_bytes_per_ns=swap_bytes_per_ns,
    )


def room_for(served: Served, options: ServingSpec, utilisation: float = UTILISATION) -> Room:
    """Room that was asked for, or what the machine has left beside its largest iteration."""
    if options.kv_memory_bytes is not None:
        size = cache_size(served)
        return Room(
            kv_bytes=options.kv_memory_bytes,
            kv_bytes_per_token=size.token_bytes,
            sequence_bytes=size.sequence_bytes,
        )
    is_chunked = POLICIES[options.policy].chunks
    tokens = options.chunk_tokens if is_chunked else options.max_batched_tokens
    return room_of(served, batched_tokens=tokens, utilisation=utilisation)


def _size(served: Served, *, staged: bool) -> CacheSize:
    """Of one sequence in the whole model; or what one device keeps of its part of several."""
    most = model_shape(served.workload.config, served.workload.name).max_tokens
    long = LONG if most is None else min(LONG, most // 2)
    one, two = (_kv_bytes(served, tokens, staged=staged) for tokens in (long, 2 * long))
    token_bytes = -(-(two - one) // long)
    return CacheSize(sequence_bytes=max(0, one - token_bytes * long), token_bytes=token_bytes)


def _kv_bytes(served: Served, tokens: int, *, staged: bool) -> int:
    """Of as many sequences as there are devices: groups of devices may have their own."""
    sequences = served.devices
    group = (Group(batch=sequences, q_len=1, kv_len=tokens, phase="decode"),)
    if not staged:
        return served.whole_trace(group).kv_bytes // sequences
    return in_stages(served.machine, served.trace(group)).kv_bytes


def _shared_by(served: Served, whole: CacheSize) -> float:
    """Over how many devices a sequence's keys and values are spread."""
    part = _size(served, staged=True)
    if part.token_bytes:
        return served.devices * whole.token_bytes / part.token_bytes
    if part.sequence_bytes:
        return served.devices * whole.sequence_bytes / part.sequence_bytes
    return 1.0


def _free_bytes(served: Served, batched_tokens: int, utilisation: float) -> float:
    """Of the memory of keys and values of one device."""
    machine = served.machine
    place = machine.mapping.place
    capacity = machine.memories[place["kv"]].capacity_bytes
    if capacity is None:
        raise MappingError(
            f"{machine.name}: memory {place['kv']!r} has no capacity: give it one, or say how much "
            f"keys and values may take"
        )
    trace = _largest(served, batched_tokens)
    beside = {"weights": trace.weight_bytes, "activations": trace.activation_bytes}
    taken = {role: size for role, size in beside.items() if place[role] == place["kv"]}
    free = capacity * utilisation - sum(taken.values())
    if free <= 0:
        held = " + ".join(f"{role} {size / GIB:.2f}" for role, size in taken.items())
        raise MappingError(
            f"{trace.model} leaves {machine.name} no room for keys and values: {held} GiB in "
            f"{utilisation:.0%} of memory {place['kv']!r} of {capacity / GIB:.2f} GiB; use more "
            f"devices, a narrower dtype, or a larger memory"
        )
    return free


def _largest(served: Served, batched_tokens: int) -> Trace:
    """The pass that needs most room besides its cache."""
    most = model_shape(served.workload.config, served.workload.name).max_tokens
    tokens = batched_tokens if most is None else min(most, batched_tokens)
    group = Group(batch=1, q_len=tokens, kv_len=tokens, phase="prefill")
    return in_stages(served.machine, served.trace((group,)))
