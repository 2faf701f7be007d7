"""Blocks of prompts that later prompts may begin with: a tree of hashes (SGLang's radix cache).

A node stands for one hash, which is many blocks of keys and values, with all nodes above it before
it. Sequences pin the nodes they use. Of the others, leaves are evicted, the least recently used
first (vLLM's automatic prefix caching does the same by block).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


class Node:
    """One hash of a prompt, after that of its parent."""

    __slots__ = ("children", "hash", "parent", "pins", "stamp")

    def __init__(self, parent: Node | None, hash: int) -> None:
        self.parent, self.hash = parent, hash
        self.children: dict[int, Node] = {}
        self.pins = 0  # sequences that use it
        self.stamp = 0  # when it was used last; of an entry of the heap: whether that is valid


class PrefixTree:
    """Which prompts' blocks are there; counts nodes, knows nothing of their size."""

    def __init__(self) -> None:
        self._root = Node(None, -1)
        self._leaves: list[tuple[int, int, Node]] = []  # that may be evicted, by stamp
        self._clock = 0
        self.pinned = 0  # nodes in use
        self.idle = 0  # nodes not in use
        self.evicted = 0

    def match(self, hashes: Sequence[int], most: int) -> list[Node]:
        """The longest path of these hashes that is there, at most `most` nodes."""
        node, path = self._root, []
        for each in hashes[:most]:
            found = node.children.get(each)
            if found is None:
                break
            path.append(found)
            node = found
        return path

    def idle_among(self, path: Sequence[Node]) -> int:
        """How many of these nodes pinning would take from those that may be evicted."""
        return sum(node.pins == 0 for node in path)

    def pin(self, path: Sequence[Node]) -> None:
        """A sequence uses these."""
        for node in path:
            if node.pins == 0:
                self.idle -= 1
                self.pinned += 1
            node.pins += 1

    def unpin(self, path: Sequence[Node]) -> None:
        """A sequence no longer uses these; they stay until their room is needed."""
        self._clock += 1
        for node in reversed(path):
            node.pins -= 1
            node.stamp = self._clock
            if node.pins == 0:
                self.pinned -= 1
                self.idle += 1
                self._offer(node)

    def extend(self, path: list[Node], hash: int) -> bool:
        """Append the node of a hash to a sequence's pinned path; whether it was there already."""
        parent = path[-1] if path else self._root
        node = parent.children.get(hash)
        was_there = node is not None
        if node is None:
            node = parent.children[hash] = Node(parent, hash)
            self.idle += 1
        self.pin([node])
        path.append(node)
        return was_there

    def evict(self) -> None:
        """Drop the least recently used leaf; there must be an idle node."""
        while True:
            stamp, _, node = heapq.heappop(self._leaves)
            if stamp == node.stamp and node.pins == 0 and not node.children:
                break
        parent = node.parent
        assert parent is not None
        del parent.children[node.hash]
        self.idle -= 1
        self.evicted += 1
        self._offer(parent)

    def _offer(self, node: Node) -> None:
        """Put a node among those that may be evicted, if it may be."""
        if node.pins == 0 and not node.children and node.parent is not None:
            self._clock += 1  # no two entries are equal, so that nodes are never compared
            heapq.heappush(self._leaves, (node.stamp, self._clock, node))
