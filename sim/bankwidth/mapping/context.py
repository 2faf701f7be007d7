"""What every lowering needs: addresses in the order of use, and who reads a KV cache."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

from bankwidth.errors import MappingError
from bankwidth.mapping.offload import Offloaded
from bankwidth.mapping.plan import Placement, Transfer
from bankwidth.operators import Attention, Operator, Tensor

ROLE_OF_TENSOR = {"weight": "weights", "kv": "kv", "activation": "activations", "far": "far"}
ALIGNMENT_BYTES = 4096


@dataclass(slots=True)
class _Region:
    """Addresses handed out one behind the other; it starts again when it is full."""

    placement: Placement
    used_bytes: int = 0
    known: dict[str, int] = field(default_factory=dict)

    def address_of(self, key: str, size_bytes: int) -> int:
        if key not in self.known:
            if self.used_bytes + size_bytes > self.placement.size_bytes:
                self.used_bytes = 0
            self.known[key] = self.placement.base + self.used_bytes
            padded = -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            self.used_bytes += padded
        return self.known[key]


class LoweringContext:
    """Addresses; one per plan, so that a layer's weights keep their place."""

    def __init__(
        self,
        placements: Mapping[str, Placement],
        operators: Sequence[Operator],
    ) -> None:
        self._regions = {role: _Region(p) for role, p in placements.items()}
        self._operators = operators
        self._attentions = [
            (index, op) for index, op in enumerate(operators) if isinstance(op, Attention)
        ]
        self.longest_kv = max((op.kv_len for _, op in self._attentions), default=1)
        self._layers_with_kv = len({op.layer for _, op in self._attentions})
        self._longest_bytes = max((cached_bytes(op) for _, op in self._attentions), default=0)

    def placement(self, role: str) -> Placement:
        """Where the tensors of a role lie."""
        return self._regions[role].placement

    def with_fresh_kv(self) -> LoweringContext:
        """The same where keys and values have just been made: still among the activations."""
        twin = copy(self)
        twin._regions = {**self._regions, "kv": self._regions["activations"]}
        return twin

    def operator_after(self, index: int) -> Operator | None:
        """The operator behind operator `index`."""
        return self._operators[index + 1] if index + 1 < len(self._operators) else None

    def attention_after(self, index: int) -> Attention:
        """The attention that follows operator `index`: the one a KV append fills the cache for.

        Raises MappingError when none follows.
        """
        place = bisect.bisect_left(self._attentions, index, key=lambda pair: pair[0])
        if place == len(self._attentions):
            raise MappingError(f"operator {index} appends to a KV cache that no attention reads")
        return self._attentions[place][1]

    def transfer(
        self,
        tensor: Tensor,
        layer: int,
        *,
        is_write: bool,
        size_bytes: int,
        posted: bool = False,
    ) -> Transfer:
        """`size_bytes` of a tensor, from its first byte on, in the memory its role is placed in.

        Nobody waits for what is written far away. Raises MappingError where there is no such place.
        """
        region = self._region(tensor)
        address = region.address_of(f"{layer}/{tensor.name}", tensor.size_bytes)
        is_staged = isinstance(region.placement, Offloaded) and region.placement.staged
        return Transfer(
            memory=region.placement.memory,
            address=address,
            size_bytes=size_bytes,
            is_write=is_write,
            posted=posted or (is_write and (is_staged or tensor.role == "far")),
            ahead=is_staged and not is_write,
        )

    def transfers(
        self,
        tensor: Tensor,
        layer: int,
        *,
        is_write: bool,
        size_bytes: int,
        posted: bool = False,
        attention: Attention | None = None,
    ) -> Iterator[Transfer]:
        """As `transfer`, from each memory that has a part of it.

        What is staged is copied once, however often the kernel reads it; keys and values of a
        prefill were just made. `attention` reads the tensor; without one, the cache counts as long
        as it ever gets.
        """
        whole = self.transfer(
            tensor, layer, is_write=is_write, size_bytes=size_bytes, posted=posted
        )
        place = self._region(tensor).placement
        if not isinstance(place, Offloaded):
            yield whole
            return
        seen_bytes = self._longest_bytes if attention is None else cached_bytes(attention)
        if attention is not None and attention.phase == "decode":
            size_bytes = max(1, round(size_bytes * place.read_share))
        if whole.ahead:
            yield self._staged(size_bytes)
            if attention is not None and attention.phase == "prefill":
                return
            size_bytes = min(size_bytes, tensor.size_bytes if attention is None else seen_bytes)
        for at, part in place.served(size_bytes, seen_bytes * self._layers_with_kv):
            address = whole.address - place.base + at.base
            yield replace(whole, memory=at.memory, address=address, size_bytes=part)

    def _region(self, tensor: Tensor) -> _Region:
        role = ROLE_OF_TENSOR[tensor.role]
        if role not in self._regions:
            raise MappingError(
                f"{tensor.name!r} lies in a memory further away, and the machine or the trace's "
                f"far_bytes names none: set mapping.place.{role}, or take a machine that has it"
            )
        return self._regions[role]

    def _staged(self, size_bytes: int) -> Transfer:
        """What a kernel reads of a copy beside the activations."""
        near = self._regions["activations"].placement
        return Transfer(
            memory=near.memory, address=near.base, size_bytes=size_bytes, is_write=False
        )


def cached_bytes(op: Attention) -> int:
    """Keys and values that an attention sees."""
    return sum(tensor.size_bytes for tensor in op.inputs if tensor.role == "kv")
