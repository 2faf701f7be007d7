"""Sequences that decode, one token each at a time, without a loop over them.

All of them advance together, so that a count of steps and a sequence's offset from it say how long
it is, when it ends, and in which steps it needs another block.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from bankwidth.serving.sequence import Sequence


class Decoding:
    """A set of sequences and the steps they took."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self.members: list[Sequence] = []
        self.held: list[int] = []  # lengths of ended ones that are computed on (static batches)
        self._step = 0
        self._end_ps = [0]  # [step]
        self._gap_ps = [0]  # [step] since the step before
        self._growing = [0] * block_tokens  # sequences that need a block, by step modulo its tokens
        self._ends: list[tuple[int, int, Sequence]] = []  # heap: step of the last token, ticket
        self._tickets = 0
        self._offsets: NDArray[np.int64] | None = None  # None: must be made again
        self._offset_sum = 0

    def __len__(self) -> int:
        return len(self.members)

    @property
    def kv_tokens(self) -> int:
        """Tokens in the caches of all, before the next step; without those that are held."""
        return self._offset_sum + len(self.members) * self._step

    @property
    def growth(self) -> int:
        """Blocks that the next step needs."""
        return self._growing[(self._step + 1) % self._block_tokens]

    def join(self, sequence: Sequence, kv_tokens: int) -> None:
        """A sequence with so many tokens in the cache decodes from the next step on."""
        sequence.joined_step = self._step
        sequence.offset = kv_tokens - self._step
        sequence.residue = (1 - sequence.offset) % self._block_tokens
        self._growing[sequence.residue] += 1
        self._offset_sum += sequence.offset
        end = self._step + sequence.output - sequence.produced
        self._tickets += 1
        sequence.ticket = self._tickets
        heapq.heappush(self._ends, (end, sequence.ticket, sequence))
        self.members.append(sequence)
        self._offsets = None

    def leave(self, sequence: Sequence) -> int:
        """A sequence no longer decodes; how many tokens it has in the cache."""
        self._settle(sequence)
        self.members.remove(sequence)
        self._growing[sequence.residue] -= 1
        self._offset_sum -= sequence.offset
        sequence.ticket = 0
        self._offsets = None
        return sequence.offset + self._step

    def kv_of(self, sequence: Sequence) -> int:
        """How many tokens a member has in the cache."""
        return sequence.offset + self._step

    def next_kv(self) -> NDArray[np.int64]:
        """Lengths of all in the next step, the new tokens among them."""
        if self._offsets is None:
            self._offsets = np.array([each.offset for each in self.members], dtype=np.int64)
        lengths = self._offsets + (self._step + 1)
        if self.held:
            return np.concatenate([lengths, np.array(self.held, dtype=np.int64)])
        return lengths

    def advance(self, end_ps: int) -> list[Sequence]:
        """All take a step that ends then; those that had their last token."""
        self._step += 1
        self._gap_ps.append(end_ps - self._end_ps[-1])
        self._end_ps.append(end_ps)
        done = []
        while self._ends and self._ends[0][0] <= self._step:
            _, ticket, sequence = heapq.heappop(self._ends)
            if ticket == sequence.ticket:  # else it left meanwhile
                done.append(sequence)
        return done

    def settle(self) -> None:
        """Bring the counts of all sequences up to date, where a run ends before they do."""
        for sequence in self.members:
            self._settle(sequence)

    def _settle(self, sequence: Sequence) -> None:
        """Tokens, and the longest time between two, since it joined."""
        first, last = sequence.joined_step + 1, self._step
        if last < first:
            return
        sequence.produced += last - first + 1
        gaps_ps = self._gap_ps[first + 1 : last + 1]
        first_gap_ps = self._end_ps[first] - sequence.last_ps
        longest_ps = max(gaps_ps, default=0)
        sequence.longest_gap_ps = max(sequence.longest_gap_ps, first_gap_ps, longest_ps)
        sequence.last_ps = self._end_ps[last]
        sequence.joined_step = last
