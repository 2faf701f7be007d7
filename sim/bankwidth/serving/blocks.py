"""Paged keys and values: how many blocks there are, who holds them (Kwon et al., SOSP 2023).

Any block will do for any tokens, so that numbers of blocks say all. Blocks are held by one sequence
(private), by sequences that share a prefix (pinned), or by a prefix that nobody uses now (idle);
the latter make room when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from bankwidth.errors import MappingError, SimulationError, SpecError
from bankwidth.serving.iteration import Room
from bankwidth.serving.prefixes import Node, PrefixTree
from bankwidth.serving.sequence import Sequence
from bankwidth.spec.serving import ServingSpec
from bankwidth.units import format_bytes

_ENDLESS = 1 << 60  # blocks, where a sequence takes no memory


@dataclass(frozen=True, slots=True)
class Paging:
    """How tokens become blocks."""

    total: int  # blocks
    block_tokens: int
    block_bytes: int
    state_blocks: int  # of a sequence, whatever its length
    has_tokens: bool  # tokens take memory (not of a model that has only states)
    watermark: int  # blocks that stay free when a sequence is taken in

    def blocks_of(self, tokens: int) -> int:
        """Blocks of a sequence with so many tokens in the cache."""
        return self.state_blocks + (-(-tokens // self.block_tokens) if self.has_tokens else 0)


def paging_of(room: Room, options: ServingSpec) -> Paging:
    """Blocks that a machine has. Raises MappingError where it has not even one."""
    size = options.kv_memory_bytes if options.kv_memory_bytes is not None else room.kv_bytes
    token_bytes = room.kv_bytes_per_token * options.block_tokens
    block_bytes = token_bytes or room.sequence_bytes
    total = size // block_bytes if block_bytes else _ENDLESS
    if total < 1:
        raise MappingError(
            f"no room for keys and values: {format_bytes(max(0, size))} left, a block of "
            f"{options.block_tokens} tokens takes {format_bytes(block_bytes)}"
        )
    return Paging(
        total=total,
        block_tokens=options.block_tokens,
        block_bytes=block_bytes,
        state_blocks=-(-room.sequence_bytes // block_bytes) if block_bytes else 0,
        has_tokens=token_bytes > 0,
        watermark=int(total * options.watermark) if block_bytes else 0,
    )


class Blocks:
    """Counts of blocks by holder; what is given out never exceeds what there is."""

    def __init__(self, paging: Paging, node_tokens: int = 0) -> None:
        """`node_tokens` is what a hash of a prompt stands for; 0 without a prefix cache.

        Raises SpecError where that is no whole number of blocks.
        """
        if node_tokens % paging.block_tokens:
            raise SpecError(
                f"serving: block_tokens: {paging.block_tokens} does not divide the {node_tokens} "
                "tokens of the requests' hash_ids, give e.g. 16 or set prefix_cache to false"
            )
        self.paging = paging
        self.node_tokens = node_tokens
        self.node_blocks = node_tokens // paging.block_tokens if paging.has_tokens else 0
        self.private = 0
        self.tree = PrefixTree()

    @property
    def used(self) -> int:
        """Blocks of sequences that run."""
        return self.private + self.tree.pinned * self.node_blocks

    @property
    def cached(self) -> int:
        """Blocks of prefixes that nobody uses now."""
        return self.tree.idle * self.node_blocks

    @property
    def available(self) -> int:
        """Blocks that can be taken, if need be from prefixes that nobody uses."""
        return self.paging.total - self.used

    def take(self, number: int) -> None:
        """Give out blocks. Raises SimulationError where there are too few."""
        if number > self.available:
            raise SimulationError(f"{number} blocks taken, {self.available} available")
        self.private += number
        self._make_room()

    def give(self, number: int) -> None:
        """Take back blocks. Raises SimulationError where so many were not out."""
        if number > self.private:
            raise SimulationError(f"{number} blocks given back, {self.private} are out")
        self.private -= number

    def prefix_of(self, sequence: Sequence) -> list[Node]:
        """What need not be computed of a prompt; its last token always goes through the model."""
        if not self.node_tokens or sequence.carried:
            return []
        most = min(sequence.prompt, sequence.target - 1) // self.node_tokens
        return self.tree.match(sequence.hashes, most)

    def share(self, sequence: Sequence) -> None:
        """Make what was computed of a prompt available to others, whole nodes of it.

        A node that another sequence computed meanwhile is used in place of its own copy.
        """
        if not self.node_tokens:
            return
        whole = min(sequence.computed, sequence.prompt) // self.node_tokens
        for hash in sequence.hashes[len(sequence.nodes) : whole]:
            self.give(self.node_blocks)
            self.tree.extend(sequence.nodes, hash)
        self._make_room()

    def release(self, sequence: Sequence, held: int) -> None:
        """A sequence that held so many blocks, shared ones among them, needs none any more."""
        self.give(held - len(sequence.nodes) * self.node_blocks)
        self.tree.unpin(sequence.nodes)
        sequence.nodes = []

    def _make_room(self) -> None:
        if self.node_blocks:
            while self.used + self.cached > self.paging.total:
                self.tree.evict()
