"""What every lowering needs: addresses in the order of use, and who reads a KV cache."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bankwidth.errors import MappingError
from bankwidth.mapping.plan import Placement, Transfer
from bankwidth.operators import Attention, Operator, Tensor

ROLE_OF_TENSOR = {"weight": "weights", "kv": "kv", "activation": "activations"}
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
        """`size_bytes` of a tensor, from its first byte on, in the memory its role is placed in."""
        region = self._regions[ROLE_OF_TENSOR[tensor.role]]
        address = region.address_of(f"{layer}/{tensor.name}", tensor.size_bytes)
        return Transfer(
            memory=region.placement.memory,
            address=address,
            size_bytes=size_bytes,
            is_write=is_write,
            posted=posted,
        )
