"""Where each kind of tensor lives, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bankwidth.errors import MappingError
from bankwidth.mapping.offload import Offloaded
from bankwidth.mapping.plan import Placement
from bankwidth.operators import DTYPE_BITS, OUTSIDE, Attention, Fetch, Trace
from bankwidth.spec import MachineSpec

GIB = 2.0**30
ROLES = ("weights", "kv", "activations")
FAR = "far"
SCORES = "scores"
BUFFERS = "buffers"


def needed_bytes(trace: Trace) -> dict[str, int]:
    """Bytes a trace keeps, by role."""
    sizes = (trace.weight_bytes, trace.kv_bytes, trace.activation_bytes)
    return dict(zip(ROLES, sizes, strict=True))


def place(machine: MachineSpec, trace: Trace) -> dict[str, Placement]:
    """One region per role, one behind the other in its memory; what does not fit may spill.

    Raises MappingError that says by how many GiB a memory is too small, and what was put there.
    """
    layout = _Layout(machine, trace)
    for role, size_bytes in needed_bytes(trace).items():
        layout.put(role, machine.mapping.place[role], size_bytes)
    scores_bytes = needed_for_scores(machine, trace)
    if scores_bytes:
        layout.put(SCORES, machine.mapping.place["activations"], scores_bytes)
    buffer_bytes = needed_for_prefetches(trace)
    if buffer_bytes:
        layout.put(BUFFERS, machine.mapping.place["activations"], buffer_bytes)
    if trace.far_bytes:
        layout.put(FAR, far_memory(machine, trace), trace.far_bytes)
    for memory in machine.memories:
        layout.check_fit(memory)
    placed = {role: layout.offloaded(role) for role in ROLES}
    return placed | ({FAR: layout.regions[FAR]} if FAR in layout.regions else {})


def far_memory(machine: MachineSpec, trace: Trace) -> str:
    """Where what is kept away from the engine lies. Raises MappingError where nothing is said."""
    if FAR not in machine.mapping.place:
        raise MappingError(
            f"{trace.model} keeps {trace.far_bytes / GIB:.2f} GiB in a memory further away, and "
            f"{machine.name} names none: set mapping.place.far to one of its memories "
            f"({', '.join(machine.memories)}), or take a machine that has one, such as h100-host"
        )
    return machine.mapping.place[FAR]


def needed_for_prefetches(trace: Trace) -> int:
    """Bytes of the second buffer of each kind of prefetch; the first is among the activations."""
    sizes: dict[str, int] = {}
    for block in trace.blocks:
        for op in block.operators:
            if isinstance(op, Fetch) and op.is_prefetch:
                sizes[op.what] = max(sizes.get(op.what, 0), op.size_bytes)
    return sum(sizes.values())


def needed_for_scores(machine: MachineSpec, trace: Trace) -> int:
    """Bytes of the scores that attention keeps whole, where the machine's kernels do so.

    All of them, masked ones too: each new token of each head with each cached one.
    """
    copies = machine.mapping.offload.score_copies
    sizes = (
        op.batch * op.n_heads * op.q_len * op.kv_len * DTYPE_BITS[op.dtype] // 8
        for block in trace.blocks
        for op in block.operators
        if isinstance(op, Attention)
    )
    return copies * max(sizes, default=0) if copies else 0


def allocated_bytes(machine: MachineSpec, trace: Trace, role: str, memory: str) -> int:
    """What a role takes of a memory whose allocator may round each tensor of a layer up."""
    size_bytes = needed_bytes(trace)[role]
    if memory not in machine.mapping.offload.rounding:
        return size_bytes
    if role == "kv":
        tensors = 2 * _attentions(trace)
        return tensors * _power_of_two(-(-size_bytes // tensors)) if tensors else size_bytes
    if role == "weights":
        sizes = _layer_tensors(trace)
        return size_bytes + sum(map(_power_of_two, sizes)) - sum(sizes)
    return _power_of_two(size_bytes)


def _power_of_two(size_bytes: int) -> int:
    return 1 << (size_bytes - 1).bit_length() if size_bytes > 1 else size_bytes


def _attentions(trace: Trace) -> int:
    """Layers with keys and values; several passes through the model have the same."""
    layers = {
        op.layer + iteration
        for block in trace.blocks
        for op in block.operators
        if isinstance(op, Attention)
        for iteration in range(block.repeat)
    }
    return len(layers)


def _layer_tensors(trace: Trace) -> list[int]:
    """Sizes of the weights of all layers, each counted once."""
    sizes = {
        (tensor.name, op.layer + iteration): tensor.size_bytes
        for block in trace.blocks
        for op in block.operators
        if op.layer != OUTSIDE
        for tensor in op.inputs
        if tensor.role == "weight"
        for iteration in range(block.repeat)
    }
    return list(sizes.values())


@dataclass(slots=True)
class _Layout:
    """Regions as they are put, one behind the other."""

    machine: MachineSpec
    trace: Trace
    regions: dict[str, Placement] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)  # by memory

    def put(self, role: str, memory: str, size_bytes: int) -> None:
        taken = size_bytes
        if role in ROLES:
            taken = allocated_bytes(self.machine, self.trace, role, memory)
        base = self.used.get(memory, 0)
        self.regions[role] = Placement(memory=memory, base=base, size_bytes=taken)
        self.used[memory] = base + taken

    def check_fit(self, memory: str) -> None:
        """Raises MappingError for a memory that is too small, and for what is to take the rest."""
        over = self.over_bytes(memory)
        if over <= 0:
            return
        spill = self.machine.mapping.offload.spill
        if spill is None or spill.of != memory:
            raise MappingError(self._too_much(memory, over))
        room = self._capacity(spill.to)
        if room is not None and self.used.get(spill.to, 0) + over > room:
            raise MappingError(
                f"{self._too_much(memory, over)}; {spill.to!r}, which takes the rest, has "
                f"{(room - self.used.get(spill.to, 0)) / GIB:.2f} GiB left"
            )

    def over_bytes(self, memory: str) -> int:
        """Bytes that a memory has no room for."""
        capacity = self._capacity(memory)
        return 0 if capacity is None else self.used.get(memory, 0) - capacity

    def offloaded(self, role: str) -> Placement:
        """A region with what the machine does about its being away from the engine."""
        region, offload = self.regions[role], self.machine.mapping.offload
        shared = self._spilled(region) or self._cached(region)
        staged = offload.staged and region.memory != self.regions["activations"].memory
        read_share = offload.kv_share if role == "kv" else 1.0
        if shared is None and not staged and read_share == 1.0:
            return region
        return Offloaded(
            memory=region.memory,
            base=region.base,
            size_bytes=region.size_bytes,
            staged=staged,
            read_share=read_share,
            **(shared or {}),
        )

    def _spilled(self, region: Placement) -> dict[str, Any] | None:
        """Of a memory that is too small: all that is in it is gone through, allocated or not."""
        spill = self.machine.mapping.offload.spill
        if spill is None or spill.of != region.memory or self.over_bytes(region.memory) <= 0:
            return None
        return {
            "other": self._behind(spill.to, region.size_bytes),
            "room_bytes": self._capacity(spill.of) or 0,
            "keeps": spill.keeps,
            "group_bytes": self.used[spill.of],
        }

    def _cached(self, region: Placement) -> dict[str, Any] | None:
        cache = self.machine.mapping.offload.page_cache
        if cache is None or cache.of != region.memory:
            return None
        within = cache.within or cache.memory
        capacity = self._capacity(within)
        free = (capacity or 0) - self.used.get(within, 0) - cache.reserved_bytes
        static = [r for role, r in self.regions.items() if role != "kv"]
        return {
            "other": self._behind(cache.memory, max(0, free)),
            "is_cache": True,
            "room_bytes": region.size_bytes if capacity is None else max(0, free),
            "keeps": cache.keeps,
            "group_bytes": sum(r.size_bytes for r in static if r.memory == cache.of),
            "with_kv": self.regions["kv"].memory == cache.of,
        }

    def _behind(self, memory: str, size_bytes: int) -> Placement:
        return Placement(memory=memory, base=self.used.get(memory, 0), size_bytes=size_bytes)

    def _capacity(self, memory: str) -> int | None:
        return self.machine.memories[memory].capacity_bytes

    def _too_much(self, memory: str, over: int) -> str:
        capacity = self._capacity(memory) or 0
        held = " + ".join(
            f"{role} {region.size_bytes / GIB:.2f}"
            for role, region in self.regions.items()
            if region.memory == memory
        )
        rounded = memory in self.machine.mapping.offload.rounding
        return (
            f"{self.trace.model} does not fit {self.machine.name}: {held} = "
            f"{self.used[memory] / GIB:.2f} GiB{' as allocated' if rounded else ''} placed in "
            f"memory {memory!r} of {capacity / GIB:.2f} GiB, {over / GIB:.2f} GiB too "
            f"much; use a narrower dtype, a smaller batch or context, or a larger memory"
        )
