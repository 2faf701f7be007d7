"""A request on its way through a machine."""

from __future__ import annotations

from typing import Literal

from bankwidth.serving.prefixes import Node

Status = Literal["waiting", "running", "swapped", "finished", "rejected"]


class Sequence:
    """What was computed, produced and held for one request, and when.

    A prompt of P tokens, once through the model, gives the first of D tokens; each decode gives
    one more and puts the last one's keys and values into the cache, so that P + D - 1 are there at
    the end.
    """

    __slots__ = (
        "arrival_ps", "carried", "computed", "first_ps", "hashes", "index", "joined_step",
        "last_ps", "longest_gap_ps", "nodes", "offset", "output", "preemptions", "prefilled",
        "produced", "prompt", "ready_ps", "reason", "residue", "reused", "start_ps", "status",
        "swapped_blocks", "target", "ticket",
    )  # fmt: skip

    def __init__(
        self, index: int, arrival_ps: int, prompt: int, output: int, hashes: tuple[int, ...] = ()
    ) -> None:
        self.index = index
        self.arrival_ps = arrival_ps
        self.ready_ps = arrival_ps  # when this machine may take it
        self.prompt, self.output, self.hashes = prompt, output, hashes
        self.status: Status = "waiting"
        self.reason = ""  # of a rejection
        # tokens
        self.target = prompt  # that must be in the cache before the next token is produced
        self.computed = 0  # of those, in the cache
        self.carried = 0  # of those, that come with it from another machine
        self.produced = 0
        self.prefilled = 0  # that went through the model as prompt, more than once if recomputed
        self.reused = 0  # of the prompt, at the first time: found in the prefix cache
        self.preemptions = 0
        # times
        self.start_ps = -1  # of its first iteration
        self.first_ps = -1  # its first token
        self.last_ps = -1  # its last token so far
        self.longest_gap_ps = 0  # between two of its tokens
        # blocks
        self.nodes: list[Node] = []  # shared blocks of its prompt, from the start on
        self.swapped_blocks = 0  # in the host
        # while it decodes (see Decoding)
        self.offset = 0
        self.residue = 0
        self.joined_step = -1
        self.ticket = 0

    @property
    def most_tokens(self) -> int:
        """In the cache, when all but the last token is there."""
        return self.prompt + self.output - 1

    @property
    def is_done(self) -> bool:
        """Every token was produced."""
        return self.produced == self.output

    def token(self, end_ps: int) -> None:
        """Its prompt, or what was recomputed, gave a token."""
        self.produced += 1
        if self.first_ps < 0:
            self.first_ps = end_ps
        else:
            self.longest_gap_ps = max(self.longest_gap_ps, end_ps - self.last_ps)
        self.last_ps = end_ps

    def arrive(self, now_ps: int) -> None:
        """It comes now, whatever was said before."""
        self.arrival_ps = self.ready_ps = now_ps

    def carry(self, ready_ps: int) -> None:
        """Go on with what is in the cache on another machine, which may take it from then on."""
        self.carried, self.ready_ps = self.target, ready_ps
        self.status = "waiting"
