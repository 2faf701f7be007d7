"""Activations on their way through a quantiser into a core, word by word."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

State = tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A quantiser and the queue behind it; a word is what comes in per clock."""

    per_clock: int = 1  # activations of a word
    block: int = 1  # activations that the quantiser takes at once
    block_fill_ck: int = 0  # before a block's first word leaves it
    queue: int = 0  # activations that wait behind it
    pads: bool = False  # zeros that fill the last row of groups up come through it too

    def words(self, activations: int) -> int:
        """Words of a row of activations."""
        return -(-activations // self.per_clock)


class Arrivals:
    """When each word can be taken: made no earlier than there is room for it in the queue."""

    def __init__(self, stream: Stream) -> None:
        self._fill_ck = stream.block_fill_ck
        self._block_words = max(1, stream.block // stream.per_clock)
        self._made_ck = -1  # clock of the last word
        self._place = 0  # of the next word in its block
        room = max(1, stream.queue // stream.per_clock)
        self._taken: deque[int] = deque([-1] * room, maxlen=room)  # clocks of the last words taken

    def take(self, ready_ck: int) -> int:
        """Clock after the one in which the next word is taken, at `ready_ck` at the earliest."""
        made = self._made_ck + 1 + (0 if self._place else self._fill_ck)
        self._made_ck = max(made, self._taken[0])
        self._place = (self._place + 1) % self._block_words
        taken = max(ready_ck, self._made_ck)
        self._taken.append(taken)
        return taken + 1

    def state(self, now_ck: int) -> State:
        """All that later words depend on, relative to a clock."""
        taken = tuple(clock - now_ck for clock in self._taken)
        return self._made_ck - now_ck, self._place, taken
