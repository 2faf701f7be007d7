"""One machine that serves: a queue, blocks of keys and values, and a clock.

Every `step` forms one iteration and runs it: which sequences are in it is decided anew each time
(iteration-level scheduling: Orca, Yu et al., OSDI 2022). When blocks run out, the youngest
sequence gives its own up (vLLM, Kwon et al., SOSP 2023). Pieces of prompts fill what decodes leave
of a budget of tokens (Sarathi-Serve, Agrawal et al., OSDI 2024).
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from typing import Final, NamedTuple

import numpy as np

from bankwidth.errors import SimulationError, SpecError
from bankwidth.serving.blocks import Blocks, Paging, paging_of
from bankwidth.serving.decoding import Decoding
from bankwidth.serving.iteration import Batch, Group, Pricing, Room
from bankwidth.serving.journal import Journal, Row
from bankwidth.serving.policies import POLICIES
from bankwidth.serving.request_formats import HASH_TOKENS
from bankwidth.serving.sequence import Sequence
from bankwidth.spec.serving import ServingSpec

_NOTHING: Final = np.zeros(0, dtype=np.int64)


class Chunk(NamedTuple):
    """New tokens of one prompt in an iteration."""

    sequence: Sequence
    tokens: int


class Instance:
    """A machine, or several that share a model, with its scheduler.

    `submit` requests, then `step` until `next_ps` is None. With `hand_over`, sequences leave with
    their first token (they go on elsewhere, with their keys and values).
    """

    def __init__(
        self,
        options: ServingSpec,
        room: Room,
        pricing: Pricing,
        *,
        has_hashes: bool = False,
        hand_over: bool = False,
    ) -> None:
        """Raises MappingError without room for one block, SpecError for what cannot be."""
        self._swap_rate = options.swap_bandwidth_bytes_per_ns or room.swap_bytes_per_ns or 0.0
        if options.preemption == "swap" and not self._swap_rate:
            raise SpecError(
                "serving: preemption: swap needs a link to the host: give swap_bandwidth, as "
                "'64 GB/s', or use recompute"
            )
        self.options, self.room, self.pricing = options, room, pricing
        self.paging: Paging = paging_of(room, options)
        self.journal = Journal()
        self.now_ps = 0
        self._traits = POLICIES[options.policy]
        self._hand_over = hand_over
        uses_prefixes = has_hashes and options.prefix_cache
        self.blocks = Blocks(self.paging, HASH_TOKENS if uses_prefixes else 0)
        self.decoding = Decoding(options.block_tokens)
        self._arriving: list[tuple[int, int, Sequence]] = []  # heap
        self._waiting: deque[Sequence] = deque()
        self._swapped: deque[Sequence] = deque()
        self._running: list[Sequence] = []  # in the order in which they were taken in
        self._partial: list[Sequence] = []  # of those, prompts that are not through
        self._ended: list[tuple[Sequence, int]] = []  # static: with the blocks they still hold
        self._swap_bytes = 0  # of the iteration that is being formed
        self._host_blocks = 0
        self._held_blocks = 0  # of tokens, by sequence: shared ones count for each
        self._partial_tokens = 0
        self._forms = True  # static: a batch is being put together

    # ---------------------------------------------------------------------- from outside
    def submit(self, sequence: Sequence) -> bool:
        """Take a request, not before its `ready_ps`; False where it can never run here."""
        reason = self.refusal(sequence)
        if reason:
            sequence.status, sequence.reason = "rejected", reason
            return False
        heapq.heappush(self._arriving, (sequence.ready_ps, sequence.index, sequence))
        return True

    @property
    def next_ps(self) -> int | None:
        """When the next iteration starts; None when nothing is left to do."""
        if self._running or self._waiting or self._swapped:
            return self.now_ps
        return max(self.now_ps, self._arriving[0][0]) if self._arriving else None

    def step(self) -> list[Sequence]:
        """Run one iteration; the sequences that left with it. Something must be left to do."""
        self._wake()
        chunks = self._form()
        decodes = len(self.decoding) if self._traits.mixes or not chunks else 0
        batch = self._batch(chunks, decodes)
        iteration = self.pricing.price(batch)
        swap_ps = self._swap_ps()
        start_ps, latency_ps = self.now_ps, iteration.latency_ps + swap_ps
        for name, part_ps in iteration.bound_ps.items():
            self.journal.bound_ps[name] = self.journal.bound_ps.get(name, 0) + part_ps
        row = self._row(batch, decodes, swap_ps, latency_ps, iteration.energy_pj)
        self.now_ps = start_ps + latency_ps
        left = self._advance(chunks, decodes)
        self.journal.rows.append(row)
        return left

    def settle(self) -> None:
        """Bring the counts of sequences up to date, where a run ends before they do."""
        self.decoding.settle()

    def verify(self) -> None:
        """Raise SimulationError where the counts of blocks do not agree with who holds them."""
        nodes = self.blocks.node_blocks
        running = [(each, self._held(each)) for each in self._running] + self._ended
        private = sum(held - len(each.nodes) * nodes for each, held in running)
        pinned = len({id(node) for each, _ in running for node in each.nodes})
        swapped = sum(each.swapped_blocks for each in self._swapped)
        tokens = sum(held - self.paging.state_blocks for _, held in running)
        found = (self.blocks.private, self.blocks.tree.pinned, self._host_blocks, self._held_blocks)
        if found != (private, pinned, swapped, tokens):
            raise SimulationError(
                f"blocks {found}, their holders have {(private, pinned, swapped, tokens)}"
            )
        if self.blocks.used + self.blocks.cached > self.paging.total:
            raise SimulationError(f"{self.blocks.used} blocks used of {self.paging.total}")

    # ---------------------------------------------------------------------- what comes in
    def refusal(self, sequence: Sequence) -> str:
        most, whole = self.options.max_context, sequence.prompt + sequence.output
        if most is not None and whole > most:
            return f"{whole} tokens, max_context is {most}"
        need = self.paging.blocks_of(self._most_tokens(sequence))
        room = self.paging.total - self.paging.watermark
        if need > room:
            return f"needs {need} blocks of keys and values, {room} can be had"
        return ""

    def _most_tokens(self, sequence: Sequence) -> int:
        """In the cache of this machine."""
        return sequence.prompt if self._hand_over else sequence.most_tokens

    def _wake(self) -> None:
        """Wait for something to do, and take what has arrived."""
        next_ps = self.next_ps
        if next_ps is None:
            raise SimulationError("a step of a machine that has nothing to do")
        self.journal.idle_ps += next_ps - self.now_ps
        self.now_ps = next_ps
        while self._arriving and self._arriving[0][0] <= next_ps:
            self._waiting.append(heapq.heappop(self._arriving)[2])

    # ---------------------------------------------------------------------- an iteration
    def _form(self) -> list[Chunk]:
        """Choose what runs next: chunks of prompts; decodes are those that then are there."""
        self._swap_bytes = 0
        chunks = self._form_mixed() if self._traits.mixes else self._form_prompts_first()
        if not chunks and not self.decoding.members:
            raise SimulationError(f"{len(self._waiting)} requests wait and nothing can run")
        return chunks

    def _form_prompts_first(self) -> list[Chunk]:
        self._bring_back()
        chunks = self._admit(self.options.max_batched_tokens) if self._forms else []
        if self._traits.waits:
            self._forms = bool(chunks)
        if not chunks:
            self._grow()
        return chunks

    def _form_mixed(self) -> list[Chunk]:
        preempted = self._grow()
        if not preempted:
            self._bring_back()
        if not self._traits.chunks:  # nor does it ever preempt: room is reserved
            return self._admit(self.options.max_batched_tokens)
        budget = self.options.chunk_tokens - len(self.decoding)
        chunks = self._continue(budget)
        budget -= sum(chunk.tokens for chunk in chunks)
        return chunks if preempted else chunks + self._admit(budget)

    def _grow(self) -> bool:
        """Blocks for the tokens of a step, if need be from the youngest; whether it came to that.

        A sequence can always run alone (see `refusal`), so that this ends.
        """
        if self._traits.reserves:
            return False
        preempted = False
        while self._growth() > self.blocks.available:
            self._preempt(self._running[-1])
            preempted = True
        growth = self._growth()
        self.blocks.take(growth)
        self._held_blocks += growth
        return preempted

    def _growth(self) -> int:
        return self.decoding.growth if self.paging.has_tokens else 0

    def _continue(self, budget: int) -> list[Chunk]:
        """Further pieces of prompts that were begun, the oldest first."""
        chunks = []
        for sequence in self._partial:
            tokens = min(budget, sequence.target - sequence.computed)
            if tokens <= 0:
                break
            chunks.append(Chunk(sequence, tokens))
            budget -= tokens
        return chunks

    # ---------------------------------------------------------------------- taking in
    @property
    def _places(self) -> int:
        """How many more sequences may run."""
        most = self.options.max_sequences
        if self._traits.chunks:
            most = min(most, self.options.chunk_tokens)
        return most - len(self._running) - len(self._ended)

    def _bring_back(self) -> None:
        """Swap sequences in while there are places and blocks: they come before those that wait."""
        while self._swapped and self._places > 0 and self._swap_in(self._swapped[0]):
            self._swapped.popleft()

    def _admit(self, budget: int) -> list[Chunk]:
        """Take sequences in while there are places, blocks and tokens, and none is swapped."""
        chunks: list[Chunk] = []
        while self._waiting and not self._swapped and self._places > 0:
            chunk = self._take(self._waiting[0], budget, is_first=not chunks)
            if chunk is None:
                break
            self._waiting.popleft()
            if chunk.tokens:
                chunks.append(chunk)
                budget -= chunk.tokens
        return chunks

    def _take(self, sequence: Sequence, budget: int, *, is_first: bool) -> Chunk | None:
        """Give a waiting sequence its blocks and its part of the iteration, if there is room."""
        path = self.blocks.prefix_of(sequence)
        reused = len(path) * self.blocks.node_tokens
        tokens = self._tokens_of(sequence.target - sequence.carried - reused, budget, is_first)
        if tokens == 0 and not sequence.carried:
            return None
        held = self._blocks_at_start(sequence) + self._growth_of(sequence, sequence.carried)
        private = held - len(path) * self.blocks.node_blocks
        idle = self.blocks.tree.idle_among(path) * self.blocks.node_blocks
        if private + idle > self.blocks.available - self.paging.watermark:
            return None
        self.blocks.tree.pin(path)
        self.blocks.take(private)
        sequence.nodes = path
        self._start(sequence, held, sequence.carried + reused)
        return Chunk(sequence, tokens)

    def _tokens_of(self, tokens: int, budget: int, is_first: bool) -> int:
        """How many of a prompt's tokens go into an iteration that has room for `budget`."""
        if self._traits.chunks:
            return max(0, min(tokens, budget))
        return tokens if tokens <= budget or is_first else 0

    def _blocks_at_start(self, sequence: Sequence) -> int:
        tokens = self._most_tokens(sequence) if self._traits.reserves else sequence.target
        return self.paging.blocks_of(tokens)

    def _growth_of(self, sequence: Sequence, kv_tokens: int) -> int:
        """A block for a sequence that decodes at once, where all others have grown already."""
        decodes = 0 < kv_tokens == sequence.target
        if not decodes or self._traits.reserves or not self._traits.mixes:
            return 0
        return self.paging.blocks_of(kv_tokens + 1) - self.paging.blocks_of(kv_tokens)

    def _start(self, sequence: Sequence, held: int, computed: int) -> None:
        if sequence.start_ps < 0:
            sequence.start_ps = self.now_ps
            sequence.reused = computed - sequence.carried
        sequence.status = "running"
        sequence.computed, sequence.carried = computed, 0
        self._running.append(sequence)
        self._held_blocks += held - self.paging.state_blocks
        if computed == sequence.target:
            self.decoding.join(sequence, computed)
        else:
            self._partial.append(sequence)
            self._partial_tokens += sequence.target

    # ---------------------------------------------------------------------- giving up
    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's blocks; it waits before all others."""
        kv_tokens, held = self._stop(sequence)
        sequence.preemptions += 1
        self.journal.preemptions += 1
        if self._can_swap(held):
            self._swap_out(sequence, held, kv_tokens)
            return
        sequence.status = "waiting"
        sequence.target, sequence.computed = sequence.prompt + sequence.produced, 0
        self._waiting.appendleft(sequence)

    def _held(self, sequence: Sequence) -> int:
        """Blocks of a sequence that runs, shared ones among them."""
        if self._traits.reserves or sequence.ticket == 0:
            return self._blocks_at_start(sequence)
        return self.paging.blocks_of(self.decoding.kv_of(sequence))

    def _stop(self, sequence: Sequence) -> tuple[int, int]:
        """A sequence no longer runs; how many tokens it had in the cache, in how many blocks."""
        held = self._held(sequence)
        self._running.remove(sequence)
        kv_tokens = sequence.computed
        if sequence.ticket:
            kv_tokens = self.decoding.leave(sequence)
        elif sequence in self._partial:
            self._partial.remove(sequence)
            self._partial_tokens -= sequence.target
        self._let_go(sequence, held)
        return kv_tokens, held

    def _let_go(self, sequence: Sequence, held: int) -> None:
        self.blocks.release(sequence, held)
        self._held_blocks -= held - self.paging.state_blocks

    def _can_swap(self, blocks: int) -> bool:
        if self.options.preemption != "swap":
            return False
        space = self.options.swap_space_bytes
        need = (self._host_blocks + blocks) * self.paging.block_bytes
        return space is None or need <= space

    def _swap_out(self, sequence: Sequence, held: int, kv_tokens: int) -> None:
        sequence.status = "swapped"
        sequence.swapped_blocks, sequence.computed = held, kv_tokens
        sequence.target = max(sequence.target, kv_tokens)  # more: it was decoding, and goes on
        self._host_blocks += held
        self._swap_bytes += held * self.paging.block_bytes
        self._swapped.appendleft(sequence)

    def _swap_in(self, sequence: Sequence) -> bool:
        """Bring a sequence back, all blocks its own; False where there is no room.

        One block more than it had must be there, if it ever takes one, or it would go again at
        once (vLLM does the same).
        """
        blocks = sequence.swapped_blocks
        held = blocks + self._growth_of(sequence, sequence.computed)
        need = min(blocks + 1, self.paging.blocks_of(sequence.most_tokens))
        if max(held, need) > self.blocks.available - self.paging.watermark:
            return False
        self.blocks.take(held)
        self._host_blocks -= blocks
        self._swap_bytes += blocks * self.paging.block_bytes
        sequence.swapped_blocks = 0
        self._start(sequence, held, sequence.computed)
        return True

    def _swap_ps(self) -> int:
        self.journal.swap_bytes += self._swap_bytes
        if not self._swap_bytes:
            return 0
        return math.ceil(self._swap_bytes / self._swap_rate * 1000)

    # ---------------------------------------------------------------------- its outcome
    def _batch(self, chunks: list[Chunk], decodes: int) -> Batch:
        shapes = Counter((tokens, each.computed + tokens) for each, tokens in chunks)
        groups = (Group(n, q, kv, "prefill") for (q, kv), n in sorted(shapes.items()))
        ends = sum(each.computed + tokens == each.target for each, tokens in chunks)
        kv = self.decoding.next_kv() if decodes else _NOTHING
        return Batch(tuple(groups), kv, len(kv) + ends)

    def _row(
        self, batch: Batch, decodes: int, swap_ps: int, latency_ps: int, energy_pj: float
    ) -> Row:
        kv_tokens = self.decoding.kv_tokens + decodes + self._partial_tokens
        kv_tokens += sum(self.decoding.held)
        spare = self._held_blocks * self.paging.block_tokens - kv_tokens
        return Row(
            start_ps=self.now_ps,
            latency_ps=latency_ps,
            swap_ps=swap_ps,
            prefill_tokens=batch.prefill_tokens,
            decode_sequences=decodes,
            running=len(self._running),
            waiting=len(self._waiting) + len(self._swapped),
            used_blocks=self.blocks.used,
            cached_blocks=self.blocks.cached,
            spare_tokens=spare if self.paging.has_tokens else 0,
            energy_pj=energy_pj,
        )

    def _advance(self, chunks: list[Chunk], decodes: int) -> list[Sequence]:
        """Tokens are there at the end of the iteration; the sequences that leave with it."""
        left = self.decoding.advance(self.now_ps) if decodes else []
        for sequence in left:
            self._finish(sequence)
        for sequence, tokens in chunks:
            sequence.computed += tokens
            sequence.prefilled += tokens
            self.blocks.share(sequence)
            if sequence.computed == sequence.target and self._first_token(sequence):
                left.append(sequence)
        self._end_batch()
        return left

    def _first_token(self, sequence: Sequence) -> bool:
        """A prompt is through; whether its sequence leaves."""
        sequence.token(self.now_ps)
        self._partial.remove(sequence)
        self._partial_tokens -= sequence.target
        if sequence.is_done:
            self._finish(sequence)
            return True
        if self._hand_over:
            self._stop(sequence)
            return True
        self.decoding.join(sequence, sequence.target)
        return False

    def _finish(self, sequence: Sequence) -> None:
        sequence.status = "finished"
        if not self._traits.waits:
            self._stop(sequence)
            return
        self._running.remove(sequence)
        held, tokens = self._held(sequence), sequence.most_tokens
        if sequence.ticket:
            self.decoding.leave(sequence)
        self.decoding.held.append(tokens)
        self._ended.append((sequence, held))

    def _end_batch(self) -> None:
        """Static: the places of a batch become free together."""
        if not self._traits.waits or self._running:
            return
        for sequence, held in self._ended:
            self._let_go(sequence, held)
        self._ended.clear()
        self.decoding.held.clear()
        self._forms = True
